"""Three engines, one bound: book-keeping, vmap and Opacus against one unit at a time, on every kind of layer."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import Initial, InitialRule, Input, ModelGraph, Node, Weight, elements
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import BLOCKS, ROWS
from privacy.training.bookkeeping.chain import ChainPass
from privacy.training.bookkeeping.engine import BookkeepingEngine
from privacy.training.bookkeeping.one_score import OneScorePass
from privacy.training.bookkeeping.taps import TapPass
from privacy.training.engine import ClippedSum, Floats, MicroBatch
from privacy.training.opacus_engine import OpacusEngine
from privacy.training.vmap_engine import VmapEngine

ZEROS = Initial(rule=InitialRule.ZEROS)
Step = tuple[str, dict[str, tuple[int, ...]], dict[str, Any]]


def graph(shape: tuple[int, ...], *steps: Step) -> CheckedGraph:
    """A graph of nodes in a row: (operation, weights' shapes, attributes)."""
    nodes, weights, value = [], [], "x"
    for number, (op, sizes, attributes) in enumerate(steps):
        name = f"n{number}"
        own = {f"{name}.{part}": size for part, size in sizes.items()}
        weights += [Weight(name=part, shape=size, init=ZEROS) for part, size in own.items()]
        written = tuple((key, attributes[key]) for key in sorted(attributes))
        nodes.append(Node(name=name, op=op, inputs=(value,), weights=tuple(own), attributes=written))
        value = name
    return check(
        ModelGraph(inputs=(Input(name="x", shape=shape),), weights=tuple(weights), nodes=tuple(nodes), outputs=(value,))
    )


def dense(after: int, before: int) -> Step:
    """A linear layer with a bias."""
    return ("linear", {"weight": (after, before), "bias": (after,)}, {})


def conv2d(out: int, into: int, groups: int = 1, stride: int = 1, padding: int = 0, dilation: int = 1) -> Step:
    """A convolution with a window of 3 x 3 and a bias."""
    attributes = {"stride": (stride,) * 2, "padding": (padding,) * 2, "dilation": (dilation,) * 2, "groups": groups}
    return ("conv2d", {"weight": (out, into // groups, 3, 3), "bias": (out,)}, attributes)


FLATTEN: Step = ("flatten", {}, {})
TANH: Step = ("tanh", {}, {})
MODELS: dict[str, CheckedGraph] = {
    "chain-relu": graph((6,), dense(9, 6), ("relu", {}, {}), dense(7, 9), ("relu", {}, {}), dense(3, 7)),
    "chain-gelu": graph((6,), dense(9, 6), ("gelu", {}, {}), dense(3, 9)),
    "chain-silu": graph((6,), TANH, dense(9, 6), ("silu", {}, {}), ("sigmoid", {}, {}), dense(3, 9)),
    "chain-exact": graph((6,), ("linear", {"weight": (9, 6)}, {}), ("gelu_exact", {}, {}), dense(3, 9)),
    "not-a-chain": graph((6,), dense(9, 6), ("softplus", {}, {}), dense(3, 9)),
    "clamp": graph((6,), dense(9, 6), ("clamp", {}, {"low": Parameter(0), "high": Parameter(1)}), dense(3, 9)),
    "positions": graph((5, 4), dense(6, 4), TANH, ("linear", {"weight": (2, 6)}, {}), FLATTEN, dense(3, 10)),
    "conv2d": graph((2, 8, 7), conv2d(4, 2, stride=2, padding=1), TANH, FLATTEN, dense(3, 64)),
    "conv2d-groups": graph((4, 9, 8), conv2d(6, 4, groups=2, dilation=2), TANH, FLATTEN, dense(3, 120)),
    "conv1d": graph(
        (3, 11),
        (
            "conv1d",
            {"weight": (4, 3, 4), "bias": (4,)},
            {"stride": (2,), "padding": (1,), "dilation": (2,), "groups": 1},
        ),
        TANH,
        FLATTEN,
        dense(3, 16),
    ),
    "embedding": graph((7,), ("embedding", {"weight": (5, 4)}, {}), TANH, FLATTEN, dense(3, 28)),
    "layer-norm": graph(
        (5, 4),
        dense(4, 4),
        ("layer_norm", {"weight": (4,), "bias": (4,)}, {"sides": 1, "eps": Parameter("0.00001")}),
        TANH,
        FLATTEN,
        dense(3, 20),
    ),
    "group-norm": graph(
        (2, 8, 7),
        conv2d(4, 2),
        ("group_norm", {"weight": (4,), "bias": (4,)}, {"groups": 2, "eps": Parameter("0.00001")}),
        TANH,
        FLATTEN,
        dense(3, 120),
    ),
    "shift": graph((5, 4), ("shift", {"weight": (5, 4)}, {}), dense(2, 4), TANH, FLATTEN, dense(3, 10)),
}
UNPROVEN = graph((6,), dense(6, 6), ("roll", {}, {"axis": 0, "shift": 2}), dense(3, 6))


def batch_for(model: CheckedGraph, units: int, seed: int = 1, rows: int = 1) -> MicroBatch:
    """Random rows; whole numbers where a table reads them."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(units, rows, model.width)).astype(np.float32)
    if model.graph.nodes[0].op == "embedding":
        features = draw.integers(0, 5, features.shape).astype(np.float32)
    return MicroBatch(
        features=features,
        targets=draw.integers(0, model.outputs, (units, rows)).astype(np.float32),
        counts=np.ones((units, rows), np.bool_),
    )


def one(batch: MicroBatch, unit: int) -> MicroBatch:
    """One unit of a micro-batch."""
    part = slice(unit, unit + 1)
    return MicroBatch(features=batch.features[part], targets=batch.targets[part], counts=batch.counts[part])


def weights_for(model: CheckedGraph, seed: int = 2, size: float = 0.2) -> Floats:
    """Random weights that float32 holds exactly."""
    drawn = np.random.default_rng(seed).normal(size=model.graph.weight_elements) * size
    return drawn.astype(np.float32).astype(np.float64)


def summed(engine: Any, model: CheckedGraph, batch: MicroBatch, clip: float, size: float = 0.2) -> ClippedSum:
    """The sum at those weights."""
    engine.set_weights(weights_for(model, size=size))
    found: ClippedSum = engine.clipped_sum(batch, clip)
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("per_layer", [False, True])
def test_three_engines_agree_to_a_millionth_of_the_clip(name: str, per_layer: bool) -> None:
    """Each unit alone, at a clip that bites and at one that does not; and who was not shortened is counted alike."""
    model, units = MODELS[name], 12
    batch = batch_for(model, units)
    batch.counts[4] = False
    slow, peer, ours = (kind(model, Loss.SOFTMAX, per_layer) for kind in (VmapEngine, OpacusEngine, BookkeepingEngine))
    for unit in range(units):
        expected = summed(slow, model, one(batch, unit), 1e9)
        clip = max(float(np.linalg.norm(expected.total)), 1e-3)
        for factor in (0.1, 1.5 * math.sqrt(8)):
            wanted = summed(slow, model, one(batch, unit), factor * clip)
            assert (
                np.linalg.norm(summed(peer, model, one(batch, unit), factor * clip).total - wanted.total)
                <= 1e-12 * clip
            )
            found = summed(ours, model, one(batch, unit), factor * clip)
            assert np.linalg.norm(found.total - wanted.total) <= 1e-6 * max(factor, 1) * clip
            assert np.linalg.norm(found.total) <= factor * clip
            assert found.within == wanted.within
    together = summed(ours, model, batch, 0.3)
    assert np.linalg.norm(together.total - summed(slow, model, batch, 0.3).total) <= 1e-6 * units * 0.3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -3e38])
def test_what_is_not_finite_is_taken_out_bit_for_bit(name: str, value: float) -> None:
    """A broken row leaves the same bits as an empty place; one that stays finite moves the sum by the clip at most."""
    model = MODELS[name]
    engine = BookkeepingEngine(model, Loss.SOFTMAX)
    broken, empty = batch_for(model, 9), batch_for(model, 9)
    broken.features[5, 0, ::2] = value
    empty.features[5], empty.counts[5] = 0, False
    found, without = (summed(engine, model, batch, 0.1) for batch in (broken, empty))
    assert np.isfinite(found.total).all()
    assert np.linalg.norm(found.total - without.total) <= 0.1 * (1 + 2**-8)
    if name != "embedding" and np.isnan(value):
        assert (found.total == without.total).all()
        assert found.within == without.within


def test_a_broken_row_is_taken_out_of_a_slope_that_is_spread_over_places() -> None:
    """The gradient of a sum is one number for many places: a row that must go says nothing, and takes nobody along."""
    model = graph((4, 1), ("shift", {"weight": (4, 1)}, {}), ("sum", {}, {"axes": (0,)}), dense(3, 1))
    engine = BookkeepingEngine(model, Loss.SOFTMAX)
    broken, empty = batch_for(model, 9), batch_for(model, 9)
    broken.features[5], empty.features[5], empty.counts[5] = 3e38, 0, False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, without = (summed(engine, model, batch, 0.1) for batch in (broken, empty))
    assert (found.total == without.total).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_target_that_no_class_has_drops_the_row(name: str) -> None:
    """Its loss is not a number, whatever its gradient would be."""
    model = MODELS[name]
    for kind in (BookkeepingEngine, VmapEngine, OpacusEngine):
        batch = batch_for(model, 6)
        batch.targets[2] = 3
        found = summed(kind(model, Loss.SOFTMAX), model, batch, 0.1)
        batch.targets[2], batch.counts[2] = 0, False
        assert (found.total == summed(kind(model, Loss.SOFTMAX), model, batch, 0.1).total).all()


@pytest.mark.parametrize("name", ["chain-relu", "not-a-chain", "conv2d", "embedding", "positions", "layer-norm"])
@pytest.mark.parametrize("size", [0.2, 1e-18, 1e3, 1e12])
def test_adding_one_record_moves_the_sum_by_the_clip_that_is_priced_at_most(name: str, size: float) -> None:
    """At weights that underflow, amplify and overflow; in a full block of many alike rows, the worst for rounding."""
    model, clip = MODELS[name], 0.7
    engine = BookkeepingEngine(model, Loss.SOFTMAX)
    batch = batch_for(model, ROWS)
    batch.features[:], batch.targets[:] = batch.features[:1], batch.targets[:1]
    for unit, scale in ((0, 1.0), (77, -1e3), (127, 1e18)):
        batch.counts[unit] = False
        without = summed(engine, model, batch, clip, size).total
        batch.counts[unit] = True
        kept = batch.features[unit].copy()
        batch.features[unit] *= np.float32(scale)
        moved = np.linalg.norm(summed(engine, model, batch, clip, size).total - without)
        batch.features[unit] = kept
        assert moved <= clip * (1 + 2**-8 - 2**-11)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("engine", ["bookkeeping", "vmap", "opacus"])
def test_a_total_goes_where_it_is_wanted(engine: str) -> None:
    """Into the vector that is given, whatever was in it, or into a new one; extreme rows warn nobody."""
    model = MODELS["chain-relu"]
    batch = batch_for(model, 20)
    # Long enough to overflow on its way.
    batch.features[3] = 3e38
    batch.features[4] = np.nan
    made = {"bookkeeping": BookkeepingEngine, "vmap": VmapEngine, "opacus": OpacusEngine}[engine](model, Loss.SOFTMAX)
    made.set_weights(weights_for(model))
    new = made.clipped_sum(batch, 0.7)
    given = np.full(made.size, np.nan)
    found = made.clipped_sum(batch, 0.7, into=given)
    assert found.total is given
    assert (given == new.total).all()
    assert not np.shares_memory(new.total, made.clipped_sum(batch, 0.7).total)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(3, 7), st.integers(1, 2), st.integers(0, 1), st.booleans())
def test_convolutions_of_any_shape(into: int, out: int, side: int, stride: int, padding: int, grouped: bool) -> None:
    """Formed over unfolded windows, the gradient is autograd's, up to the rounding of float32 on the way to it."""
    groups = into if grouped else 1
    step = conv2d(out * groups, into, groups=groups, stride=stride, padding=padding)
    places = ((side + 2 * padding - 3) // stride + 1) ** 2
    model = graph((into, side, side), step, TANH, FLATTEN, dense(2, out * groups * places))
    batch = batch_for(model, 3)
    slow, ours = (summed(kind(model, Loss.SOFTMAX), model, batch, 0.2) for kind in (VmapEngine, BookkeepingEngine))
    assert np.linalg.norm(slow.total - ours.total) <= 1e-5 * 0.2


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 4))
def test_embeddings_and_positions_of_any_shape(length: int, entries: int, width: int) -> None:
    """Also where a row names one entry many times, and where it has one position only."""
    model = graph(
        (length,), ("embedding", {"weight": (entries, width)}, {}), dense(3, width), FLATTEN, dense(2, 3 * length)
    )
    batch = batch_for(model, 4)
    slow, ours = (summed(kind(model, Loss.SOFTMAX), model, batch, 0.2) for kind in (VmapEngine, BookkeepingEngine))
    assert np.linalg.norm(slow.total - ours.total) <= 1e-5 * 0.2


@pytest.mark.parametrize("rows", [1, 127, 128, 129, 1000, ROWS * BLOCKS + 1])
def test_chains_and_taps_give_the_same_numbers_at_any_size(rows: int) -> None:
    """By hand and through autograd, over blocks and pieces that do not come out even."""
    model = MODELS["chain-relu"]
    batch = batch_for(model, rows)
    flat = torch.from_numpy(weights_for(model)).to(torch.float32)
    found = []
    for kind in (ChainPass, TapPass):
        total = torch.zeros(len(flat), dtype=torch.float64)
        weights, totals, at = {}, {}, 0
        for weight in model.graph.weights:
            part = slice(at, at + elements(weight.shape))
            weights[weight.name], totals[weight.name] = flat[part].view(weight.shape), total[part].view(weight.shape)
            at = part.stop
        with torch.no_grad():
            columns = (torch.from_numpy(each[:, 0]) for each in (batch.features, batch.targets, batch.counts))
            within = kind(model, Loss.SOFTMAX, weights, totals, False).add(*columns, 0.5)
        found.append((total.numpy(), within))
    assert found[0][1] == found[1][1]
    assert np.linalg.norm(found[0][0] - found[1][0]) <= 1e-6 * 0.5 * rows


@pytest.mark.parametrize("rows", [1, 127, 128, 129, 1000, 5000])
@pytest.mark.parametrize("loss", [Loss.LOGISTIC, Loss.SQUARED])
@pytest.mark.parametrize("bias", [False, True])
def test_one_score_and_chains_give_the_same_numbers_at_any_size(rows: int, loss: Loss, bias: bool) -> None:
    """The closed form of a regression, with and without a bias, over blocks that do not come out even."""
    sizes: dict[str, tuple[int, ...]] = {"weight": (1, 40)} | ({"bias": (1,)} if bias else {})
    model = graph((40,), ("linear", sizes, {}))
    batch = batch_for(model, rows)
    batch.targets[::2] = 1
    batch.counts[::3], batch.features[rows // 2] = False, np.inf
    found = []
    for kind in (OneScorePass, ChainPass):
        flat = torch.from_numpy(weights_for(model)).to(torch.float32)
        total = torch.zeros(len(flat), dtype=torch.float64)
        names = [weight.name for weight in model.graph.weights]
        parts = (slice(0, 40), slice(40, 41))
        weights = {name: flat[part].view(sizes[name[3:]]) for name, part in zip(names, parts, strict=False)}
        totals = {name: total[part].view(sizes[name[3:]]) for name, part in zip(names, parts, strict=False)}
        with torch.no_grad():
            columns = (torch.from_numpy(each[:, 0]) for each in (batch.features, batch.targets, batch.counts))
            within = kind(model, loss, weights, totals, False).add(*columns, 0.7)
        found.append((total.numpy(), within))
    assert isinstance(BookkeepingEngine(model, loss)._pass, OneScorePass)
    assert found[0][1] == found[1][1]
    assert np.linalg.norm(found[0][0] - found[1][0]) <= 1e-6 * 0.7 * rows
    assert np.isinf(batch.features[rows // 2]).all()


def test_positions_that_cancel_do_not_hide_a_gradient() -> None:
    """Two opposite positions of size 10^4 and one of size 1: a Gram matrix in float32 would lose the difference."""
    model = graph((3, 1), ("linear", {"weight": (1, 1)}, {}), ("sum", {}, {"axes": (0,)}))
    engine = BookkeepingEngine(model, Loss.SQUARED)
    batch = batch_for(model, 1)
    batch.features[0, 0], batch.targets[0] = [1e4, -1e4, 1e-1], -1e3
    found = summed(engine, model, batch, 1.0).total
    assert abs(abs(found[0]) - 1.0) <= 1e-6


@pytest.mark.parametrize(("slope", "value"), [(1e-30, 1e30), (1e-19, 1e19), (1e19, 1e-19), (1e-3, 1e3), (1e25, 1e-25)])
def test_norms_hold_where_float32_squares_under_or_overflow(slope: float, value: float) -> None:
    """The gradient is slope x value = 1, with squares far outside of float32: it is clipped to 0.25, not passed."""
    model = graph((1,), ("linear", {"weight": (1, 1)}, {}))
    engine = BookkeepingEngine(model, Loss.SQUARED)
    engine.set_weights(np.zeros(1))
    batch = MicroBatch(
        features=np.full((1, 1, 1), value, np.float32),
        targets=np.full((1, 1), -slope, np.float32),
        counts=np.ones((1, 1), np.bool_),
    )
    found = engine.clipped_sum(batch, 0.25)
    assert found.total[0] == pytest.approx(0.25, rel=1e-6)
    assert found.total[0] <= 0.25
    assert found.within == 0


def test_unproven_operations_go_to_vmap() -> None:
    """Book-keeping refuses them, and units of other rows than it was made for; vmap sums a unit's rows, then clips."""
    with pytest.raises(InvalidError):
        BookkeepingEngine(UNPROVEN, Loss.SOFTMAX)
    batch = batch_for(UNPROVEN, 5, rows=3)
    engine = VmapEngine(UNPROVEN, Loss.SOFTMAX)
    together = summed(engine, UNPROVEN, batch, 0.2).total
    alone = np.sum([summed(engine, UNPROVEN, one(batch, unit), 0.2).total for unit in range(5)], axis=0)
    assert np.allclose(together, alone, rtol=1e-12, atol=1e-15)
    assert np.linalg.norm(summed(engine, UNPROVEN, one(batch, 0), 0.2).total) <= 0.2 * (1 + 1e-12)
    with pytest.raises(InvalidError):
        summed(
            BookkeepingEngine(MODELS["shift"], Loss.SOFTMAX), MODELS["shift"], batch_for(MODELS["shift"], 2, rows=2), 1
        )


def test_a_table_that_reads_a_table_s_entries_gets_no_gradient_below() -> None:
    """What follows reads whole numbers: no way leads back, and every engine says zero."""
    model = graph(
        (3,),
        ("embedding", {"weight": (5, 1)}, {}),
        FLATTEN,
        ("embedding", {"weight": (4, 2)}, {}),
        FLATTEN,
        dense(3, 6),
    )
    weights = np.concatenate([np.array([0.0, 1, 2, 3, 1]), np.linspace(-0.3, 0.3, 8 + 21)])
    batch = MicroBatch(
        features=np.array([[[0, 1, 2]], [[3, 4, 0]]], dtype=np.float32),
        targets=np.array([[0], [2]], dtype=np.float32),
        counts=np.ones((2, 1), dtype=np.bool_),
    )
    sums = []
    for engine in (f(model, Loss.SOFTMAX) for f in (BookkeepingEngine, VmapEngine, OpacusEngine)):
        engine.set_weights(weights)
        sums.append(engine.clipped_sum(batch, 10.0).total)
    assert all(not found[:5].any() and found[5:].any() for found in sums)
    assert max(np.abs(found - sums[-1]).max() for found in sums) < 1e-6
