"""What decision 13 rests on, at the sizes of real steps: in its slot a row adds the same bits in any company.

Rules
-----
1. Only the engine's own door is used: of a micro-batch one row counts, and the clipped sum is what that row adds. Its
   score, its slope, its norm and its factor stand in these bits; all other rows are run through the very same kernels.
2. Two clips: one far below the row's norm, where the factor is in the sum, and one above it, where the slope is.
3. Everything lies where it lay before, as a step's buffers do: a kernel may look at an address, which no row decides.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.dp_cases import CNN, MLP, TRANSFORMER
from benchmarks.peers.ours import model_of
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import ModelGraph
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import BLOCKS, ROWS
from privacy.training.bookkeeping.engine import BookkeepingEngine
from privacy.training.engine import Floats, MicroBatch
from privacy.training.state import first_state
from tests.support.graphs import graph, node, weight

FULL = (ROWS, ROWS * BLOCKS, 4096, 4490)
"""One block, all that is summed in float32, an expected batch of 4096, and the places that a plan declares for it."""
SHORT, LONG = 1e-3, 1e6
Other = Callable[[Any, np.random.Generator], None]


# --- models ----------------------------------------------------------------------------------------------------------


def _checked(body: dict[str, Any]) -> CheckedGraph:
    return check(ModelGraph.from_json(json.loads(json.dumps(body))))


def one_score(width: int, bias: bool) -> CheckedGraph:
    """A linear or logistic regression."""
    names = ["l.w", "l.b"][: 1 + bias]
    weights = [weight("l.w", 1, width), weight("l.b", 1)][: 1 + bias]
    return _checked(graph([width], weights, [node("l", "linear", ["x"], names)], "l"))


def chain(op: str, *sides: int) -> CheckedGraph:
    """Linear layers with one function between them."""
    weights, nodes, value = [], [], "x"
    for number, (before, after) in enumerate(itertools.pairwise(sides)):
        own = [f"l{number}.w", f"l{number}.b"]
        weights += [weight(own[0], after, before), weight(own[1], after)]
        nodes.append(node(f"l{number}", "linear", [value], own))
        value = f"l{number}"
        if number < len(sides) - 2:
            nodes.append(node(f"f{number}", op, [value]))
            value = f"f{number}"
    return _checked(graph([sides[0]], weights, nodes, value))


def branched() -> CheckedGraph:
    """One position for each row, but no chain: linear layers that meet again, and a norm of their sum."""
    weights = [
        weight("a.w", 64, 64), weight("a.b", 64), weight("b.w", 64, 64), weight("s", 64),
        weight("n.w", 64, rule="constant", value="1"), weight("n.b", 64), weight("c.w", 3, 64), weight("c.b", 3),
    ]  # fmt: skip
    nodes = [
        node("a", "linear", ["x"], ["a.w", "a.b"]), node("f", "silu", ["a"]), node("b", "linear", ["f"], ["b.w"]),
        node("met", "add", ["x", "b"]), node("moved", "shift", ["met"], ["s"]),
        node("n", "layer_norm", ["moved"], ["n.w", "n.b"], sides=1, eps="0.00001"),
        node("c", "linear", ["n"], ["c.w", "c.b"]),
    ]  # fmt: skip
    return _checked(graph([64], weights, nodes, "c"))


def windows() -> CheckedGraph:
    """Convolutions over one side and over two, with groups and dilation, a group norm and a layer of positions."""
    weights = [
        weight("c.w", 16, 2, 3, 3), weight("c.b", 16), weight("g.w", 16, rule="constant", value="1"), weight("g.b", 16),
        weight("d.w", 8, 8, 5), weight("p.w", 8, 24), weight("p.b", 8), weight("o.w", 3, 64),
    ]  # fmt: skip
    nodes = [
        node("c", "conv2d", ["x"], ["c.w", "c.b"], stride=[2, 2], padding=[1, 1], dilation=[1, 1], groups=2),
        node("g", "group_norm", ["c"], ["g.w", "g.b"], groups=4, eps="0.00001"),
        node("t", "tanh", ["g"]),
        node("r", "reshape", ["t"], shape=[16, 36]),
        node("d", "conv1d", ["r"], ["d.w"], stride=[1], padding=[0], dilation=[3], groups=2),
        node("p", "linear", ["d"], ["p.w", "p.b"]),
        node("flat", "flatten", ["p"]),
        node("o", "linear", ["flat"], ["o.w"]),
    ]
    return _checked(graph([4, 12, 12], weights, nodes, "o"))


MODELS: dict[str, tuple[Callable[[], CheckedGraph], Loss, int]] = {
    "logistic": (lambda: one_score(100, bias=True), Loss.LOGISTIC, 4490),
    "regression": (lambda: one_score(784, bias=False), Loss.SQUARED, 4490),
    "mlp": (lambda: model_of(MLP), Loss.LOGISTIC, 4490),
    "classes": (lambda: chain("gelu", 100, 128, 10), Loss.SOFTMAX, 4490),
    "branched": (branched, Loss.SOFTMAX, 4490),
    "windows": (windows, Loss.SOFTMAX, 4490),
    "cnn": (lambda: model_of(CNN), Loss.SOFTMAX, 1024),
    "transformer": (lambda: model_of(TRANSFORMER), Loss.LOGISTIC, 128),
}
"""Model, loss, and the largest micro-batch that is tried: graphs run in blocks of `ROWS`, however many there are."""


# --- company ---------------------------------------------------------------------------------------------------------


def filled(value: float) -> Other:
    """Every number of every other row."""

    def change(features: Any, _: np.random.Generator) -> None:
        features[:] = value

    return change


def signs(value: float) -> Other:
    """Of that size, with signs at random: sums cancel or overflow on the way."""

    def change(features: Any, draw: np.random.Generator) -> None:
        features[:] = np.where(draw.random(features.shape) < 0.5, -value, value)

    return change


def drawn(features: Any, draw: np.random.Generator) -> None:
    """Ordinary rows, but others than before."""
    features[:] = draw.normal(size=features.shape)


def scattered(features: Any, draw: np.random.Generator) -> None:
    """Rows of every size from a denormal to the largest, some of nothing."""
    sizes = 10.0 ** draw.uniform(-44, 38, (len(features), 1, 1))
    features[:] = np.clip(
        draw.normal(size=features.shape) * np.where(draw.random(sizes.shape) < 0.1, 0, sizes), -3e38, 3e38
    )


COMPANY: dict[str, Other] = {
    "others": drawn,
    "nobody": filled(0.0),
    "huge": filled(1e30),
    "largest": signs(3.4e38),
    "overflowing": signs(1e19),
    "denormal": filled(1e-40),
    "scattered": scattered,
}


def batch_of(model: CheckedGraph, rows: int, draw: np.random.Generator) -> MicroBatch:
    """Ordinary rows, or whole numbers for a table; nobody counts yet."""
    shape = (rows, 1, model.width)
    tokens = model.graph.nodes[0].op == "embedding"
    features = draw.integers(0, 1000, shape) if tokens else draw.normal(size=shape)
    return MicroBatch(
        features=features.astype(np.float32),
        targets=draw.integers(0, 2, (rows, 1)).astype(np.float32),
        counts=np.zeros((rows, 1), dtype=np.bool_),
    )


def engine_of(model: CheckedGraph, loss: Loss, per_layer: bool) -> BookkeepingEngine:
    """At weights of ordinary size, none of which is zero."""
    engine = BookkeepingEngine(model, loss, per_layer)
    start = first_state(model.graph).weights
    engine.set_weights(start + np.random.default_rng(6).normal(0, 0.05, start.shape))
    return engine


def moved(engine: BookkeepingEngine, batch: MicroBatch, slot: int, clip: float) -> list[str]:
    """In which company the row in a slot adds other bits than in the first."""
    draw = np.random.default_rng(slot)
    batch.counts[:] = False
    batch.counts[slot] = True
    kept, targets = batch.features.copy(), batch.targets.copy()
    alone = engine.clipped_sum(batch, clip)
    assert np.linalg.norm(alone.total) > clip / 10**9
    assert alone.within == (clip == LONG)
    differ = []
    for name, change in COMPANY.items():
        change(batch.features, draw)
        batch.targets[:] = draw.integers(0, 2, batch.targets.shape)
        batch.features[slot], batch.targets[slot] = kept[slot], targets[slot]
        with np.errstate(all="ignore"):
            again = engine.clipped_sum(batch, clip)
        if again.within != alone.within or not np.array_equal(bits(again.total), bits(alone.total)):
            differ.append(name)
    batch.features[:], batch.targets[:] = kept, targets
    return differ


def bits(total: Floats) -> Any:
    """As they are, but 0 for -0: a sum of zeros of both signs has either."""
    return (total + 0.0).view(np.uint64)


def slots(rows: int) -> list[int]:
    """Ends and middle of the first and the last block, and one on either side of where kernels cut."""
    return sorted({0, rows // 2 + 1, rows - 1})


@pytest.fixture(autouse=True)
def as_in_a_child() -> Iterator[None]:
    """One thread, in which denormals are zero, as wherever a run computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(threads)


# --- tests -----------------------------------------------------------------------------------------------------------


def _sizes() -> list[Any]:
    return [
        pytest.param(name, rows, marks=() if rows == ROWS and largest == FULL[-1] else pytest.mark.slow)
        for name, (_, _, largest) in MODELS.items()
        for rows in FULL
        if rows <= largest
    ]


@pytest.mark.parametrize(("name", "rows"), _sizes())
@pytest.mark.parametrize("clip", [SHORT, LONG], ids=["short", "long"])
def test_in_its_slot_a_row_adds_the_same_bits_in_any_company(name: str, rows: int, clip: float) -> None:
    """At the first place, the last and one between, flat and by layer; what others hold and aim at is changed whole."""
    made, loss, _ = MODELS[name]
    model = made()
    batch = batch_of(model, rows, np.random.default_rng(rows))
    for per_layer in (False, True):
        if per_layer and rows > ROWS:
            continue  # the same numbers, in other groups
        engine = engine_of(model, loss, per_layer)
        for slot in slots(rows):
            assert moved(engine, batch, slot, clip) == [], slot


@pytest.mark.parametrize("name", ["logistic", "classes", "branched"])
def test_the_measure_sees_one_bit_of_a_neighbour(name: str) -> None:
    """A 2^-22 part of the next row, mixed in before the engine, is found in each pass."""
    made, loss, _ = MODELS[name]
    model = made()
    engine = engine_of(model, loss, per_layer=False)
    honest = engine.clipped_sum

    def mixed(batch: MicroBatch, clip: float) -> Any:
        features = batch.features + np.float32(2.0**-22) * np.roll(batch.features, 1, axis=0)
        return honest(MicroBatch(features=features, targets=batch.targets, counts=batch.counts), clip)

    engine.clipped_sum = mixed  # type: ignore[assignment]
    assert "others" in moved(engine, batch_of(model, ROWS, np.random.default_rng(1)), 5, SHORT)
