"""Reading releases."""

from __future__ import annotations

from gateway.records import ReleaseRecord
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.storage.tables import release as release_table
from kernel.ids import ReleaseId, TenantId
from policies.snapshot import PolicySnapshot
from policies.vocabulary import Role


def visible_release(on: Collaborators, tenant: TenantId, release: ReleaseId) -> ReleaseRecord:
    """Return a release; raise `NotFoundError` if the tenant has none of that id."""
    with on.database.read() as reading:
        return reading.releases.get(id=release, tenant=tenant)


def visible_releases(
    on: Collaborators, caller: Caller, snapshot: PolicySnapshot, after: str | None, limit: int
) -> list[ReleaseRecord]:
    """A page of releases: a trainer's own, those from an owner's datasets, all for a checker or an auditor."""
    roles = snapshot.principals[caller.principal].roles
    owned = [d.id for d in snapshot.datasets.values() if d.owner == caller.principal]
    mine = (release_table.c.principal == caller.principal) | release_table.c.dataset.in_(owned)
    conditions = () if roles & {Role.AUDITOR, Role.CHECKER} else (mine,)
    with on.database.read() as reading:
        return reading.releases.page(*conditions, after=after, limit=limit, tenant=caller.tenant)
