"""Ordinary training without autograd: forward and backward by hand into buffers that are used again.

This is what a specialist could write for these two networks, and the floor to which a fast private engine compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.dp_cases import LEARNING_RATE, Case, Network, rows_of
from benchmarks.dp_timing import Steps
from benchmarks.peers.networks import module_of, tensors_of

Step: TypeAlias = Callable[[Tensor, Tensor], None]


def plain_fused(case: Case) -> Steps:
    """Step on the batch in memory; end to end, on batches gathered from memory into one buffer."""
    rows, labels = tensors_of(case.network, rows_of(case))
    weights = [parameter.detach() for parameter in module_of(case.network).parameters()]
    step = step_by_hand(case.network, weights, case.batch)
    batches = _gathered(rows, labels, case.batch) if case.end_to_end else _repeated(rows, labels)

    def steps(count: int) -> None:
        with torch.inference_mode():
            for _ in range(count):
                step(*next(batches))

    return steps


def step_by_hand(network: Network, weights: list[Tensor], batch: int) -> Step:
    """A step that changes the weights in place."""
    return _logistic(weights, batch) if network.outputs == 1 else _perceptron(weights, batch)


def _logistic(weights: list[Tensor], batch: int) -> Step:
    weight, bias = weights[0].view(-1), weights[1]
    error, slope = torch.empty(batch), torch.empty_like(weight)

    def step(rows: Tensor, labels: Tensor) -> None:
        torch.addmv(bias.expand(batch), rows, weight, out=error)
        torch.sub(error.sigmoid_(), labels, out=error)
        torch.mv(rows.t(), error, out=slope)
        weight.add_(slope, alpha=-LEARNING_RATE / batch)
        bias.sub_(error.sum() * (LEARNING_RATE / batch))

    return step


def _perceptron(weights: list[Tensor], batch: int) -> Step:
    matrices, biases = weights[0::2], weights[1::2]
    values = [torch.empty(batch, len(bias)) for bias in biases]
    errors = [torch.empty(batch, len(bias)) for bias in biases]
    pull = -LEARNING_RATE / batch

    def step(rows: Tensor, labels: Tensor) -> None:
        inputs = [rows, *values[:-1]]
        for matrix, bias, value, taken in zip(matrices, biases, values, inputs, strict=True):
            torch.addmm(bias, taken, matrix.t(), out=value)
            if value is not values[-1]:
                value.relu_()
        torch.softmax(values[-1], dim=1, out=errors[-1])
        errors[-1].sub_(functional.one_hot(labels, errors[-1].shape[1]))
        for layer in range(len(matrices) - 1, 0, -1):
            torch.mm(errors[layer], matrices[layer], out=errors[layer - 1])
            torch.ops.aten.threshold_backward.grad_input(
                errors[layer - 1], values[layer - 1], 0, grad_input=errors[layer - 1]
            )
        for matrix, bias, error, taken in zip(matrices, biases, errors, inputs, strict=True):
            matrix.addmm_(error.t(), taken, alpha=pull)
            bias.add_(error.sum(dim=0), alpha=pull)

    return step


def _repeated(rows: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield rows, labels


def _gathered(rows: Tensor, labels: Tensor, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    batch_rows, batch_labels = torch.empty(batch, *rows.shape[1:]), torch.empty(batch, dtype=labels.dtype)
    while True:
        for chosen in torch.randperm(len(rows)).split(batch):
            torch.index_select(rows, 0, chosen, out=batch_rows)
            torch.index_select(labels, 0, chosen, out=batch_labels)
            yield batch_rows, batch_labels
