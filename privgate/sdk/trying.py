"""Trying a request out: its plan, and its run on dummy or own rows, on this machine.

Rules
-----
1. The gateway is asked for the dataset's card and, where a request uses a release, for that; it is told nothing.
2. The request is read as the gateway reads it, to the bytes of its body, and planned by the gateway's functions: what
   it refuses is refused here, in the same words, with torch or without.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from kernel import canonical
from kernel.bodies import LARGE_LIMIT, read_body
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.ids import ReleaseId
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec
from privacy.jobs.head import sees_home_alone
from privacy.jobs.labels import Target
from privacy.jobs.opening import Opening
from privacy.jobs.plan import Plan, TrainingPlan, TuningPlan
from privacy.jobs.planning import evaluated_features, plan_request, training_of
from privacy.jobs.quote import QuotedModel
from privacy.jobs.spec import (
    EvaluationSpec,
    GlmSpec,
    JobSpec,
    StatisticsSpec,
    SynthesisSpec,
    TrainingSpec,
    TuningSpec,
    read_spec,
)
from privacy.selftest.claims import Claims
from privacy.selftest.report import SelfTest, failed, judge
from privgate.sdk.rehearsals import (
    NO_RELEASE,
    JobRehearsal,
    Progress,
    Rehearsal,
    RehearsedRelease,
    Row,
    Rows,
    own_rows,
)

DUMMY_ROWS = 1000
if TYPE_CHECKING:
    from privacy.schema import TableSchema
    from privgate.models import Model
    from privgate.sdk.datasets import Dataset


@dataclass(frozen=True, slots=True)
class Planned:
    """A request in its final form, its plan, and what is declared of the people that it is about."""

    spec: JobSpec
    plan: Plan
    facts: DeclaredFacts


def planned(dataset: Dataset, request: Mapping[str, Any]) -> Planned:
    """What the gateway would make of a request.

    Raises:
        InvalidError, TooLargeError: What the gateway would say.
    """
    written = json.dumps({"spec": dict(request)}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    body = read_body(written.encode("utf-8"), LARGE_LIMIT)["spec"]
    Opening.of(body)
    facts = dataset.facts(home_alone=sees_home_alone(body))
    made = plan_request(body, dataset.schema, facts, partial(_features_of, dataset))
    return Planned(made.spec, made.plan, facts)


def _features_of(dataset: Dataset, release: ReleaseId) -> FeatureSpec:
    """What a released model reads, by its job as the gateway tells it."""
    job = dataset.gateway.jobs[dataset.gateway.releases[release].job]
    trained = training_of(read_spec(job.request))
    return evaluated_features(trained, Digest((job.model or {}).get("graph", "")), dataset.schema)


def rehearse(
    dataset: Dataset,
    request: Mapping[str, Any],
    *,
    rows: Rows | None = None,
    test: Rows | None = None,
    steps: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Rehearsal | JobRehearsal:
    """Try a written request of any kind out.

    Args:
        dataset: Its card.
        request: As it would be submitted.
        rows: Own rows, which must have the columns that the model reads: a list, a data frame, or a file. Dummy rows
            if absent.
        test: Of a training: own rows to judge the model on; by default a fifth of the units of `rows` is kept back.
        steps: Of a training: run only so many.
        seed: Of dummy rows.
        on_progress: Called with the steps done and the steps to do, before each tenth and at the end.

    Raises:
        InvalidError, TooLargeError: The gateway would refuse the request, or rows break the declaration.
        ExtraMissingError: Nothing can be run without the extra `train`; the request itself is in order.
    """
    of = planned(dataset, request)
    given = None if rows is None else own_rows(rows)
    try:
        from privgate.rehearsing import in_child, training
    except ImportError:
        from privgate.sdk.errors import ExtraMissingError

        raise ExtraMissingError("the request is in order, but running it", "train") from None
    if not (isinstance(of.spec, TrainingSpec) and isinstance(of.plan, TrainingPlan)):
        _require_none(test=test, steps=steps)
        return _answered(of, dataset, given, seed, in_child)
    most = of.plan.recipe.steps
    tried = training.try_training(
        of.spec,
        of.plan,
        dataset.schema,
        dataset.privacy_unit,
        of.facts,
        rows=given,
        test=None if test is None else own_rows(test),
        steps=most if steps is None else min(whole(1, LARGEST_INTEGER, steps=steps), most),
        seed=seed,
        on_progress=on_progress,
    )
    return _told(of.spec, of.plan, of.facts, dataset.schema, tried, own=rows is not None)


def _require_none(**given: object) -> None:
    for name, value in given.items():
        if value is not None:
            raise InvalidError(f"`{name}` is for a training", field=name)


def _answered(of: Planned, dataset: Dataset, rows: Sequence[Row] | None, seed: int, child: Any) -> JobRehearsal:
    """Let the job's own child answer, and read what it gave."""
    made = _model_of(dataset, of.spec.release) if isinstance(of.spec, EvaluationSpec) else None
    train = math.ceil(of.facts.training_units)
    trial = child.Trial(
        spec=of.spec,
        plan=of.plan,
        schema=dataset.schema,
        unit=dataset.privacy_unit,
        rows=dataset.dummy(DUMMY_ROWS, seed=seed) if rows is None else rows,
        declared={
            child.Split.TRAIN: train,
            child.Split.HOLDOUT: of.facts.public_size - train,
        },
        model=made,
    )
    gave = child.answer(trial)
    found = _found(of, dataset, gave)
    return JobRehearsal(
        kind=of.spec.kind.value,
        rows="dummy" if rows is None else "own",
        units=gave.units,
        units_met=gave.met,
        epsilon=str(of.plan.epsilon),
        delta=str(of.plan.delta),
        noise_multiplier=str(of.plan.noise_multiplier),
        seconds=_rounded(gave.seconds),
        memory_bytes=gave.memory_bytes,
        failed_checks=_failed(of.plan, gave.header),
        request_digest=str(of.spec.digest),
        plan_digest=str(of.plan.digest),
        found=found,
        artifact=gave.artifact,
        request=of.spec.to_json(),
        plan=of.plan.to_fields(),
    )


def _model_of(dataset: Dataset, release: ReleaseId) -> tuple[TrainingSpec, bytes]:
    """A released model that may be fetched, verified, and the request that made it."""
    job = dataset.gateway.jobs[dataset.gateway.releases[release].job]
    return training_of(read_spec(job.request)), dataset.gateway.fetch_release(release).artifact


def _failed(plan: Plan, header: Mapping[str, Any]) -> tuple[str, ...]:
    """Checks of a tuning's self-test that did not pass; the other kinds have none."""
    if not isinstance(plan, TuningPlan):
        return ()
    found = judge(SelfTest.from_fields(header["self_test"]), Claims.of(plan.training), plan.training.uses())
    return tuple(check.value for check in failed(found))


def _found(of: Planned, dataset: Dataset, gave: Any) -> Any:
    """The result as a released one is read."""
    match of.spec:
        case StatisticsSpec():
            from privgate.statistics import Statistics

            return Statistics.read(gave.artifact)
        case SynthesisSpec():
            from privgate.synthetic import SyntheticTable

            return SyntheticTable.read(gave.artifact)
        case GlmSpec():
            from privgate.glm import GlmTable

            return GlmTable.read(gave.artifact)
        case TuningSpec() as spec:
            from privgate.models import Model

            told = {"v": 1, "what": NO_RELEASE, "candidate": gave.header.get("candidate")}
            return RehearsedRelease(Model.open(gave.artifact, spec.training.to_json(), dataset.schema), told)
        case _:
            return dict(canonical.decode(gave.artifact, limit=LARGE_LIMIT))


def _told(
    spec: TrainingSpec, plan: TrainingPlan, facts: DeclaredFacts, schema: TableSchema, tried: Any, *, own: bool
) -> Rehearsal:
    ran, width = tried.ran, spec.features.width(schema)
    rows = math.ceil(facts.training_units) * plan.rows_per_unit
    seconds = ran.seconds_before + rows * tried.seconds_per_row + plan.recipe.steps * ran.seconds_per_step
    told: dict[str, Any] = {
        "rows": "own" if own else "dummy",
        "units": tried.units,
        "units_declared": tried.units_declared,
        "units_named": tried.units_named,
        "numbers_per_row": width,
        "outputs": spec.features.outputs(schema),
        "model": QuotedModel.of(plan).to_fields(),  # type: ignore[union-attr]
        "epsilon": str(plan.epsilon),
        "delta": str(plan.delta),
        "noise_multiplier": str(plan.noise_multiplier),
        "expected_batch": str(plan.normaliser),
        "units_at_once": ran.units_at_once,
        "micro_batches": ran.micro_batches,
        "steps": plan.recipe.steps,
        "steps_run": ran.steps,
        "seconds_per_step": _rounded(ran.seconds_per_step),
        "seconds": _rounded(seconds),
        "memory_bytes": tried.memory_bytes,
        "rows_bytes": 4 * rows * width,
        "savepoint_bytes": ran.savepoint_bytes,
        "failed_checks": ran.failed_checks,
        "quality": quality(tried.model, tried.kept_back),
        "request_digest": str(spec.digest),
        "plan_digest": str(plan.digest),
    }
    written = {"v": 1, "what": NO_RELEASE, **told, "request": spec.to_json(), "plan": plan.to_fields()}
    release = RehearsedRelease(tried.model, written)
    return Rehearsal(**told, request=spec.to_json(), plan=plan.to_fields(), release=release)


def quality(model: Model, rows: Sequence[Row]) -> dict[str, float] | None:
    """How good a model is on labelled rows, beside what guessing gives; nothing without such rows."""
    targets = [target for target in model.targets(rows) if target is not None]
    if not targets:
        return None
    if model.spec.features.label.target is Target.REAL:
        pairs = [(s, t) for s, t in zip(model.scores(rows), model.targets(rows), strict=True) if None not in (s, t)]
        half, middle = _half_of_scale(model), sorted(targets)[len(targets) // 2]
        errors = [abs(score - target) for score, target in pairs]  # type: ignore[operator]
        guessed = half * math.fsum(abs(target - middle) for target in targets) / len(targets)
        return {"rows": len(targets), "mean error": half * math.fsum(errors) / max(1, len(errors)), "guessing": guessed}
    commonest = max(map(targets.count, set(targets))) / len(targets)
    several = len(set(targets)) > 1
    found = model.evaluate(rows) if several or model.classes else {"rows": len(targets)}
    return {**{name: value for name, value in found.items() if name != "scored"}, "guessing": commonest}


def _half_of_scale(model: Model) -> float:
    """What 1 on the scaled target is in the column's own unit."""
    label = model.spec.features.label
    column = model.schema.column(label.column)
    low, high = label.low or column.low, label.high or column.high
    return float(high.number - low.number) / 2 if low is not None and high is not None else 1.0


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.3g}")
