"""The run: exactly the plan's steps, noise in each, nothing derived from how many rows there are."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from privacy.graph.forward import forward
from privacy.graph.weights import pack_weights, unpack_weights
from privacy.jobs.plan import MOST_UNITS_AT_ONCE, Performance, TrainingPlan, performance_of, plan_training
from privacy.jobs.spec import complete_training
from privacy.schema import TableSchema
from privacy.training.clipping import ClipRule
from privacy.training.engine import ClippedSum, MicroBatch, written
from privacy.training.noise import grid_of
from privacy.training.opacus_engine import OpacusEngine
from privacy.training.plan_runner import PIECE, Mechanism, Stopped, run_plan
from privacy.training.rows import RowEncoder, Rows
from privacy.training.savepoints import pack_state, unpack_state
from privacy.training.slots import placed
from privacy.training.state import LARGEST_WEIGHT, Descent, RunState, first_state, released_weights
from privacy.training.stream import NoiseStream
from privacy.training.units import UnitTable
from privgate.demo.tables import declared
from tests.support import jobs
from tests.support.witnesses import Onlooker

WIDTH = jobs.spec().features.width(jobs.SCHEMA)
STILL = {"learning_rate": "1", "momentum": "0", "weight_decay": "0", "averaging": "none", "schedule": "constant"}


@dataclass
class Parent:
    """Says go until `last`, and remembers what it was told."""

    last: int = 10**9
    asked: list[int] = field(default_factory=list)
    saved: list[RunState] = field(default_factory=list)

    def may_start(self, upto: int) -> bool:
        self.asked.append(upto)
        return upto <= self.last

    def save(self, state: RunState) -> None:
        self.saved.append(state)


class Recorder:
    """An engine that adds nothing and remembers the shapes it was given."""

    name = "recorder"

    def __init__(self, size: int, adds: float = 0.0) -> None:
        self.size = size
        self.shapes: list[tuple[int, ...]] = []
        self._adds = adds

    def set_weights(self, flat: Any) -> None:
        """Nothing depends on them."""

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Any = None) -> ClippedSum:
        """The same number for each row."""
        self.shapes.append(batch.features.shape)
        return ClippedSum(total=written(np.full(self.size, self._adds * batch.counts.sum()), into), within=0)


def _units(count: int) -> UnitTable:
    ones = np.ones((count, WIDTH), np.float32)
    return UnitTable.of_records(Rows(features=ones, targets=ones[:, 0], alive=ones[:, 0] > 0))


def _run(
    plan: TrainingPlan, engine: Any, units: UnitTable, parent: Parent | None = None, start: Any = None
) -> RunState:
    model = jobs.spec().model_graph(jobs.SCHEMA)
    cut = performance_of(plan, model)
    return run_plan(plan, cut, engine, units, parent or Parent(), start or first_state(model.graph), Onlooker())


def _moves(plan: TrainingPlan) -> Any:
    """How far the weights moved from one savepoint to the next, without any row."""
    parent = Parent()
    state = _run(plan, Recorder(WIDTH + 1), _units(0), parent)
    assert parent.asked == list(range(40, 401, 40))
    path = [np.zeros(WIDTH + 1), *(save.weights for save in parent.saved), state.weights]
    return np.diff(np.array(path), axis=0).ravel()


def test_every_step_is_noised_and_none_is_skipped() -> None:
    """With no row at all, and so with empty samples only, weights walk by noise of the priced scale at each step."""
    plan = jobs.plan(recipe={"steps": 400, "sampling_rate": "0.01", **STILL})
    moves = np.concatenate([_moves(plan) for _ in range(15)]) * float(plan.normaliser.number)
    sigma = float(plan.sigma) * math.sqrt(40)
    statistic = float((moves**2).sum()) / sigma**2
    assert 1e-9 < stats.chi2.cdf(statistic, len(moves)) < 1 - 1e-9
    for factor in (0.7, 1.3):
        assert not 1e-9 < stats.chi2.cdf(statistic / factor**2, len(moves)) < 1 - 1e-9


def test_an_empty_sample_gets_the_same_noise() -> None:
    """One step on nobody: the update is the noise over the declared batch."""
    plan = jobs.plan(recipe={"steps": 1, **STILL})
    moves = np.concatenate([_run(plan, Recorder(WIDTH + 1), _units(0)).weights for _ in range(300)])
    scaled = moves * float(plan.normaliser.number) / float(plan.sigma)
    assert stats.kstest(scaled, "norm").pvalue > 1e-9
    # Noise lies on a grid, so that a number in it may be 0 by right; that this many are has a chance below 10^-9.
    grid = grid_of(float(plan.recipe.clip.number), WIDTH + 1) / float(plan.gradient_noise * plan.recipe.clip.number)
    assert (scaled == 0).sum() <= stats.binom.isf(1e-9, len(scaled), grid)


def test_a_vector_of_many_pieces_is_noised_whole() -> None:
    """Each coordinate once: sums stay, noise is independent between pieces, and the witness hears all of it."""
    size, rule = 2 * PIECE + 777, ClipRule.of(jobs.plan(recipe={"steps": 1, **STILL}))
    onlooker = Onlooker()
    mechanism = Mechanism(Recorder(size, adds=3.0), onlooker, rule, NoiseStream())
    batch = _units(4).gather(np.arange(4))
    steps = []
    for _ in range(3):
        mechanism.add(batch, 1.0)
        mechanism.add(batch, 1.0)
        gradient, _ = mechanism.release(np.arange(2), 1.0)
        steps.append((gradient * rule.batch - 24.0) / rule.noise)
    for seen, heard in zip(steps, onlooker.noise, strict=True):
        assert len(heard) == size + onlooker.coordinates
        np.testing.assert_allclose(seen, heard[:size], atol=1e-3)
        assert stats.kstest(seen, "norm").pvalue > 1e-9
    parts = [step[start : start + PIECE] for step in steps for start in (0, PIECE)]
    for one, other in itertools.combinations(parts, 2):
        assert abs(one @ other) / math.sqrt(PIECE) < 7


def test_the_normaliser_is_the_declared_batch() -> None:
    """Twice the rows give twice the update; nothing divides by how many there are."""
    plan = jobs.plan(epsilon="100", recipe={"steps": 1, "sampling_rate": "1", **STILL})
    assert plan.normaliser.number == 480
    for rows in (100, 200, 960):
        moved = _run(plan, Recorder(WIDTH + 1, adds=1.0), _units(rows)).weights
        noise = float(plan.sigma) / 480
        assert np.abs(-moved - rows / 480).max() < 8 * noise


def test_rows_change_nothing_but_the_data_term() -> None:
    """Steps, shapes, micro-batches, plan and questions to the parent are the same for any number of rows (RULES 13)."""
    plan = jobs.plan(recipe={"steps": 30, "sampling_rate": "0.3"})
    seen = []
    for rows in (0, 1, 100, 101, 480, 520):
        engine, parent = Recorder(WIDTH + 1), Parent()
        state = _run(plan, engine, _units(rows), parent)
        seen.append((tuple(engine.shapes), tuple(parent.asked), len(parent.saved), state.step))
    assert len(set(seen)) == 1


def test_a_larger_sample_takes_a_whole_multiple_of_micro_batches() -> None:
    """Shapes are fixed; a sample beyond the declared number costs 2, 3, ... times the same."""
    cut = Performance(units_at_once=10, least_micro_batches=3)
    for size, expected in ((0, 3), (1, 3), (30, 3), (31, 6), (60, 6), (61, 9)):
        places = placed(np.arange(size), cut, NoiseStream())
        assert places.shape == (expected, 10)
        assert sorted(places[places >= 0].tolist()) == list(range(size))


def test_an_ordinary_sample_fits_the_declared_micro_batches() -> None:
    """Six deviations above the declared batch, for small and large ones, and memory stays bounded.

    Chance of a step that fills the declared places exactly, where one unit more would move everybody: below 10^-9.
    """
    for size, rate in ((600, "0.5"), (600, "0.002"), (33_000, "0.0005"), (33_000, "0.15"), (1_000_000, "0.5")):
        declared = jobs.facts(public_size=size)
        plan = jobs.plan(declared, recipe={"sampling_rate": rate, "steps": 10})
        cut = performance_of(plan, jobs.spec(declared).model_graph(jobs.SCHEMA))
        batch = float(plan.normaliser.number)
        places = cut.units_at_once * cut.least_micro_batches
        assert places >= batch + 6 * math.sqrt(batch)
        assert stats.poisson.pmf(places, batch) < 1e-9
        assert cut.units_at_once <= MOST_UNITS_AT_ONCE


def test_stop_ends_the_run_before_the_chunk() -> None:
    """Nothing is computed after it."""
    plan = jobs.plan(recipe={"steps": 20})
    engine = Recorder(WIDTH + 1)
    with pytest.raises(Stopped):
        _run(plan, engine, _units(50), Parent(last=3))
    before = len(engine.shapes)
    assert before
    with pytest.raises(Stopped):
        _run(plan, engine, _units(50), Parent(last=0))
    assert len(engine.shapes) == before


def test_weights_stay_finite_whatever_the_noise() -> None:
    """What is not finite becomes 0, the rest is held; released weights always can be written."""
    plan = jobs.plan(recipe={"steps": 4, "learning_rate": "10000", "weight_decay": "10", "momentum": "0.999"})
    graph = jobs.spec().model_graph(jobs.SCHEMA).graph
    descent = Descent(plan, first_state(graph))
    bad = np.resize([np.nan, np.inf, -np.inf, 1e300, -1e300, 1.0], WIDTH + 1)
    for _ in range(4):
        descent.move(bad)
    state = descent.state(1.0, 1, 4)
    assert np.isfinite(state.weights).all()
    assert np.abs(state.weights).max() <= LARGEST_WEIGHT
    unpack_weights(graph, pack_weights(graph, released_weights(plan, graph, state)))


def test_updates_are_those_of_the_recipe() -> None:
    """Momentum, decay, schedule and averaging against a computation by hand."""
    recipe = {"steps": 5, "learning_rate": "0.5", "momentum": "0.9", "weight_decay": "0.1", "schedule": "linear"}
    plan = jobs.plan(recipe=recipe | {"averaging": "second-half"})
    graph = jobs.spec().model_graph(jobs.SCHEMA).graph
    descent = Descent(plan, first_state(graph))
    weight, speed, kept = 0.0, 0.0, []
    for step in range(5):
        gradient = 1.0 + step
        descent.move(np.full(WIDTH + 1, gradient))
        speed = 0.9 * speed + gradient + 0.1 * weight
        weight -= 0.5 * (1 - step / 5) * speed
        kept.append(weight)
    state = descent.state(1.0, 1, 5)
    assert np.allclose(state.weights, weight)
    assert np.allclose(next(iter(released_weights(plan, graph, state).values())), np.mean(kept[2:]))


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_schedule_is_a_function_of_the_steps_number(schedule: str) -> None:
    """It starts at 1, never rises, and has no other argument."""
    recipe = jobs.plan(recipe={"schedule": schedule}).recipe
    factors = [recipe.schedule.factor(step, 50) for step in range(50)]
    assert factors[0] == 1
    assert all(0 <= later <= earlier for earlier, later in itertools.pairwise(factors))


def test_first_weights_come_from_the_given_source() -> None:
    """Zeros where the graph says so, else uniform within the bound, and different every time."""
    graph = jobs.spec(model={"template": "mlp", "hidden": [50]}).model_graph(jobs.SCHEMA).graph
    one, two = first_state(graph).weights, first_state(graph).weights
    size = 50 * WIDTH
    bound = float(graph.weights[0].init.bound.number)  # type: ignore[union-attr]
    assert np.abs(one[:size]).max() <= bound
    assert stats.kstest(one[:size], "uniform", args=(-bound, 2 * bound)).pvalue > 1e-9
    assert (one[size : size + 50] == 0).all()
    assert (one[:size] == two[:size]).sum() < 3


def test_a_run_that_resumes_twice_from_one_savepoint_shares_nothing_random() -> None:
    """Same savepoint, same rows: other noise, other samples and so other weights; steps and clip go on from it.

    Two draws lie within a thousandth of a deviation with a chance below 1/1000; three of eight weights: below 10^-7.
    """
    plan = jobs.plan(recipe={"steps": 40, "sampling_rate": "0.5"})
    parent = Parent()
    _run(plan, Recorder(WIDTH + 1), _units(200), parent)
    saved = unpack_state(pack_state(parent.saved[4], plan), plan, 20, WIDTH + 1)
    again = [Parent(), Parent()]
    ends = [_run(plan, Recorder(WIDTH + 1, adds=1.0), _units(200), parent, saved) for parent in again]
    assert [parent.asked for parent in again] == [list(range(24, 41, 4))] * 2
    assert (ends[0].weights == ends[1].weights).sum() < 3
    assert np.isclose(again[0].saved[0].weights, again[1].saved[0].weights, rtol=1e-9).sum() < 3
    assert [end.started for end in ends] == [40, 40]


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_row_is_encoded_alone() -> None:
    """Bit for bit the same in any company: alone, in a batch of any cut, beside hostile rows."""
    declared = jobs.spec(features=jobs.spec().features.to_json() | {"row_norm": "1.3"}, label=None).features
    encoder = RowEncoder(declared, jobs.SCHEMA)
    table = jobs.people(200)
    whole = encoder.encode(table).features
    for start, count in ((0, 1), (3, 2), (50, 17), (199, 1), (1, 199)):
        assert (encoder.encode(table.slice(start, count)).features == whole[start : start + count]).all()


def test_dead_rows_are_zeros() -> None:
    """Missing, unlisted or not finite: no number, no target, not alive; values outside move to the bound."""
    table = pa.table(
        {
            "patient": ["p"] * 6,
            "age": pa.array([50.0, None, math.nan, math.inf, 1e9, 50.0]),
            "dose": pa.array([0.0] * 6),
            "ward": ["a", "a", "a", "a", "a", "zz"],
            "stage": ["i"] * 6,
            "smoker": pa.array([True] * 6),
            "ill": ["yes"] * 6,
        }
    )
    rows = RowEncoder(jobs.spec().features, jobs.SCHEMA).encode(table)
    assert rows.alive.tolist() == [True, False, False, False, True, False]
    assert (rows.features[~rows.alive] == 0).all()
    assert (rows.targets[~rows.alive] == 0).all()
    assert rows.features[4, 0] == 1.0
    assert rows.features[0].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0, -1.0, 1.0]


# --- it learns -------------------------------------------------------------------------------------------------------


def _train(plan: TrainingPlan, schema: TableSchema, wanted: Any, table: pa.Table, entropy: Any = os.urandom) -> Any:
    model = wanted.model_graph(schema)
    units = UnitTable.of_records(RowEncoder(wanted.features, schema).encode(table))
    engine = OpacusEngine(model, plan.loss)
    cut, start = performance_of(plan, model), first_state(model.graph)
    state = run_plan(plan, cut, engine, units, Parent(), start, Onlooker(), entropy)
    return model, released_weights(plan, model.graph, state)


@pytest.mark.parametrize("kind", ["linear", "logistic", "mlp"])
def test_each_kind_of_model_learns(kind: str) -> None:
    """With little noise the loss falls far below that of the best constant."""
    template: dict[str, Any] = {"template": kind} | ({"hidden": [8]} if kind == "mlp" else {})
    label = "dose" if kind == "linear" else "ill"
    table = jobs.people(600)
    if kind == "linear":
        dose = np.clip(np.asarray(table.column("age")) / 20 - 2.5, -5, 5)
        table = table.set_column(table.column_names.index("dose"), "dose", pa.array(dose))
    about = jobs.facts()
    recipe = {"steps": 150, "sampling_rate": "0.5"}
    wanted = jobs.spec(about, epsilon="100", label=label, model=template, recipe=recipe)
    plan = plan_training(wanted, jobs.SCHEMA, about)
    model, weights = _train(plan, jobs.SCHEMA, wanted, table)
    rows = RowEncoder(wanted.features, jobs.SCHEMA).encode(table)
    scores = forward(model, weights, rows.features)[:, 0]
    if kind == "linear":
        assert np.mean((scores - rows.targets) ** 2) < 0.25 * np.var(rows.targets)
    else:
        assert np.mean((scores > 0) == (rows.targets > 0.5)) > 0.85


def test_breast_cancer_at_epsilon_3() -> None:
    """Real clinical data, fresh noise: the median of five runs is near 0.95, and far above 0.85."""
    datasets = pytest.importorskip("sklearn.datasets")
    bunch = datasets.load_breast_cancer()
    of = declared("breast-cancer")
    schema = TableSchema.from_json(of.schema)
    columns = dict(zip(of.columns, [*bunch.data.T, bunch.target_names[bunch.target]], strict=True))
    table = pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})
    order = np.random.default_rng(0).permutation(569)
    train, test = table.take(order[:455]), table.take(order[455:])
    about = jobs.facts(public_size=of.population["public_size"])
    body = {"dataset": str(jobs.DATASET), "purpose": "research", "epsilon": "3", "features": of.training["features"]}
    wanted = complete_training(body, schema, about)
    plan = plan_training(wanted, schema, about)
    rows = RowEncoder(wanted.features, schema).encode(test)
    found = []
    for _ in range(5):
        model, weights = _train(plan, schema, wanted, train)
        scores = forward(model, weights, rows.features)[:, 0]
        found.append(float(np.mean((scores > 0) == (rows.targets > 0.5))))
    assert median(found) > 0.85
