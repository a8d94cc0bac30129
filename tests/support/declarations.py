"""What the people of a test's cycle declare: policy, population, table, grant, training; and their yes as a value."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

from gateway.records import JobRecord
from gateway.services import datasets, grants, populations
from gateway.services.request_job import OverBudget
from kernel.amounts import Delta, Epsilon, Share
from kernel.ids import DatasetId, PopulationId, PrincipalId, Slug
from policies.decisions import Deny
from policies.grants import Obligations
from policies.tenant_policy import ApprovalNeeded, ReleaseCeiling, TenantPolicy
from policies.vocabulary import CheckedBy, JobKind, LegalBasis, Sensitivity
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit, UnitKind
from tests.support.api import SCHEMA

T = TypeVar("T")
PURPOSE, WRONG_PURPOSE = Slug("research/oncology"), Slug("marketing")
PURPOSES = ((Slug("research"), ()), (PURPOSE, (Slug("research"),)), (WRONG_PURPOSE, ()))
UNTIL = datetime(2099, 1, 1, tzinfo=UTC)


def tenant_policy() -> TenantPolicy:
    """Evaluations need a yes; up to epsilon 1 may leave by policy."""
    confidential = Sensitivity.CONFIDENTIAL
    return TenantPolicy(
        approvals=(ApprovalNeeded(sensitivity=confidential, job_kind=JobKind.EVALUATION),),
        ceilings=(ReleaseCeiling(sensitivity=confidential, epsilon=Epsilon.parse("1")),),
        checked_by=(CheckedBy.OWNER, CheckedBy.CHECKER),
    )


def new_population() -> populations.NewPopulation:
    """A few hundred patients, each of them one record."""
    return populations.NewPopulation(
        unit_kind=UnitKind.RECORD,
        unit_noun=Slug("patient"),
        unit_domain=Slug("patients"),
        public_size=500,
        holdout_share=Share.parse("0.2"),
        epsilon=Epsilon.parse("8"),
        delta=Delta.parse("0.000001"),
    )


def new_dataset(population: PopulationId) -> datasets.NewDataset:
    """The small table on a population."""
    return datasets.NewDataset(
        title="Doses and outcomes",
        description="",
        population=population,
        schema=TableSchema.from_json(SCHEMA),
        unit=PrivacyUnit(kind=UnitKind.RECORD, noun="patient"),
        sensitivity=Sensitivity.CONFIDENTIAL,
        purposes=(Slug("research"),),
        legal_basis=LegalBasis.GDPR_PUBLIC_TASK,
        special_condition=None,
        basis_until=None,
        retention_until=UNTIL,
    )


def new_grant(principal: PrincipalId, dataset: DatasetId) -> grants.NewGrant:
    """Every kind of job, for one purpose, without an approval of its own."""
    return grants.NewGrant(
        principal=principal,
        dataset=dataset,
        purpose=PURPOSE,
        until=UNTIL,
        job_kinds=tuple(JobKind),
        obligations=Obligations(
            trainer_share=Share.parse("1"), approval_required=False, auto_release_epsilon=Epsilon.parse("1")
        ),
    )


def training(dataset: DatasetId, epsilon: str) -> dict[str, Any]:
    """A small logistic regression."""
    return {
        "dataset": dataset,
        "purpose": PURPOSE,
        "epsilon": epsilon,
        "features": {
            "v": 1,
            "columns": [{"column": name, "transform": "scale"} for name in ("age", "dose")],
            "label": {"column": "outcome", "encoding": "positive", "category": "ill"},
        },
        "recipe": {"steps": 40},
    }


def allowed(answer: T | Deny) -> T:
    """What a use case returned, if it is no denial."""
    assert not isinstance(answer, Deny), answer
    return answer


def queued(answer: JobRecord | Deny | OverBudget) -> JobRecord:
    """The job, if there is one."""
    assert isinstance(answer, JobRecord), answer
    return answer
