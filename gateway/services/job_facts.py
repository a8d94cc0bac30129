"""What a job request is read against: the dataset's declarations and its population's facts, never its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.records import DatasetRecord, VersionRecord
from gateway.unit_of_work import Reading
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.ids import DatasetId, ReleaseId, TenantId
from privacy.budget.balances import Account
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec
from privacy.jobs.head import sees_home_alone
from privacy.jobs.plan import Plan, read_plan
from privacy.jobs.planning import evaluated_features, plan_request, trained_plan, training_of
from privacy.jobs.spec import JobSpec, TrainingSpec, read_spec
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit


@dataclass(frozen=True, slots=True)
class Declared:
    """A dataset with everything its owner declared.

    Attributes:
        home: The home block that was open when its current version was sealed; without one, that is open now.
    """

    dataset: DatasetRecord
    account: Account
    schema: TableSchema
    facts: DeclaredFacts
    home: int = 1


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A request in its final form with its calibrated plan."""

    spec: JobSpec
    plan: Plan
    declared: Declared


def declared_facts(reading: Reading, tenant: TenantId, dataset: DatasetId, *, home_alone: bool = False) -> Declared:
    """Collect what was declared about a dataset; raise `NotFoundError` if the tenant has none of that id.

    Args:
        reading: The database.
        tenant: Who asks.
        dataset: About which.
        home_alone: Whether the declared size is that of the home block, as a job on its units alone divides by it.
    """
    record = reading.datasets.get(id=dataset, tenant=tenant)
    account = reading.ledger.read(record.population).account
    version = record.current_version
    home = account.homes if version is None else reading.versions.get(id=version).home
    size = account.size(home) if home_alone else None
    facts = DeclaredFacts.of(account.population, PrivacyUnit.from_json(record.unit), size)
    return Declared(record, account, TableSchema.from_json(record.schema), facts, home)


def plan_job(reading: Reading, tenant: TenantId, body: Mapping[str, Any]) -> PlannedJob:
    """Complete and calibrate a request.

    Raises:
        InvalidError, TooLargeError: The request breaks a rule of its form or does not fit the schema.
        NotFoundError: No such dataset or release.
    """
    declared = declared_facts(reading, tenant, _dataset_of(body), home_alone=sees_home_alone(body))

    def features(release: ReleaseId) -> FeatureSpec:
        return _features_of(reading, tenant, release, declared.schema)

    planned = plan_request(body, declared.schema, declared.facts, features)
    return PlannedJob(planned.spec, planned.plan, declared)


def _features_of(reading: Reading, tenant: TenantId, release: ReleaseId, schema: TableSchema) -> FeatureSpec:
    trained = training_spec_of(reading, tenant, release)
    job = reading.jobs.get(id=reading.releases.get(id=release).job)
    return evaluated_features(trained, trained_plan(read_plan(job.kind, job.plan)).graph, schema)


def training_spec_of(reading: Reading, tenant: TenantId, release: ReleaseId) -> TrainingSpec:
    """Return the request that made a released model; raise `NotFoundError` if it is no model of this tenant."""
    found = reading.releases.get(id=release, tenant=tenant)
    job = reading.jobs.get(id=found.job)
    return training_of(read_spec(job.spec))


def sealed_version(reading: Reading, dataset: DatasetRecord) -> tuple[VersionRecord, Digest]:
    """Return the dataset's current version and its manifest digest; raise `ConflictError` if it has none."""
    if dataset.current_version is None:
        raise ConflictError("the dataset has no sealed rows yet: its owner must upload them", field="dataset")
    version = reading.versions.get(id=dataset.current_version)
    if dataset.site is not None:
        raise ConflictError("these rows stay with their site: ask for a job of a kind `he.`", field="dataset")
    if version.manifest_digest is None:
        raise ConflictError("the dataset's version is not sealed", field="dataset")
    return version, version.manifest_digest


def _dataset_of(body: Mapping[str, Any]) -> DatasetId:
    value = body.get("dataset") if isinstance(body, Mapping) else None
    if not isinstance(value, str):
        raise InvalidError("a request needs `dataset`", field="dataset")
    return DatasetId(value)
