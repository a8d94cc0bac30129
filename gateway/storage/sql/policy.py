"""Policy events in SQL: one gapless list per tenant, and its head as the lock.

Rules
-----
1. A writer locks the head first, then knows the next epoch; a decision that spends holds the head shared, so that no
   revocation commits between its check and its commit.
2. The list is append-only; there is no table of roles or grants beside it. The snapshot is its fold.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from gateway.storage.tables import policy_event, policy_head
from kernel import canonical
from kernel.errors import CorruptError, NotFoundError
from kernel.events import Registry
from kernel.ids import TenantId
from policies.events import POLICY_EVENTS, PolicyEvent

_REGISTRY = Registry(POLICY_EVENTS)
_LIMIT = 1 << 20


class SqlPolicy:
    """The policy of tenants within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, tenant: TenantId) -> None:
        """Start a tenant's list at epoch 0."""
        self._connection.execute(insert(policy_head).values(tenant=tenant, epoch=0))

    def lock(self, tenant: TenantId) -> int:
        """Lock the head for writing and return the present epoch."""
        query = select(policy_head.c.epoch).where(policy_head.c.tenant == tenant).with_for_update()
        return self._epoch(query)

    def hold(self, tenant: TenantId) -> int:
        """Hold the head shared until commit and return the present epoch."""
        query = select(policy_head.c.epoch).where(policy_head.c.tenant == tenant).with_for_update(read=True)
        return self._epoch(query)

    def heads(self) -> dict[TenantId, int]:
        """Return the present epoch of every tenant."""
        rows = self._connection.execute(select(policy_head.c.tenant, policy_head.c.epoch))
        return {TenantId(tenant): epoch for tenant, epoch in rows}

    def append(self, tenant: TenantId, event: PolicyEvent) -> None:
        """Add the next event; the head must be locked."""
        fields = canonical.encode(event.to_fields()).decode("utf-8")
        self._connection.execute(
            insert(policy_event).values(
                tenant=tenant, epoch=event.epoch, type=event.TYPE, version=event.VERSION, fields=fields
            )
        )
        moved = update(policy_head).where(policy_head.c.tenant == tenant, policy_head.c.epoch == event.epoch - 1)
        if self._connection.execute(moved.values(epoch=event.epoch)).rowcount != 1:
            raise CorruptError("a policy event must take the next epoch")

    def since(self, tenant: TenantId, epoch: int, upto: int) -> Sequence[PolicyEvent]:
        """Return the events with `epoch < number <= upto`, in order."""
        query = (
            select(policy_event.c.type, policy_event.c.version, policy_event.c.fields)
            .where(policy_event.c.tenant == tenant, policy_event.c.epoch > epoch, policy_event.c.epoch <= upto)
            .order_by(policy_event.c.epoch)
        )
        return [_event(*row) for row in self._connection.execute(query)]

    def _epoch(self, query: object) -> int:
        epoch = self._connection.execute(query).scalar_one_or_none()  # type: ignore[call-overload]
        if epoch is None:
            raise NotFoundError("no such organisation", field="tenant")
        return int(epoch)


def _event(type_: str, version: int, fields: str) -> PolicyEvent:
    event = _REGISTRY.decode(type_, version, canonical.decode(fields.encode("utf-8"), limit=_LIMIT))
    if not isinstance(event, PolicyEvent):
        raise CorruptError("the stored policy holds an event that this version does not know")
    return event
