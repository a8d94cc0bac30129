"""Data keys in SQL: wrapped, or a tombstone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from gateway.storage.tables import dek
from kernel import canonical
from kernel.clock import format_time, parse_time
from kernel.errors import NotFoundError
from kernel.ids import DekId, TenantId
from privacy.sealing.lifecycle import DekRecord
from privacy.sealing.wrapping import WRAPPED_LIMIT, KeyContext, WrappedKey


class SqlDeks:
    """Wrapped data keys within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, record: DekRecord) -> None:
        """Store a freshly wrapped key."""
        context = record.context
        self._connection.execute(
            insert(dek).values(
                id=context.dek,
                tenant=context.tenant,
                context=canonical.encode(context.to_json()).decode("utf-8"),
                wrapped=None if record.wrapped is None else record.wrapped.to_bytes(),
            )
        )

    def get(self, dek_id: DekId) -> DekRecord:
        """Return a key's row; raise `NotFoundError` if there never was one."""
        row = self._connection.execute(select(dek).where(dek.c.id == dek_id)).one_or_none()
        if row is None:
            raise NotFoundError("no such data key")
        return self._record(row)

    def of(self, tenant: TenantId) -> list[DekRecord]:
        """Return every key that a tenant ever had, tombstones included, in order of their ids."""
        rows = self._connection.execute(select(dek).where(dek.c.tenant == tenant).order_by(dek.c.id))
        return [self._record(row) for row in rows]

    @staticmethod
    def _record(row: Row[Any]) -> DekRecord:
        context = canonical.decode(row.context.encode("utf-8"), limit=WRAPPED_LIMIT)
        return DekRecord(
            context=KeyContext.from_json(context),
            wrapped=None if row.wrapped is None else WrappedKey.from_bytes(bytes(row.wrapped)),
            destroyed_at=None if row.destroyed_at is None else parse_time(row.destroyed_at),
        )

    def replace(self, record: DekRecord) -> None:
        """Store a rewrapped key or a tombstone in place of the row."""
        gone = record.destroyed_at
        self._connection.execute(
            update(dek)
            .where(dek.c.id == record.context.dek)
            .values(
                wrapped=None if record.wrapped is None else record.wrapped.to_bytes(),
                destroyed_at=None if gone is None else format_time(gone),
            )
        )
