"""Clipping: each unit's gradient alone, exact, whatever it holds and whoever stands beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward, sigmoid
from privacy.jobs.plan import TrainingPlan, performance_of
from privacy.jobs.spec import Loss
from privacy.training.engine import ClippedSum, MicroBatch, unflatten
from privacy.training.opacus_engine import OpacusEngine
from privacy.training.preflight import RehearsalError, clipped_alone, rehearse
from privacy.training.rows import RowEncoder, Rows
from privacy.training.runner import quiet_arithmetic
from privacy.training.units import UnitTable
from tests.support import jobs

MODELS: dict[str, dict[str, Any]] = {
    "logistic": {},
    "linear": {"label": None, "features": None},
    "mlp-tanh": {"model": {"template": "mlp", "hidden": [5, 3], "activation": "tanh"}},
    "mlp-relu": {"model": {"template": "mlp", "hidden": [4], "activation": "relu"}},
    "mlp-gelu": {"model": {"template": "mlp", "hidden": [4], "activation": "gelu"}},
}
REGRESSION = {"label": "dose", "model": {"template": "linear"}}


def _request(name: str) -> dict[str, Any]:
    return REGRESSION if name == "linear" else MODELS[name]


def _case(name: str, clip: str = "0.05", rows_per_unit: int = 1) -> tuple[TrainingPlan, CheckedGraph, OpacusEngine]:
    declared = jobs.facts(rows_per_unit=rows_per_unit)
    wanted = jobs.spec(declared, **_request(name), recipe={"clip": clip})
    plan = jobs.plan(declared, **_request(name), recipe={"clip": clip})
    model = wanted.model_graph(jobs.SCHEMA)
    return plan, model, OpacusEngine(model, plan.loss)


def _batch(units: int, rows: int, width: int, seed: int, loss: Loss) -> MicroBatch:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(units, rows, width)).astype(np.float32)
    targets = draw.normal(size=(units, rows)) if loss is Loss.SQUARED else draw.integers(0, 2, (units, rows))
    return MicroBatch(
        features=features,
        targets=targets.astype(np.float32),
        counts=draw.random((units, rows)) < (0.8 if rows > 1 else 1),
    )


def _unit(batch: MicroBatch, unit: int) -> MicroBatch:
    part = slice(unit, unit + 1)
    return MicroBatch(features=batch.features[part], targets=batch.targets[part], counts=batch.counts[part])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("clip", ["0.05", "1000"])
def test_the_sum_is_that_of_units_clipped_one_by_one(name: str, rows: int, clip: str) -> None:
    """In float64, against plain autograd on one unit at a time; at a clip that bites and at one that does not."""
    plan, model, engine = _case(name, clip, rows)
    batch = _batch(40, rows, model.width, 1, plan.loss)
    weights = np.random.default_rng(2).normal(size=engine.size)
    engine.set_weights(weights)
    alone = [clipped_alone(plan, model, weights, _unit(batch, unit)) for unit in range(40)]
    norms = np.linalg.norm(alone, axis=1)
    assert (norms <= float(plan.engine_clip) * (1 + 1e-12)).all()
    bitten = int(np.isclose(norms, float(plan.engine_clip), rtol=1e-12).sum())
    assert bitten > 10 if clip == "0.05" else bitten == 0
    found = engine.clipped_sum(batch, float(plan.engine_clip)).total
    assert np.abs(found - np.sum(alone, axis=0)).max() <= 1e-12 * max(1.0, np.abs(found).max())


def test_the_gradient_of_logistic_regression_is_the_textbooks() -> None:
    """(sigmoid(score) - target) x row, by hand: a reference that shares no code with the engine."""
    plan, model, engine = _case("logistic", "0.3")
    batch = _batch(50, 1, model.width, 3, plan.loss)
    weights = np.random.default_rng(4).normal(size=engine.size)
    engine.set_weights(weights)
    rows, targets = batch.features[:, 0].astype(np.float64), batch.targets[:, 0].astype(np.float64)
    residual = sigmoid(rows @ weights[:-1] + weights[-1]) - targets
    gradients = residual[:, None] * np.concatenate([rows, np.ones((50, 1))], axis=1)
    factors = np.minimum(1, float(plan.engine_clip) / np.linalg.norm(gradients, axis=1))
    assert np.allclose(
        engine.clipped_sum(batch, float(plan.engine_clip)).total, factors @ gradients, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("name", ["logistic", "mlp-tanh", "linear"])
def test_one_unit_moves_the_sum_by_its_own_clipped_gradient(name: str) -> None:
    """Adding a unit, a most hostile one too, changes the sum by at most the engine's clip."""
    plan, model, engine = _case(name)
    engine.set_weights(np.random.default_rng(5).normal(size=engine.size))
    batch = _batch(16, 1, model.width, 6, plan.loss)
    batch.counts[7] = False
    without = engine.clipped_sum(batch, float(plan.engine_clip)).total
    batch.counts[7] = True
    for scale in (1e-30, 1.0, 1e4, 1e18, 3e38):
        batch.features[7] = scale
        moved = np.linalg.norm(engine.clipped_sum(batch, float(plan.engine_clip)).total - without)
        assert moved <= float(plan.engine_clip) * (1 + 1e-9), scale


@pytest.mark.parametrize("name", ["logistic", "mlp-relu", "linear"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_contributes_zero(name: str, value: float) -> None:
    """The sum is bit for bit that of the others: selection, never a product with zero."""
    plan, model, engine = _case(name)
    engine.set_weights(np.random.default_rng(5).normal(size=engine.size))
    batch = _batch(16, 1, model.width, 6, plan.loss)
    batch.features[7, 0, 2] = value
    with_it = engine.clipped_sum(batch, float(plan.engine_clip)).total
    batch.features[7], batch.counts[7] = 0, False
    assert (with_it == engine.clipped_sum(batch, float(plan.engine_clip)).total).all()
    assert np.isfinite(with_it).all()
    batch.features[:] = value
    batch.counts[:] = True
    assert (engine.clipped_sum(batch, float(plan.engine_clip)).total == 0).all()


def test_a_gradient_that_overflows_contributes_zero() -> None:
    """Huge weights leave a row's loss finite and make its gradient infinite: that row alone is dropped."""
    request = REGRESSION | {"model": {"template": "mlp", "hidden": [4], "activation": "relu"}}
    plan = jobs.plan(**request)
    model = jobs.spec(**request).model_graph(jobs.SCHEMA)
    engine = OpacusEngine(model, plan.loss)
    # Hidden values of 10^170 and a score of 10^150: half its square is finite, score x hidden value is not.
    engine.set_weights(np.concatenate([np.full(4 * model.width, 1e140), np.zeros(4), np.full(4, 1e-20), np.zeros(1)]))
    batch = _batch(8, 1, model.width, 6, plan.loss)
    batch.features[:] = 0
    batch.features[0] = 1e30
    found = engine.clipped_sum(batch, float(plan.engine_clip)).total
    assert np.isfinite(found).all()
    batch.counts[0] = False
    assert (engine.clipped_sum(batch, float(plan.engine_clip)).total == found).all()


def test_the_rows_of_a_unit_are_summed_before_they_are_clipped() -> None:
    """Three rows of one person move the sum by one clip, not by three; opposite rows cancel."""
    plan, model, engine = _case("logistic", "0.05", 3)
    engine.set_weights(np.zeros(engine.size))
    same = MicroBatch(
        features=np.ones((1, 3, model.width), np.float32),
        targets=np.ones((1, 3), np.float32),
        counts=np.ones((1, 3), bool),
    )
    assert np.isclose(
        np.linalg.norm(engine.clipped_sum(same, float(plan.engine_clip)).total), float(plan.engine_clip), rtol=1e-12
    )
    same.targets[0, 1], same.counts[0, 2] = 0, False
    assert np.linalg.norm(engine.clipped_sum(same, float(plan.engine_clip)).total) < 1e-12


def test_nothing_of_a_batch_stays_in_the_engine() -> None:
    """The same batch gives the same sum the second time, and an empty one gives zero after it."""
    plan, model, engine = _case("mlp-tanh")
    engine.set_weights(np.random.default_rng(5).normal(size=engine.size))
    batch = _batch(16, 1, model.width, 6, plan.loss)
    first = engine.clipped_sum(batch, float(plan.engine_clip)).total
    assert (engine.clipped_sum(batch, float(plan.engine_clip)).total == first).all()
    batch.counts[:] = False
    assert (engine.clipped_sum(batch, float(plan.engine_clip)).total == 0).all()


def test_a_unit_is_the_same_at_every_place_within_the_margin() -> None:
    """Rounding differs with the place in a micro-batch by far less than the margin of the clip."""
    plan, model, engine = _case("mlp-tanh")
    engine.set_weights(np.random.default_rng(5).normal(size=engine.size))
    batch = _batch(16, 1, model.width, 6, plan.loss)
    sums = []
    for shift in range(16):
        order = np.roll(np.arange(16), shift)
        sums.append(
            engine.clipped_sum(
                MicroBatch(features=batch.features[order], targets=batch.targets[order], counts=batch.counts[order]),
                float(plan.engine_clip),
            ).total
        )
    assert np.linalg.norm(sums - sums[0], axis=1).max() < 1e-12 * float(plan.engine_clip) * 16


def test_the_engine_clips_below_what_is_priced() -> None:
    """Clip x (1 - 2^-8): the margin for rounding."""
    plan, _, _ = _case("logistic", "0.05")
    assert float(plan.engine_clip) == pytest.approx(0.05 * (1 - 2**-8), rel=1e-12)


def test_denormals_are_flushed_in_forward_and_backward() -> None:
    """After `quiet_arithmetic` a product that would be denormal is 0 in torch, in numpy and in autograd's pass."""
    try:
        quiet_arithmetic()
        small = torch.tensor([1e-200], dtype=torch.float64, requires_grad=True)
        product = small * 1e-120
        (gradient,) = torch.autograd.grad((product * 1e-160).sum() * 1e-160, small)
        assert (product.item(), gradient.item()) == (0.0, 0.0)
        assert (np.array([1e-200] * 9) * 1e-120 == 0).all()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_flush_denormal(False)
    assert (np.array([1e-200] * 9) * 1e-120 > 0).all()


class _Cheating(OpacusEngine):
    """An engine with one fault."""

    def __init__(self, model: CheckedGraph, plan: TrainingPlan, fault: str) -> None:
        super().__init__(model, plan.loss)
        self._fault = fault

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Any = None) -> ClippedSum:
        """Compute, with the fault."""
        total = self._honest(batch, clip)
        match self._fault:
            case "clipped together":
                total = self._honest(batch, 1e9)
                total = total * min(1, clip / max(float(np.linalg.norm(total)), 1e-300))
            case "not a number":
                total = total + (0.0 * batch.features).sum()
        return ClippedSum(total=total, within=0)

    def _honest(self, batch: MicroBatch, clip: float) -> Any:
        match self._fault:
            case "not clipped":
                clip = 1e9
            case "mixes rows":
                batch.features[:] = batch.features - batch.features.mean(axis=0, keepdims=True)
            case "counts padding":
                batch.counts[:] = True
        return super().clipped_sum(batch, clip).total


@pytest.mark.parametrize(
    "fault", ["none", "not clipped", "clipped together", "mixes rows", "counts padding", "not a number"]
)
def test_the_rehearsal_finds_an_engine_that_does_not_clip(fault: str) -> None:
    """Each seeded fault ends the job before it has a key; without one the rehearsal passes."""
    declared = jobs.facts(rows_per_unit=2)
    wanted = jobs.spec(declared, recipe={"clip": "0.05"})
    plan = jobs.plan(declared, recipe={"clip": "0.05"})
    model = wanted.model_graph(jobs.SCHEMA)
    arguments = (plan, performance_of(plan, model), model, RowEncoder(wanted.features, jobs.SCHEMA), jobs.SCHEMA)
    if fault == "none":
        rehearse(*arguments, _Cheating(model, plan, fault))
        return
    with pytest.raises(RehearsalError):
        rehearse(*arguments, _Cheating(model, plan, fault))


def test_units_keep_their_first_rows_and_no_other() -> None:
    """At most `rows_per_unit` rows of a unit are gathered, in the file's order; the rest never counts."""
    rows = Rows(
        features=np.arange(10, dtype=np.float32)[:, None], targets=np.zeros(10, np.float32), alive=np.ones(10, np.bool_)
    )
    table = UnitTable.by_unit(rows, np.array([4, 1, 4, 4, 1, 7, 4, 1, 1, 1]), 2)
    batch = table.gather(np.arange(3), 5)
    assert batch.features[:, :, 0].tolist() == [[1, 4], [0, 2], [5, 0], [0, 0], [0, 0]]
    assert batch.counts.tolist() == [[True, True], [True, True], [True, False], [False, False], [False, False]]
    assert table.used_rows().features[:, 0].tolist() == [1, 4, 0, 2, 5]


def test_forward_agrees_with_the_engine() -> None:
    """What is scored with numpy is what was trained with torch."""
    plan, model, engine = _case("mlp-gelu")
    weights = np.random.default_rng(5).normal(size=engine.size)
    engine.set_weights(weights)
    rows = np.random.default_rng(6).normal(size=(9, model.width)).astype(np.float32)
    by_name = unflatten(weights, {weight.name: weight.shape for weight in model.graph.weights})
    with torch.no_grad():
        expected = engine._module(torch.from_numpy(rows).to(torch.float64)).numpy()
    assert np.allclose(forward(model, by_name, rows), expected, rtol=1e-12)
    assert plan.loss is Loss.LOGISTIC
