"""Tenants in SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select

from gateway.storage.tables import tenant
from kernel.clock import format_time
from kernel.ids import TenantId


class SqlTenants:
    """Tenants within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, tenant_id: TenantId, now: datetime) -> None:
        """Store a new tenant."""
        self._connection.execute(insert(tenant).values(id=tenant_id, created_at=format_time(now)))

    def all(self) -> list[TenantId]:
        """Return every tenant."""
        return [TenantId(value) for value in self._connection.execute(select(tenant.c.id)).scalars()]
