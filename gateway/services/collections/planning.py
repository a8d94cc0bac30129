"""What a request for a job on data of sites is read against: declarations, parties and attestations, never rows.

Rules
-----
1. Every dataset's rows stay with a site of its own; no party, dataset or population has two parts in a job (RULES 39),
   and no owner: whoever has all sites but one takes his own numbers off the sum.
2. Sites and key holder are enrolled and may act; the key holder is no site of the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.collection_records import PartyRecord
from gateway.records import DatasetRecord, VersionRecord
from gateway.services.collaborators import Collaborators
from gateway.services.collections.parties import acting_party
from gateway.unit_of_work import Reading
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.ids import PartyId, PopulationId, TenantId
from privacy.budget.populations import Budget
from privacy.homomorphic.documents.parties import PartyKind
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.requests.plans import CollectionPlan
from privacy.homomorphic.requests.spec import (
    CollectionOpening,
    CollectionSpec,
    common_schema,
    complete_collection,
    layout_of,
)
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit


@dataclass(frozen=True, slots=True)
class SitePart:
    """One dataset of a job with the site that has its rows."""

    dataset: DatasetRecord
    party: PartyRecord


@dataclass(frozen=True, slots=True)
class PlannedCollection:
    """A request in its final form, with what every party would compute by."""

    spec: CollectionSpec
    plan: CollectionPlan
    layout: Layout
    sites: tuple[SitePart, ...]
    key_holder: PartyRecord
    budgets: tuple[Budget, ...]
    public_size: int

    @property
    def priced(self) -> tuple[PopulationId, ...]:
        """The populations that it has a price for: all of them, or none if its result is exact."""
        return () if self.spec.privacy is None else tuple(site.dataset.population for site in self.sites)


def plan_collection(
    on: Collaborators, reading: Reading, tenant: TenantId, body: Mapping[str, Any]
) -> PlannedCollection:
    """Complete a request.

    Raises:
        InvalidError: The request breaks a rule of its form, or does not fit what the sites declare.
        NotFoundError: No such dataset, site, key holder or profile.
        ConflictError: A dataset whose rows are sealed here, or a party that was disabled.
    """
    opening = CollectionOpening.of(body)
    sites = tuple(_part(on, reading, tenant, dataset) for dataset in opening.datasets)
    if not sites:
        raise InvalidError("`datasets` lists the datasets of at least three sites", field="datasets")
    schemas = [TableSchema.from_json(site.dataset.schema) for site in sites]
    rows_per_unit = max(PrivacyUnit.from_json(site.dataset.unit).rows_per_unit for site in sites)
    _check_distinct(sites)
    populations = [reading.ledger.read(site.dataset.population).account.population for site in sites]
    budgets = tuple(population.budget for population in populations)
    together = sum(population.public_size for population in populations)
    spec = complete_collection(body, schemas, rows_per_unit, min(budget.delta for budget in budgets), together)
    holder = acting_party(on, reading, tenant, spec.key_holder, PartyKind.KEYHOLDER)
    plan = spec.plan(common_schema(spec.question, schemas), rows_per_unit)
    return PlannedCollection(spec, plan, layout_of(spec, plan), sites, holder, budgets, together)


def planned_again(on: Collaborators, reading: Reading, tenant: TenantId, spec: Mapping[str, Any]) -> PlannedCollection:
    """The same for a stored request in its final form."""
    return plan_collection(on, reading, tenant, spec)


def attested_version(reading: Reading, dataset: DatasetRecord) -> tuple[VersionRecord, Digest]:
    """The version that a site attested last; raise `ConflictError` if there is none."""
    version = None if dataset.current_version is None else reading.versions.get(id=dataset.current_version)
    if version is None or version.manifest_digest is None:
        raise ConflictError("a site has not attested its rows yet: its agent does", field="datasets")
    return version, version.manifest_digest


def _part(on: Collaborators, reading: Reading, tenant: TenantId, dataset: str) -> SitePart:
    record = reading.datasets.get(id=dataset, tenant=tenant)
    if record.site is None:
        raise ConflictError(
            "the rows of a dataset are sealed here: ask for a job of an ordinary kind", field="datasets"
        )
    return SitePart(record, acting_party(on, reading, tenant, PartyId(record.site), PartyKind.SITE))


def _check_distinct(sites: tuple[SitePart, ...]) -> None:
    for what, values in (
        ("owner", [site.dataset.owner for site in sites]),
        ("site", [site.party.id for site in sites]),
        ("population", [site.dataset.population for site in sites]),
    ):
        if len(set(values)) != len(values):
            raise InvalidError(f"no {what} has two parts in a job: name one dataset of it", field="datasets")
