"""Reading releases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from gateway.records import ReleaseRecord
from gateway.services.collaborators import Collaborators
from gateway.services.collections.concerning import concerned, datasets_of
from gateway.services.deciding import Caller
from gateway.storage.collection_tables import job_site
from gateway.storage.tables import release as release_table
from kernel.ids import ReleaseId, TenantId
from policies.snapshot import PolicySnapshot
from policies.vocabulary import Role


def visible_release(on: Collaborators, tenant: TenantId, release: ReleaseId) -> ReleaseRecord:
    """Return a release; raise `NotFoundError` if the tenant has none of that id."""
    with on.database.read() as reading:
        return reading.releases.get(id=release, tenant=tenant)


def facts_of(on: Collaborators, caller: Caller, snapshot: PolicySnapshot, record: ReleaseRecord) -> dict[str, Any]:
    """What reading a release is decided on; of several sites, an owner asks as the owner of its own dataset."""
    with on.database.read() as reading:
        datasets = datasets_of(reading, reading.jobs.get(id=record.job))
    dataset = concerned(snapshot, datasets, caller.principal)
    return {"dataset": dataset, "requester": record.principal, "release": record.id, "job": record.job}


def visible_releases(
    on: Collaborators, caller: Caller, snapshot: PolicySnapshot, after: str | None, limit: int
) -> list[ReleaseRecord]:
    """A page of releases: a trainer's own, those from an owner's datasets, all for a checker or an auditor."""
    roles = snapshot.principals[caller.principal].roles
    owned = [d.id for d in snapshot.datasets.values() if d.owner == caller.principal]
    of_sites = select(job_site.c.job).where(job_site.c.dataset.in_(owned))
    mine = (release_table.c.principal == caller.principal) | release_table.c.dataset.in_(owned)
    mine = mine | release_table.c.job.in_(of_sites)
    conditions = () if roles & {Role.AUDITOR, Role.CHECKER} else (mine,)
    with on.database.read() as reading:
        return reading.releases.page(*conditions, after=after, limit=limit, tenant=caller.tenant)
