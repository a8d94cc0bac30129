"""Each seeded fault of the mechanism, put into the production code, is caught by the check that is named for it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privacy.graph.check import CheckedGraph
from privacy.jobs.plan import TrainingPlan, performance_of
from privacy.selftest.claims import Claims
from privacy.selftest.rehearsal import CHECK_OF, check_live_noise, rehearse
from privacy.selftest.report import REHEARSED, Check, SelfTest, failed, judge
from privacy.selftest.witness import Witness
from privacy.training import plan_runner, preflight, vmap_engine
from privacy.training.bookkeeping import bounds, layers
from privacy.training.choosing import choose_engine
from privacy.training.plan_runner import run_plan
from privacy.training.preflight import RehearsalError
from privacy.training.rows import RowEncoder
from privacy.training.state import first_state
from privacy.training.units import UnitTable
from privacy.training.vmap_engine import VmapEngine
from tests.support import jobs

Patch = Callable[[pytest.MonkeyPatch], object]
CLIP = {"clip": "0.05"}


class Yes:
    """A parent who lets everything start."""

    def may_start(self, upto: int) -> bool:
        return True

    def save(self, state: Any) -> None:
        pass


def case(**changes: Any) -> tuple[TrainingPlan, CheckedGraph, RowEncoder]:
    """A plan whose clip binds, with its model and its features."""
    recipe = CLIP | changes.pop("recipe", {})
    wanted, plan = jobs.spec(recipe=recipe, **changes), jobs.plan(recipe=recipe, **changes)
    return plan, wanted.model_graph(jobs.SCHEMA), RowEncoder(wanted.features, jobs.SCHEMA)


def watched(**changes: Any) -> tuple[SelfTest, TrainingPlan]:
    """A whole run, with the production code as it is now."""
    plan, model, encoder = case(**changes)
    rows = encoder.encode(jobs.people(480))
    engine, witness = choose_engine(model, plan.loss, plan), Witness(Claims.of(plan))
    units = UnitTable.of_records(rows)
    run_plan(plan, performance_of(plan, model), engine, units, Yes(), first_state(model.graph), witness)
    return witness.report(REHEARSED), plan


def rehearsed(**changes: Any) -> tuple[Check, ...]:
    """A rehearsal, with the production code as it is now."""
    plan, model, encoder = case(**changes)
    engine = choose_engine(model, plan.loss, plan)
    return rehearse(plan, performance_of(plan, model), model, encoder, jobs.SCHEMA, engine)


def half_noise(patch: pytest.MonkeyPatch) -> None:
    """Half of what is priced."""
    real = plan_runner.noise_vector
    patch.setattr(plan_runner, "noise_vector", lambda source, size, sigma, grid: real(source, size, sigma / 2, grid))


def no_noise(patch: pytest.MonkeyPatch) -> None:
    """None at all."""
    patch.setattr(plan_runner, "noise_vector", lambda source, size, sigma, grid: np.zeros(size))


def repeated_noise(patch: pytest.MonkeyPatch) -> None:
    """The first step's, again and again."""
    real, kept = plan_runner.noise_vector, []

    def again(*arguments: Any) -> Any:
        if not kept:
            kept.append(real(*arguments))
        return kept[0].copy()

    patch.setattr(plan_runner, "noise_vector", again)


def no_subsampling(patch: pytest.MonkeyPatch) -> None:
    """Everybody in every step."""
    patch.setattr(plan_runner, "poisson_sample", lambda population, *_: np.arange(population))


def one_sample_for_all(patch: pytest.MonkeyPatch) -> None:
    """The first step's sample, again and again."""
    real, kept = plan_runner.poisson_sample, []

    def again(*arguments: Any) -> Any:
        if not kept:
            kept.append(real(*arguments))
        return kept[0]

    patch.setattr(plan_runner, "poisson_sample", again)


def sum_not_averaged(patch: pytest.MonkeyPatch) -> None:
    """The divisor forgotten."""
    patch.setattr(plan_runner, "average", lambda noisy, grid, _: np.multiply(noisy, grid, out=noisy))


def noise_on_dead_alone(patch: pytest.MonkeyPatch) -> None:
    """What is looked at has noise, the weights have none."""
    real = plan_runner.add_noise

    def add(total: Any, noise: Any, grid: float) -> Any:
        partial = noise.copy()
        partial[:-16] = 0
        return real(total, partial, grid)

    patch.setattr(plan_runner, "add_noise", add)


IN_A_RUN: dict[str, tuple[Patch, set[Check]]] = {
    "half noise": (half_noise, {Check.NOISE_VARIANCE, Check.WHOLE_VARIANCE}),
    "no noise": (no_noise, {Check.NOISE_VARIANCE, Check.WHOLE_VARIANCE}),
    "repeated noise": (repeated_noise, {Check.NOISE_REPEATS, Check.WHOLE_REPEATS}),
    "no subsampling": (no_subsampling, {Check.INCLUSION}),
    "the same sample in every step": (one_sample_for_all, {Check.SAMPLE_REPEATS}),
    "sum not averaged": (sum_not_averaged, {Check.AVERAGING, Check.NOISE_VARIANCE}),
}


@pytest.mark.parametrize("clipping", ["flat", "per-layer", "adaptive"])
def test_an_honest_run_passes(clipping: str) -> None:
    """Whatever the clipping: the noise is what the plan says it is."""
    test, plan = watched(recipe={"clipping": clipping})
    assert failed(judge(test, Claims.of(plan), plan.uses())) == ()


@pytest.mark.parametrize(("fault", "by"), IN_A_RUN.values(), ids=IN_A_RUN)
def test_a_fault_of_a_run_is_caught(fault: Patch, by: set[Check], monkeypatch: pytest.MonkeyPatch) -> None:
    """By its figures, whatever the rows are."""
    fault(monkeypatch)
    test, plan = watched()
    assert by <= set(failed(judge(test, Claims.of(plan), plan.uses())))


def wrong_tensor(patch: pytest.MonkeyPatch, module: Any = bounds) -> None:
    """The norm of the result's gradient in the place of the input's."""
    real, seen = module.squares, []

    def squares(values: torch.Tensor) -> torch.Tensor:
        seen.append(values)
        return real(values if len(seen) % 2 else seen[-2])

    patch.setattr(module, "squares", squares)


def dropped_bias(patch: pytest.MonkeyPatch, module: Any = bounds) -> None:
    """|b|^2 |a|^2 in the place of |b|^2 (|a|^2 + 1)."""
    real, calls = module.squares, []

    def squares(values: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return real(values) if len(calls) % 2 else real(values) - 1

    patch.setattr(module, "squares", squares)


def wrong_tensor_by_rows(patch: pytest.MonkeyPatch) -> None:
    """The last weight's norm for all of them."""
    real = vmap_engine._norms
    patch.setattr(vmap_engine, "_norms", lambda gradients: real(gradients[-1:]))


def dropped_bias_by_rows(patch: pytest.MonkeyPatch) -> None:
    """Every second weight left out: the biases."""
    real = vmap_engine._norms
    patch.setattr(vmap_engine, "_norms", lambda gradients: real(gradients[::2]))


def wrong_tensor_of_units(patch: pytest.MonkeyPatch) -> None:
    """The matrix' norm twice in the place of matrix and bias, of sums that were formed."""
    wrong_tensor(patch, layers)


def forgotten_bias_of_units(patch: pytest.MonkeyPatch) -> None:
    """The bias is left out of the norm of what was formed."""
    real, calls = layers.squares, []

    def squares(values: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return real(values) if len(calls) % 2 else torch.zeros_like(real(values))

    patch.setattr(layers, "squares", squares)


WRONG_NORMS: dict[str, tuple[Patch, dict[str, Any]]] = {
    "norm of the wrong tensor": (wrong_tensor, {}),
    "dropped bias in a norm": (dropped_bias, {}),
    "norm of the wrong tensor, vmap": (wrong_tensor_by_rows, {"made": VmapEngine, "rows": 3}),
    "dropped bias in a norm, vmap": (dropped_bias_by_rows, {"made": VmapEngine, "rows": 3}),
    "norm of the wrong tensor, several rows": (wrong_tensor_of_units, {"rows": 3}),
    "forgotten bias in a norm, several rows": (forgotten_bias_of_units, {"rows": 3}),
}


@pytest.mark.parametrize(("fault", "of"), WRONG_NORMS.values(), ids=WRONG_NORMS)
def test_a_wrong_norm_is_caught_in_the_rehearsal(
    fault: Patch, of: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the same unit alone, in float64, without the engine."""
    model = {"template": "mlp", "hidden": [4], "activation": "tanh"}
    changes: dict[str, Any] = {"model": model}
    if "rows" in of:
        declared = jobs.facts(rows_per_unit=of["rows"])
        wanted = jobs.spec(declared, model=model, recipe=CLIP)
        plan = jobs.plan(declared, model=model, recipe=CLIP)
        graph, encoder = wanted.model_graph(jobs.SCHEMA), RowEncoder(wanted.features, jobs.SCHEMA)
    else:
        plan, graph, encoder = case(**changes)
    engine = of["made"](graph, plan.loss) if "made" in of else choose_engine(graph, plan.loss, plan)
    arguments = (plan, performance_of(plan, graph), graph, encoder, jobs.SCHEMA, engine)
    assert rehearse(*arguments) == REHEARSED
    fault(monkeypatch)
    with pytest.raises(RehearsalError) as caught:
        rehearse(*arguments)
    assert CHECK_OF[caught.value.message] in (Check.CLIPPED_ALONE, Check.CLIP_BOUND)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (noise_on_dead_alone, Check.LIVE_NOISE),
        (no_noise, Check.LIVE_NOISE),
        (sum_not_averaged, Check.LIVE_AVERAGE),
    ],
    ids=["noise not added to live coordinates", "no noise", "sum not averaged"],
)
def test_noise_that_does_not_reach_the_weights_is_caught_in_the_rehearsal(
    fault: Patch, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On dead rows the weights move by the noise alone."""
    plan, model, encoder = case()
    engine = choose_engine(model, plan.loss, plan)
    arguments = (plan, performance_of(plan, model), engine, encoder.width)
    check_live_noise(*arguments)
    fault(monkeypatch)
    with pytest.raises(RehearsalError) as caught:
        check_live_noise(*arguments)
    assert CHECK_OF[caught.value.message] is check


@pytest.mark.parametrize("clipping", ["per-layer", "adaptive"])
@pytest.mark.parametrize("model", [{"template": "logistic"}, {"template": "mlp", "hidden": [4]}])
def test_an_honest_engine_passes_its_rehearsal(clipping: str, model: dict[str, Any]) -> None:
    """By all six names."""
    assert rehearsed(recipe={"clipping": clipping}, model=model) == REHEARSED


def test_every_sentence_of_a_rehearsal_has_its_check() -> None:
    """A demand that is added there needs a name here."""
    tree = ast.parse(Path(preflight.__file__).read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "_demand"]
    sentences = {argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)}
    assert sentences
    assert sentences <= set(CHECK_OF)
    assert set(CHECK_OF.values()) == set(REHEARSED)
