"""The policy of each tenant in memory: the fold of its events, kept fresh.

Rules
-----
1. A snapshot is swapped whole; readers take a reference and never lock.
2. Reads are decided on the cached snapshot. It is at most one poll behind another process; in this process it is never
   behind. A work that changes or spends does not rely on it: `at_head` brings it to the epoch that the work holds.
"""

from __future__ import annotations

import threading

from gateway.unit_of_work import Database, Reading
from kernel.ids import TenantId
from policies.snapshot import PolicySnapshot


class PolicyCache:
    """Snapshots by tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._snapshots: dict[TenantId, PolicySnapshot] = {}
        self._lock = threading.Lock()

    def snapshot(self, tenant: TenantId) -> PolicySnapshot:
        """Return the cached policy of a tenant, loading it on first use.

        Raises:
            NotFoundError: No such tenant.
        """
        known = self._snapshots.get(tenant)
        return known if known is not None else self._load(tenant)

    def at_head(self, reading: Reading, tenant: TenantId, epoch: int) -> PolicySnapshot:
        """Return the policy at `epoch`, as the given transaction sees it."""
        known = self._snapshots.get(tenant)
        if known is None or known.epoch > epoch:
            known = PolicySnapshot.empty(tenant)
        if known.epoch < epoch:
            known = known.fold(reading.policy.since(tenant, known.epoch, epoch))
        return known

    def keep(self, snapshot: PolicySnapshot) -> None:
        """Take over a snapshot whose events are committed, unless a newer one is known."""
        with self._lock:
            known = self._snapshots.get(snapshot.tenant)
            if known is None or known.epoch < snapshot.epoch:
                self._snapshots[snapshot.tenant] = snapshot

    def refresh(self) -> None:
        """Bring every cached snapshot to its head; called by a poll, for what other processes committed."""
        with self._database.read() as reading:
            for tenant, epoch in reading.policy.heads().items():
                known = self._snapshots.get(tenant)
                if known is not None and known.epoch < epoch:
                    self.keep(self.at_head(reading, tenant, epoch))

    def _load(self, tenant: TenantId) -> PolicySnapshot:
        with self._database.read() as reading:
            epoch = reading.policy.heads().get(tenant, 0)
            snapshot = self.at_head(reading, tenant, epoch)
        if epoch:
            self.keep(snapshot)
        return snapshot
