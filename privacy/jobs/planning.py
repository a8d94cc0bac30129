"""From a request to its plan, for every kind of job: the same for a gateway and for whoever tries a request out.

Rules
-----
1. Pure: it knows the schema, declared facts and, of a released model that a request uses, what the model reads.
2. A kind is a function here and a line in `_PLANNERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kernel.canonical import Digest
from kernel.checks import text
from kernel.errors import InvalidError, NotFoundError
from kernel.ids import ReleaseId
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec
from privacy.jobs.plan import (
    Plan,
    TrainingPlan,
    TuningPlan,
    plan_evaluation,
    plan_glm,
    plan_statistics,
    plan_synthesis,
    plan_training,
    plan_tuning,
)
from privacy.jobs.spec import (
    JobKind,
    JobSpec,
    TrainingSpec,
    TuningSpec,
    complete_evaluation,
    complete_glm,
    complete_statistics,
    complete_synthesis,
    complete_training,
    complete_tuning,
    kind_of_request,
)
from privacy.schema import TableSchema

Features: TypeAlias = Callable[[ReleaseId], FeatureSpec]
"""What a released model reads, if it can be evaluated on such a table."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A request in its final form with its calibrated plan."""

    spec: JobSpec
    plan: Plan


def plan_request(body: Mapping[str, Any], schema: TableSchema, facts: DeclaredFacts, features: Features) -> Planned:
    """Complete and calibrate a request of any kind.

    Args:
        body: As it was written.
        schema: The dataset's declared schema.
        facts: What is declared of the people.
        features: Asked only where the request names a release.

    Raises:
        InvalidError, TooLargeError: The request breaks a rule of its form or does not fit the schema.
    """
    return _PLANNERS[kind_of_request(body)](body, schema, facts, features)


def evaluated_features(trained: TrainingSpec, graph: Digest, schema: TableSchema) -> FeatureSpec:
    """A model's features, if it can be evaluated on such a table: what is wrong must show before a key is out.

    Args:
        trained: The request that made it.
        graph: The digest of its graph.
        schema: Of the table to evaluate on.
    """
    if trained.model_graph(schema).graph.digest != graph:
        raise InvalidError("this model was trained on a table of another shape", field="release")
    return trained.features


def training_of(spec: JobSpec) -> TrainingSpec:
    """The training that a request asks for; raise `NotFoundError` if its release is no model."""
    if isinstance(spec, TuningSpec):
        return spec.training
    if not isinstance(spec, TrainingSpec):
        raise NotFoundError("this release is not a model", field="release")
    return spec


def trained_plan(plan: Plan) -> TrainingPlan:
    """The training that made a model: the plan itself, or a tuning's plan of one try."""
    if isinstance(plan, TuningPlan):
        return plan.training
    if not isinstance(plan, TrainingPlan):
        raise NotFoundError("this release is not a model", field="release")
    return plan


def _training(body: Mapping[str, Any], schema: TableSchema, facts: DeclaredFacts, _: Features) -> Planned:
    spec = complete_training(body, schema, facts)
    return Planned(spec, plan_training(spec, schema, facts))


def _tuning(body: Mapping[str, Any], schema: TableSchema, facts: DeclaredFacts, _: Features) -> Planned:
    spec = complete_tuning(body, schema, facts)
    return Planned(spec, plan_tuning(spec, schema, facts))


def _evaluation(body: Mapping[str, Any], schema: TableSchema, facts: DeclaredFacts, features: Features) -> Planned:
    read = features(ReleaseId(text(64, release=body.get("release", ""))))
    spec = complete_evaluation(body, read, schema)
    return Planned(spec, plan_evaluation(spec, read, schema, facts))


def _statistics(body: Mapping[str, Any], schema: TableSchema, facts: DeclaredFacts, _: Features) -> Planned:
    spec = complete_statistics(body, schema)
    return Planned(spec, plan_statistics(spec, facts))


def _glm(body: Mapping[str, Any], schema: TableSchema, facts: DeclaredFacts, _: Features) -> Planned:
    spec = complete_glm(body, schema)
    return Planned(spec, plan_glm(spec, schema, facts))


def _synthesis(body: Mapping[str, Any], schema: TableSchema, facts: DeclaredFacts, _: Features) -> Planned:
    spec = complete_synthesis(body, schema)
    return Planned(spec, plan_synthesis(spec, facts))


_PLANNERS: Final[Mapping[JobKind, Callable[[Mapping[str, Any], TableSchema, DeclaredFacts, Features], Planned]]] = {
    JobKind.TRAINING: _training,
    JobKind.EVALUATION: _evaluation,
    JobKind.TUNING: _tuning,
    JobKind.STATISTICS: _statistics,
    JobKind.GLM: _glm,
    JobKind.SYNTHESIS: _synthesis,
}
"""For each kind of job: what completes its request and calibrates its plan."""
