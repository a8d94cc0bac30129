"""Units of 1 to 40 rows: sampled, clipped and dropped as one, whatever engine and model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.graph.check import CheckedGraph
from privacy.jobs.engines import EngineChoice, EngineName, engine_for
from privacy.jobs.plan import CLIP_MARGIN
from privacy.jobs.spec import Loss
from privacy.training.bookkeeping.bounds import ROWS
from privacy.training.bookkeeping.engine import BookkeepingEngine
from privacy.training.bookkeeping.one_score import OneScoreOfUnits
from privacy.training.engine import ClippedSum, Engine, MicroBatch
from privacy.training.rows import Rows
from privacy.training.units import UnitTable
from privacy.training.vmap_engine import VmapEngine
from tests.unit.privacy.test_training_engines import MODELS, UNPROVEN, batch_for, dense, graph, one

ONE_SCORE = graph((6,), dense(1, 6))
MOST_ROWS = 40
CLIP = 0.3
CASES = [*((name, Loss.SOFTMAX) for name in MODELS), ("one score", Loss.LOGISTIC), ("one score", Loss.SQUARED)]


def model_of(name: str) -> CheckedGraph:
    """A model by its name."""
    return ONE_SCORE if name == "one score" else MODELS[name]


def ragged(model: CheckedGraph, units: int, rows: int = MOST_ROWS, seed: int = 3) -> MicroBatch:
    """Units of 1 to `rows` rows, padded with rubbish that does not count."""
    batch = batch_for(model, units, seed, rows)
    lengths = np.random.default_rng(seed).integers(1, rows + 1, units)
    lengths[:2] = (1, rows)
    counts = np.arange(rows) < lengths[:, None]
    if model.outputs == 1:
        np.copyto(batch.targets, np.random.default_rng(seed).integers(0, 2, batch.targets.shape))
    return MicroBatch(features=batch.features, targets=batch.targets, counts=counts)


def summed(engine: Engine, batch: MicroBatch, clip: float, seed: int = 2) -> ClippedSum:
    """One call at given weights."""
    engine.set_weights(np.random.default_rng(seed).normal(size=engine.size).astype(np.float32).astype(np.float64) * 0.2)
    return engine.clipped_sum(batch, clip)


@pytest.mark.parametrize(
    ("name", "loss", "per_layer"), [*((*case, False) for case in CASES), ("shift", Loss.SOFTMAX, True)]
)
def test_book_keeping_clips_a_units_sum_as_vmap_does(name: str, loss: Loss, per_layer: bool) -> None:
    """The gradient of all rows together is shortened to the clip; padding counts for nothing."""
    model, batch = model_of(name), ragged(model_of(name), 5)
    ours = summed(BookkeepingEngine(model, loss, per_layer, MOST_ROWS), batch, CLIP)
    theirs = summed(VmapEngine(model, loss, per_layer), batch, CLIP)
    assert np.allclose(ours.total, theirs.total, atol=2e-5 * CLIP * 5)
    assert ours.within == theirs.within
    for unit in range(5):
        alone = summed(BookkeepingEngine(model, loss, per_layer, MOST_ROWS), one(batch, unit), CLIP)
        assert np.linalg.norm(alone.total) <= CLIP * (1 + 2.0**-14)


@given(st.integers(1, MOST_ROWS), st.integers(0, 2**31), st.sampled_from(["one score", "shift", "chain-relu"]))
@settings(max_examples=25, deadline=None)
def test_a_unit_of_any_number_of_rows_moves_the_sum_by_the_clip_that_is_priced(rows: int, seed: int, name: str) -> None:
    """Add or remove one person with all rows: the sum moves by the clip and its margin at most, and not more for 40."""
    model = model_of(name)
    loss = Loss.LOGISTIC if name == "one score" else Loss.SOFTMAX
    batch = ragged(model, 12, rows, seed)
    without = MicroBatch(features=batch.features, targets=batch.targets, counts=batch.counts.copy())
    without.counts[5] = False
    engine = BookkeepingEngine(model, loss, False, rows)
    inner = CLIP * float(CLIP_MARGIN)
    moved = summed(engine, batch, inner).total - summed(engine, without, inner).total
    assert np.linalg.norm(moved) <= CLIP


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_many_short_units_fill_several_blocks(name: str, loss: Loss) -> None:
    """The last block is padded; nobody is lost or counted twice."""
    model, batch = model_of(name), ragged(model_of(name), ROWS + 3, rows=2)
    ours = summed(BookkeepingEngine(model, loss, False, 2), batch, CLIP)
    theirs = summed(VmapEngine(model, loss), batch, CLIP)
    assert np.allclose(ours.total, theirs.total, atol=2e-5 * CLIP * (ROWS + 3))
    assert ours.within == theirs.within


@pytest.mark.parametrize(("name", "loss"), CASES)
@pytest.mark.parametrize("value", [np.inf, np.nan, np.float32(3e38)])
def test_a_row_that_is_not_finite_takes_nothing_of_anybody_else(name: str, loss: Loss, value: float) -> None:
    """Other units add the very same bits; the sum stays finite and the broken unit within its clip."""
    model = model_of(name)
    if model.graph.nodes[0].op == "embedding":
        pytest.skip("a table reads whole numbers, into which any value is turned")
    batch = ragged(model, 6, rows=3)
    spoilt = MicroBatch(features=batch.features.copy(), targets=batch.targets, counts=batch.counts)
    spoilt.features[1, 0] = value
    empty = MicroBatch(features=batch.features, targets=batch.targets, counts=batch.counts.copy())
    empty.counts[1] = False
    engine = BookkeepingEngine(model, loss, False, 3)
    with_spoilt, without = summed(engine, spoilt, CLIP).total, summed(engine, empty, CLIP).total
    assert np.isfinite(with_spoilt).all()
    assert np.linalg.norm(with_spoilt - without) <= CLIP * (1 + 1e-4)


def test_rows_that_cancel_do_not_hide_a_unit() -> None:
    """Two huge rows that cancel and a small one: the norm is that of what is left, and what leaves is that."""
    model = ONE_SCORE
    features = np.zeros((1, 3, 6), dtype=np.float32)
    features[0, 0], features[0, 1], features[0, 2] = 1e6, -1e6, 0.5
    batch = MicroBatch(features=features, targets=np.zeros((1, 3), np.float32), counts=np.ones((1, 3), np.bool_))
    for engine in (BookkeepingEngine(model, Loss.SQUARED, False, 3), VmapEngine(model, Loss.SQUARED)):
        assert np.linalg.norm(summed(engine, batch, CLIP).total) <= CLIP * (1 + 2.0**-14)


def test_in_its_slot_a_unit_adds_the_same_bits_in_any_company() -> None:
    """Decision 13 rests on it, and it holds for units of several rows too."""
    for name, loss in CASES:
        model = model_of(name)
        batch, other = ragged(model, 40, rows=4), ragged(model, 40, rows=4, seed=8)
        other.features[7], other.targets[7], other.counts[7] = batch.features[7], batch.targets[7], batch.counts[7]
        only = [MicroBatch(features=b.features, targets=b.targets, counts=b.counts & (np.arange(40) == 7)[:, None])
                for b in (batch, other)]  # fmt: skip
        engine = BookkeepingEngine(model, loss, False, 4)
        first, second = (summed(engine, b, CLIP).total for b in only)
        assert first.any()
        assert np.array_equal(first, second), name


def test_units_of_any_rows_run_in_book_keeping_where_every_operation_is_proven() -> None:
    """The choice follows from the graph; one unproven operation takes the whole model to vmap."""
    assert engine_for(EngineChoice.AUTO, ONE_SCORE) is EngineName.BOOKKEEPING
    assert engine_for(EngineChoice.AUTO, UNPROVEN) is EngineName.VMAP
    assert isinstance(BookkeepingEngine(ONE_SCORE, Loss.LOGISTIC, False, 2)._pass, OneScoreOfUnits)


def test_of_a_unit_with_too_many_rows_the_first_are_used() -> None:
    """RULES 18: which ones hangs on that unit's rows only; nobody else's rows move."""
    draw = np.random.default_rng(5)
    units = np.repeat(np.arange(30), draw.integers(1, MOST_ROWS + 1, 30))
    order = draw.permutation(len(units))
    rows = Rows(
        features=draw.normal(size=(len(units), 3)).astype(np.float32)[order],
        targets=np.zeros(len(units), np.float32),
        alive=np.ones(len(units), np.bool_),
    )
    table = UnitTable.by_unit(rows, units[order], 5)
    batch = table.gather(np.array([3, -1, 8]))
    assert batch.counts.sum(axis=1).tolist() == [min(5, int((units == unit).sum())) for unit in (3,)] + [0] + [
        min(5, int((units == 8).sum()))
    ]
    keep = units[order] != 8
    fewer = Rows(features=rows.features[keep], targets=rows.targets[keep], alive=rows.alive[keep])
    again = UnitTable.by_unit(fewer, units[order][keep], 5).gather(np.array([3]))
    assert np.array_equal(again.features[0], batch.features[0])
