"""Requests, plans and assignments have one form: its bytes and digests stay as they were first written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernel import canonical
from kernel.canonical import digest_of
from kernel.ids import JobId, ReleaseId, TenantId
from privacy.jobs.assignment import (
    Assignment,
    EvaluationAssignment,
    GlmAssignment,
    PartFile,
    StatisticsAssignment,
    SynthesisAssignment,
    Table,
    TrainingAssignment,
    TuningAssignment,
)
from privacy.jobs.features import FeatureSpec, default_features
from privacy.jobs.head import JobKind
from privacy.jobs.plan import (
    EvaluationPlan,
    GlmPlan,
    StatisticsPlan,
    SynthesisPlan,
    TrainingPlan,
    TuningPlan,
    read_plan,
)
from privacy.jobs.planning import Planned, plan_request
from privacy.jobs.spec import (
    EvaluationSpec,
    GlmSpec,
    StatisticsSpec,
    SynthesisSpec,
    TrainingSpec,
    TuningSpec,
    read_spec,
)
from tests.support.jobs import PATIENT, SCHEMA, facts

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "jobs" / "digests.json").read_text())
DATASET, RELEASE = "dst_" + "a" * 26, "rel_" + "a" * 26
TENANT, JOB = TenantId("ten_" + "a" * 26), JobId("job_" + "a" * 26)
PARTS = (PartFile(path="/parts/train-00000", aad="train"), PartFile(path="/parts/train-00001", aad="train/1"))
SHORT: dict[str, dict[str, Any]] = {
    "training": {"label": "ill", "model": {"template": "mlp", "hidden": [8]}},
    "tuning": {"label": "ill", "rows": "home"},
    "evaluation": {"v": 1, "release": RELEASE, "subgroups": ["ward"], "confusion": True},
    "statistics": {"queries": [{"kind": "count"}, {"kind": "mean", "column": "age"}], "rows": "home"},
    "glm": {"family": "logistic", "outcome": "ill", "predictors": ["age", "ward"], "counted": "row"},
    "synthesis": {"around": "ill", "bins": 5, "rows": "home"},
}


def planned(kind: str) -> Planned:
    """A request of the kind with its plan."""
    body = {"kind": kind, "dataset": DATASET, "purpose": "research", "epsilon": "2"} | SHORT[kind]
    return plan_request(body, SCHEMA, facts(rows_per_unit=PATIENT.rows_per_unit), _features)


def assignment(made: Planned) -> Assignment:
    """What its child would be told."""
    whose: dict[str, Any] = {"tenant": TENANT, "job": JOB}
    match made.spec, made.plan:
        case TrainingSpec() as spec, TrainingPlan() as plan:
            graph = spec.model_graph(SCHEMA).graph
            return TrainingAssignment(
                **whose, plan=plan, graph=graph, table=_table(spec.features), attempt=2, started=7
            )
        case TuningSpec() as spec, TuningPlan() as plan:
            graph = spec.model_graph(SCHEMA).graph
            return TuningAssignment(**whose, plan=plan, graph=graph, table=_table(spec.features), scored=PARTS[:1])
        case EvaluationSpec(), EvaluationPlan() as plan:
            features = _features(ReleaseId(RELEASE))
            graph = planned("training").spec.model_graph(SCHEMA).graph  # type: ignore[union-attr]
            return EvaluationAssignment(**whose, plan=plan, graph=graph, table=_table(features))
        case StatisticsSpec() as spec, StatisticsPlan() as plan:
            return StatisticsAssignment(**whose, plan=plan, spec=spec, schema=SCHEMA, unit=PATIENT, parts=PARTS)
        case SynthesisSpec() as spec, SynthesisPlan() as plan:
            return SynthesisAssignment(**whose, plan=plan, spec=spec, schema=SCHEMA, unit=PATIENT, parts=PARTS)
        case GlmSpec() as spec, GlmPlan() as plan:
            return GlmAssignment(**whose, plan=plan, table=_table(spec.features))
    raise AssertionError(made)


def digests(kind: str) -> dict[str, str]:
    """Of everything that is written about a job of the kind."""
    made = planned(kind)
    told = canonical.decode(assignment(made).to_bytes(), limit=2**26)
    return {
        "request": str(made.spec.digest),
        "plan": str(made.plan.digest),
        "assignment": str(digest_of("job-vector/v1", told)),
    }


def _features(_: ReleaseId) -> FeatureSpec:
    return default_features(SCHEMA, "ill")


def _table(features: FeatureSpec) -> Table:
    return Table(features=features, schema=SCHEMA, unit=PATIENT, parts=PARTS)


@pytest.mark.parametrize("kind", [kind.value for kind in JobKind])
def test_what_is_written_about_a_job_never_changes(kind: str) -> None:
    """Stored jobs, decisions, approvals, certificates and savepoints name these digests."""
    assert digests(kind) == VECTORS[kind]


@pytest.mark.parametrize("kind", [kind.value for kind in JobKind])
def test_what_is_written_about_a_job_is_read_back(kind: str) -> None:
    """Request, plan and assignment, each to an equal value."""
    made = planned(kind)
    assert read_spec(made.spec.to_json()) == made.spec
    assert read_plan(kind, made.plan.to_fields()) == made.plan
    told = assignment(made)
    assert type(told).from_bytes(told.to_bytes()) == told
