"""What a job request is read against: the dataset's declarations and its population's facts, never its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.records import DatasetRecord, VersionRecord
from gateway.unit_of_work import Reading
from kernel.canonical import Digest
from kernel.checks import text
from kernel.errors import ConflictError, InvalidError, NotFoundError
from kernel.ids import DatasetId, ReleaseId, TenantId
from privacy.budget.balances import Account
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec
from privacy.jobs.plan import Plan, TrainingPlan, plan_evaluation, plan_training
from privacy.jobs.spec import (
    JobKind,
    JobSpec,
    TrainingSpec,
    complete_evaluation,
    complete_training,
    kind_of_request,
)
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit


@dataclass(frozen=True, slots=True)
class Declared:
    """A dataset with everything its owner declared."""

    dataset: DatasetRecord
    account: Account
    schema: TableSchema
    facts: DeclaredFacts


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A request in its final form with its calibrated plan."""

    spec: JobSpec
    plan: Plan
    declared: Declared


def declared_facts(reading: Reading, tenant: TenantId, dataset: DatasetId) -> Declared:
    """Collect what was declared about a dataset; raise `NotFoundError` if the tenant has none of that id."""
    record = reading.datasets.get(id=dataset, tenant=tenant)
    account = reading.ledger.read(record.population).account
    facts = DeclaredFacts.of(account.population, PrivacyUnit.from_json(record.unit))
    return Declared(record, account, TableSchema.from_json(record.schema), facts)


def plan_job(reading: Reading, tenant: TenantId, body: Mapping[str, Any]) -> PlannedJob:
    """Complete and calibrate a request.

    Raises:
        InvalidError, TooLargeError: The request breaks a rule of its form or does not fit the schema.
        NotFoundError: No such dataset or release.
    """
    declared = declared_facts(reading, tenant, _dataset_of(body))
    return _PLANNERS[kind_of_request(body)](reading, tenant, body, declared)


def _plan_training(_: Reading, __: TenantId, body: Mapping[str, Any], declared: Declared) -> PlannedJob:
    spec = complete_training(body, declared.schema, declared.facts)
    return PlannedJob(spec, plan_training(spec, declared.schema, declared.facts), declared)


def _plan_evaluation(reading: Reading, tenant: TenantId, body: Mapping[str, Any], declared: Declared) -> PlannedJob:
    release = ReleaseId(text(64, release=body.get("release", "")))
    features = _features_of(reading, tenant, release, declared.schema)
    spec = complete_evaluation(body, features, declared.schema)
    return PlannedJob(spec, plan_evaluation(spec, features, declared.schema, declared.facts), declared)


_PLANNERS: Final[Mapping[JobKind, Callable[[Reading, TenantId, Mapping[str, Any], Declared], PlannedJob]]] = {
    JobKind.TRAINING: _plan_training,
    JobKind.EVALUATION: _plan_evaluation,
}
"""For each kind of job: what completes its request and calibrates its plan."""


def _features_of(reading: Reading, tenant: TenantId, release: ReleaseId, schema: TableSchema) -> FeatureSpec:
    """A model's features, if it can be evaluated on such a table: what is wrong must show before a key is out."""
    trained = training_spec_of(reading, tenant, release)
    job = reading.jobs.get(id=reading.releases.get(id=release).job)
    if trained.model_graph(schema).graph.digest != TrainingPlan.from_fields(job.plan).graph:
        raise InvalidError("this model was trained on a table of another shape", field="release")
    return trained.features


def training_spec_of(reading: Reading, tenant: TenantId, release: ReleaseId) -> TrainingSpec:
    """Return the request that made a released model; raise `NotFoundError` if it is no model of this tenant."""
    found = reading.releases.get(id=release, tenant=tenant)
    job = reading.jobs.get(id=found.job)
    if job.kind != JobKind.TRAINING.value:
        raise NotFoundError("this release is not a model", field="release")
    return TrainingSpec.from_json(job.spec)


def sealed_version(reading: Reading, dataset: DatasetRecord) -> tuple[VersionRecord, Digest]:
    """Return the dataset's current version and its manifest digest; raise `ConflictError` if it has none."""
    if dataset.current_version is None:
        raise ConflictError("the dataset has no sealed rows yet: its owner must upload them", field="dataset")
    version = reading.versions.get(id=dataset.current_version)
    if version.manifest_digest is None:
        raise ConflictError("the dataset's version is not sealed", field="dataset")
    return version, version.manifest_digest


def _dataset_of(body: Mapping[str, Any]) -> DatasetId:
    value = body.get("dataset") if isinstance(body, Mapping) else None
    if not isinstance(value, str):
        raise InvalidError("a request needs `dataset`", field="dataset")
    return DatasetId(value)
