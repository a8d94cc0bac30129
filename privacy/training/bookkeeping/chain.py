"""Forward and backward by hand for chains of linear layers and elementwise functions: no autograd. Child only.

Rules
-----
1. A chain reads one value after the other, each a flat row: the models most people start with.
2. The same products as autograd's, in the same order; what is saved is its bookkeeping and its memory.
3. Buffers are made once for each size of micro-batch and overwritten. Rows that fill the last block do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import torch

from privacy.graph.check import CheckedGraph
from privacy.graph.spec import Node
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import BLOCKS, ROWS, clip_factors, outer_squares
from privacy.training.bookkeeping.layers import add_blocks, product
from privacy.training.losses import SLOPES

Tensor: TypeAlias = torch.Tensor
_ATEN: Final[Any] = torch.ops.aten


@dataclass(frozen=True, slots=True)
class _Function:
    """An elementwise function: value from z, and the gradient in place from that of the value."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Of (gradient, z, value); overwrites the gradient."""


def _relu(_: Node) -> _Function:
    def backward(slope: Tensor, _: Tensor, value: Tensor) -> Tensor:
        return _ATEN.threshold_backward.grad_input(slope, value, 0.0, grad_input=slope)  # type: ignore[no-any-return]

    return _Function(torch.relu_, backward)


def _tanh(_: Node) -> _Function:
    def backward(slope: Tensor, _: Tensor, value: Tensor) -> Tensor:
        return _ATEN.tanh_backward.grad_input(slope, value, grad_input=slope)  # type: ignore[no-any-return]

    return _Function(torch.tanh_, backward)


def _sigmoid(_: Node) -> _Function:
    def backward(slope: Tensor, _: Tensor, value: Tensor) -> Tensor:
        return _ATEN.sigmoid_backward.grad_input(slope, value, grad_input=slope)  # type: ignore[no-any-return]

    return _Function(torch.sigmoid_, backward)


def _gelu(approximate: str) -> Callable[[Node], _Function]:
    def backward(slope: Tensor, z: Tensor, _: Tensor) -> Tensor:
        return _ATEN.gelu_backward.grad_input(  # type: ignore[no-any-return]
            slope, z, approximate=approximate, grad_input=slope
        )

    function = _Function(lambda z: torch.nn.functional.gelu(z, approximate=approximate), backward)
    return lambda _: function


def _silu(_: Node) -> _Function:
    def backward(slope: Tensor, z: Tensor, _: Tensor) -> Tensor:
        return _ATEN.silu_backward.grad_input(slope, z, grad_input=slope)  # type: ignore[no-any-return]

    return _Function(torch.nn.functional.silu, backward)


FUNCTIONS: Final[dict[str, Callable[[Node], _Function]]] = {
    "relu": _relu,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "gelu": _gelu("tanh"),
    "gelu_exact": _gelu("none"),
    "silu": _silu,
}


def is_chain(model: CheckedGraph) -> bool:
    """Whether every node reads the one before it, is linear or in the table, and works on flat rows."""
    value = model.graph.inputs[0].name
    for node in model.graph.nodes:
        flat = len(model.shapes[node.inputs[0]]) == 1
        if node.inputs != (value,) or not flat or not (node.op == "linear" or node.op in FUNCTIONS):
            return False
        value = node.name
    return value == model.graph.outputs[0]


@dataclass(slots=True)
class _Layer:
    """A linear layer with what follows it.

    Attributes:
        weight, bias: Views of the engine's weights.
        into, bias_into: Views of the engine's total.
        functions: What follows before the next layer.
    """

    weight: Tensor
    bias: Tensor | None
    into: Tensor
    bias_into: Tensor | None
    functions: list[_Function]


@dataclass(frozen=True, slots=True)
class _Buffers:
    """For one size: inputs, results and their gradients by layer, one product by layer, squared norms."""

    rows: Tensor
    targets: Tensor
    counts: Tensor
    results: list[Tensor]
    slopes: list[Tensor]
    products: list[Tensor]
    blocks: int


class ChainPass:
    """Clipped sums over a chain.

    Args:
        model: A graph for which `is_chain` holds.
        loss: Of one row.
        weights: Views of the weights by name.
        totals: Views of the float64 total by name.
        per_layer: Whether each layer is clipped by itself.
    """

    def __init__(
        self,
        model: CheckedGraph,
        loss: Loss,
        weights: Mapping[str, Tensor],
        totals: Mapping[str, Tensor],
        per_layer: bool,
    ) -> None:
        self._slope = SLOPES[loss]
        self._per_layer = per_layer
        self._width = model.width
        self._layers: list[_Layer] = []
        self._before: list[_Function] = []
        self._buffers: dict[int, _Buffers] = {}
        for node in model.graph.nodes:
            if node.op == "linear":
                self._layers.append(_layer(node, weights, totals))
            else:
                (self._layers[-1].functions if self._layers else self._before).append(FUNCTIONS[node.op](node))

    def add(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        """Add the clipped sum of a micro-batch to the totals; return how many rows were not shortened."""
        most = ROWS * BLOCKS
        return sum(
            self._piece(features[at : at + most], targets[at : at + most], counts[at : at + most], clip)
            for at in range(0, len(features), most)
        )

    def _piece(self, features: Tensor, targets: Tensor, counts: Tensor, clip: float) -> int:
        held = self._filled(features, targets, counts)
        inputs = self._backward(held)
        squared = torch.stack(
            [
                outer_squares(value, slope, layer.bias is not None)
                for layer, value, slope in zip(self._layers, inputs, held.slopes, strict=True)
            ]
        )
        if not self._per_layer:
            squared = squared.sum(dim=0, keepdim=True)
        factors, within, broken = clip_factors(squared, held.counts, clip)
        for number, (layer, value) in enumerate(zip(self._layers, inputs, strict=True)):
            slope = held.slopes[number]
            if len(broken):
                value.index_fill_(0, broken, 0.0)
                slope.index_fill_(0, broken, 0.0)
            slope.mul_(factors[number if self._per_layer else 0, :, None])
            _add_product(layer, value, slope, held.products[number], held.blocks)
        return within

    def _backward(self, held: _Buffers) -> list[Tensor]:
        """Run forward and back; return the layers' inputs, and leave the gradients of their results in `slopes`."""
        value, inputs, kept = held.rows, [], []
        for function in self._before:
            value = function.forward(value)
        for layer, result in zip(self._layers, held.results, strict=True):
            inputs.append(value)
            value = _linear(layer, value, result)
            steps: list[tuple[_Function, Tensor, Tensor]] = []
            for function in layer.functions:
                # Some functions write over what they read, and what the one before gave is needed on the way back.
                z, value = value, function.forward(value.clone() if steps else value)
                steps.append((function, z, value))
            kept.append(steps)
        slope = held.slopes[-1].copy_(self._slope(value, held.targets))
        for number in reversed(range(len(self._layers))):
            for function, z, value in reversed(kept[number]):
                function.backward(slope, z, value)
            if number:
                slope = product(slope, self._layers[number].weight, held.slopes[number - 1])
        return inputs

    def _filled(self, features: Tensor, targets: Tensor, counts: Tensor) -> _Buffers:
        held = self._buffers.get(len(features)) or self._make(len(features))
        held.rows[: len(features)] = features
        held.targets[: len(features)] = targets
        held.counts[: len(features)] = counts
        # A broken row was emptied in place last time; those that only fill the block are and stay empty.
        return held

    def _make(self, rows: int) -> _Buffers:
        blocks = math.ceil(rows / ROWS)
        size = blocks * math.ceil(rows / blocks)
        sides = [len(layer.weight) for layer in self._layers]
        made = _Buffers(
            rows=torch.zeros(size, self._width),
            targets=torch.zeros(size),
            counts=torch.zeros(size, dtype=torch.bool),
            results=[torch.empty(size, side) for side in sides],
            slopes=[torch.empty(size, side) for side in sides],
            products=[torch.empty(blocks, *layer.weight.shape) for layer in self._layers],
            blocks=blocks,
        )
        self._buffers[rows] = made
        return made


def _layer(node: Node, weights: Mapping[str, Tensor], totals: Mapping[str, Tensor]) -> _Layer:
    bias = node.weights[1] if len(node.weights) == 2 else None
    return _Layer(
        weight=weights[node.weights[0]],
        bias=None if bias is None else weights[bias],
        into=totals[node.weights[0]],
        bias_into=None if bias is None else totals[bias],
        functions=[],
    )


def _linear(layer: _Layer, value: Tensor, result: Tensor) -> Tensor:
    product(value, layer.weight.t(), result)
    return result if layer.bias is None else result.add_(layer.bias)


def _add_product(layer: _Layer, value: Tensor, slope: Tensor, products: Tensor, blocks: int) -> None:
    """Add slope^T value to the totals: float32 within a block and over the blocks, then float64."""
    slopes, values = slope.view(blocks, -1, slope.shape[1]), value.view(blocks, -1, value.shape[1])
    product(slopes.transpose(1, 2), values, products)
    add_blocks(layer.into, products)
    if layer.bias_into is not None:
        layer.bias_into.add_(slopes.sum(dim=1).sum(dim=0))
