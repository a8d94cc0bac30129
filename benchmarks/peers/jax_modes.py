"""jax_privacy 2 where it is installed: jitted steps of `clipped_grad` and its Gaussian privatizer.

Of a few sizes of micro-batch, none included, the fastest is taken before anything is measured: its default forms all
gradients of a batch at once, which is the slow way on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import torch
from jax import numpy as jnp
from jax_privacy import batch_selection, clipping, noise_addition

from benchmarks.dp_cases import CLIP, LEARNING_RATE, NOISE_MULTIPLIER, POPULATION, Case, Network, rows_of
from benchmarks.dp_timing import Steps, processor_seconds
from benchmarks.peers.networks import module_of

MICRO_BATCHES = (None, 16, 64)
PADDED_TO = 512
Step = Callable[..., tuple[list[Any], Any]]


def private(case: Case) -> Steps:
    """Steps with the fastest size of micro-batch."""
    made = [_private(case, size) for size in MICRO_BATCHES]
    return min(made, key=_warm_seconds)


def _warm_seconds(steps: Steps) -> float:
    steps(1)
    return min(processor_seconds(steps, 1) for _ in range(3))


def _private(case: Case, size: int | None) -> Steps:
    table = rows_of(case)
    weights = [jnp.asarray(parameter.detach().numpy()) for parameter in module_of(case.network).parameters()]
    step, noise = _step(case, weights, size)
    batches = _sampled(case) if case.end_to_end else _all(case.batch)

    def steps(count: int) -> None:
        nonlocal weights, noise
        for _ in range(count):
            chosen = next(batches)
            padding = chosen < 0
            rows, labels = table.features[chosen], table.labels[chosen]
            weights, noise = step(weights, noise, rows, labels, padding)
        jax.block_until_ready(weights)

    return steps if case.end_to_end else _in_memory(step, weights, noise, table)


def _in_memory(step: Step, weights: list[Any], noise: Any, table: Any) -> Steps:
    rows, labels = jnp.asarray(table.features), jnp.asarray(table.labels)
    padding = jnp.zeros(len(rows), dtype=jnp.bool_)

    def steps(count: int) -> None:
        nonlocal weights, noise
        for _ in range(count):
            weights, noise = step(weights, noise, rows, labels, padding)
        jax.block_until_ready(weights)

    return steps


def _step(case: Case, weights: list[Any], size: int | None) -> tuple[Step, Any]:
    loss = _loss(case.network)
    gradient = clipping.clipped_grad(loss, l2_clip_norm=CLIP, batch_argnums=(1, 2), microbatch_size=size)
    privatizer = noise_addition.gaussian_privatizer(stddev=NOISE_MULTIPLIER * CLIP, prng_key=0)

    @jax.jit
    def step(weights: list[Any], noise: Any, rows: Any, labels: Any, padding: Any) -> tuple[list[Any], Any]:
        total = gradient(weights, rows, labels, is_padding_example=padding)
        noisy, noise = privatizer.update(total, noise)
        return [w - LEARNING_RATE / case.batch * g for w, g in zip(weights, noisy, strict=True)], noise

    return step, privatizer.init(weights)


def _all(batch: int) -> Iterator[Any]:
    while True:
        yield np.arange(batch)


def _sampled(case: Case) -> Iterator[Any]:
    """Poisson samples; padded to few sizes, so that few are compiled."""
    sampling = batch_selection.CyclicPoissonSampling(sampling_prob=case.batch / POPULATION, iterations=2**31)
    for chosen in sampling.batch_iterator(POPULATION):
        yield batch_selection.pad_to_multiple_of(chosen.astype(np.int64), PADDED_TO)


def _loss(network: Network) -> Callable[[list[Any], Any, Any], Any]:
    scores = _scores(network)

    def loss(weights: list[Any], rows: Any, labels: Any) -> Any:
        found = scores(weights, rows)
        if network.outputs == 1:
            return jnp.mean(jax.nn.softplus(found[:, 0]) - labels * found[:, 0])
        return jnp.mean(-jnp.take_along_axis(jax.nn.log_softmax(found), labels[:, None], axis=1))

    return loss


def _scores(network: Network) -> Callable[[list[Any], Any], Any]:
    return {"logistic": _linear, "mlp": _perceptron, "cnn": _cnn, "transformer": _transformer}[network.name]


def _linear(weights: list[Any], rows: Any) -> Any:
    weight, bias = weights
    return rows @ weight.T + bias


def _perceptron(weights: list[Any], rows: Any) -> Any:
    for number in range(0, len(weights) - 2, 2):
        rows = jax.nn.relu(_linear(weights[number : number + 2], rows))
    return _linear(weights[-2:], rows)


def _cnn(weights: list[Any], rows: Any) -> Any:
    for number, (stride, padding) in enumerate(((2, 3), (2, 0))):
        weight, bias = weights[2 * number : 2 * number + 2]
        rows = jax.lax.conv_general_dilated(rows, weight, (stride, stride), [(padding, padding)] * 2)
        rows = jax.nn.relu(rows + bias[:, None, None])
        rows = jax.lax.reduce_window(rows, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 1, 1), "VALID")
    return _perceptron(weights[4:], rows.reshape(len(rows), -1))


def _transformer(weights: list[Any], rows: Any) -> Any:
    tokens, places, *rest = weights
    rows = tokens[rows.astype(jnp.int32)] + places
    for number in range(2):
        rows = _block(rest[16 * number : 16 * number + 16], rows)
    return _linear(rest[34:], _normed(rest[32:34], rows).mean(axis=1))


def _block(weights: list[Any], rows: Any) -> Any:
    batch, length, dim = rows.shape
    inner = _normed(weights[0:2], rows)
    parts = [_linear(weights[at : at + 2], inner).reshape(batch, length, 4, dim // 4) for at in (2, 4, 6)]
    mixed = jax.nn.dot_product_attention(*parts).reshape(batch, length, dim)
    rows = rows + _linear(weights[8:10], mixed)
    hidden = jax.nn.gelu(_linear(weights[12:14], _normed(weights[10:12], rows)), approximate=True)
    return rows + _linear(weights[14:16], hidden)


def _normed(weights: list[Any], rows: Any) -> Any:
    scale, shift = weights
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * scale + shift


def same_scores(network: Network, rows: Any) -> float:
    """The largest difference between these scores and the torch module's: a peer must train the same function."""
    module = module_of(network)
    weights = [jnp.asarray(parameter.detach().numpy()) for parameter in module.parameters()]
    tensor = torch.from_numpy(rows)
    expected = module(tensor.long() if network.tokens else tensor).detach().numpy().reshape(len(rows), -1)
    return float(np.abs(np.asarray(_scores(network)(weights, rows)) - expected).max())
