"""Use case: give a tenant a new wrapping key, bring every data key under it, and end the old one. The operator's.

Rules
-----
1. Nothing else runs meanwhile: a data key that was wrapped by the old version and is written down after the rotation
   would be a finding of every report, and lost if the old version is destroyed. A worker at its task is seen, and
   nothing is rotated; an API that runs is not.
2. The keyring rotates first, then the log says so. If it died between the two, the next call writes the entry and does
   not rotate again: versions in keyring and log rise together.
3. A rewrap changes one row and nothing else. Both forms open meanwhile, so it may stop anywhere and be called again.
4. Old versions are destroyed once no live key needs them, and only if that was asked for: backups of the database from
   before then open with no keyring but one from before.
"""

from __future__ import annotations

from gateway.services.collaborators import Collaborators
from gateway.storage.rotations import rotations_logged, worker_is_busy
from kernel.errors import ConflictError
from kernel.ids import DekId, TenantId
from privacy.events.sealing import KekRotated
from privacy.sealing.lifecycle import rewrap_dek

FIRST = 1


def rotate_keys(on: Collaborators, tenant: TenantId, *, destroy_old: bool = False) -> int:
    """Rotate, rewrap, and destroy old versions where that is asked for; return the version that wraps now.

    Raises:
        ConflictError: A worker is at a task.
    """
    with on.database.read() as reading:
        if worker_is_busy(reading, on.clock.now()):
            raise ConflictError("a worker is at a task: stop API and workers, and wait until its lease has run out")
    current = _rotated(on, tenant)
    for dek in _under_older(on, tenant, current):
        with on.database.work(tenant) as work:
            work.deks.replace(rewrap_dek(work.deks.get(dek), on.keyring))
            work.commit_upkeep("rewrap")
    if destroy_old:
        on.keyring.raise_floor(tenant, current)
        for version in on.keyring.describe(tenant).versions:
            if version.number < current:
                on.keyring.destroy(tenant, version.number)
    return current


def _rotated(on: Collaborators, tenant: TenantId) -> int:
    with on.database.read() as reading:
        logged = FIRST + rotations_logged(reading, tenant)
    current = on.keyring.describe(tenant).current
    if current == logged:
        current = on.keyring.rotate(tenant)
    with on.database.work(tenant) as work:
        work.record(KekRotated(kek_version=current))
        work.commit("kek-rotated")
    return current


def _under_older(on: Collaborators, tenant: TenantId, current: int) -> list[DekId]:
    with on.database.read() as reading:
        records = reading.deks.of(tenant)
    return [each.context.dek for each in records if each.wrapped is not None and each.wrapped.kek_version < current]
