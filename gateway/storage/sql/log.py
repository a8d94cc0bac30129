"""The log in SQL: entries inside the action's transaction, integration in transactions of its own.

Rules
-----
1. A tenant's counter is locked when the first entry of a transaction asks for it, and its rows are written at once at
   the end (`flush`), so that the lock is short and a batch of entries costs two statements.
2. Entries are never updated but for their index, and never deleted (a trigger refuses it).
3. Within a tenant, insertion order is commit order, because the counter's lock is held until the commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from audit.archive import Opening
from audit.entry import Entry
from audit.merkle import Frontier, leaf_hash
from audit.sequencer import Pending
from gateway.storage.engine import is_sqlite
from gateway.storage.tables import log_checkpoint, log_entry, log_tenant, log_tree
from kernel.errors import ConflictError, StaleError
from kernel.ids import EntryId, TenantId

# Built once: a statement that is the same object each time is looked up in the compiled cache by itself.
_COUNTER = select(log_tenant.c.next_seq).where(log_tenant.c.tenant == bindparam("whose")).with_for_update()
_COUNT = update(log_tenant).where(log_tenant.c.tenant == bindparam("whose")).values(next_seq=bindparam("value"))
_COLUMNS = ("id", "tenant", "seq", "type", "payload", "salt", "leaf", "leaf_hash")
_INSERT = {
    mark: f"INSERT INTO log_entry ({', '.join(_COLUMNS)}) VALUES ({', '.join([mark] * len(_COLUMNS))})"  # noqa: S608 - names and marks only
    for mark in ("?", "%s")  # SQLite's driver and PostgreSQL's
}
_PENDING = (
    select(log_entry.c.row_id, log_entry.c.leaf)
    .where(log_entry.c.idx.is_(None))
    .order_by(log_entry.c.row_id)
    .limit(bindparam("most"))
)
_PLACE = (
    update(log_entry)
    .where(log_entry.c.row_id.between(bindparam("first"), bindparam("last")))
    .values(idx=log_entry.c.row_id + bindparam("shift"))
)
_LEAVES = (
    select(log_entry.c.leaf)
    .where(log_entry.c.idx >= bindparam("start"), log_entry.c.idx < bindparam("end"))
    .order_by(log_entry.c.idx)
)
_NEWEST = select(log_checkpoint.c.note).order_by(log_checkpoint.c.size.desc()).limit(1)
_TREE = select(log_tree.c.size, log_tree.c.frontier).where(log_tree.c.id == 1)
_TREE_LOCKED = _TREE.with_for_update()


class SqlLog:
    """The log within one transaction; implements `audit.log.LogStore`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._next: dict[TenantId, int] = {}
        self._waiting: list[tuple[Any, ...]] = []

    def next_seq(self, tenant: TenantId) -> int:
        """Lock the tenant's counter on the first call, and count on from there."""
        if tenant not in self._next:
            self._next[tenant] = self._locked_counter(tenant)
        self._next[tenant] += 1
        return self._next[tenant] - 1

    def insert(self, entry: Entry, time: datetime) -> None:  # noqa: ARG002 - the payload holds the time
        """Keep the entry for `flush`."""
        self._waiting.append(
            (
                str(entry.id),
                str(entry.tenant),
                entry.seq,
                entry.type,
                entry.payload,
                entry.salt,
                entry.leaf,
                leaf_hash(entry.leaf),
            )
        )

    @property
    def waiting(self) -> int:
        """How many entries `flush` will write."""
        return len(self._waiting)

    def flush(self) -> None:
        """Write the entries and the counters; call it once, last before the commit."""
        if self._waiting:
            # Plain tuples for the driver: turning each entry's columns into parameters took as long as storing it.
            self._connection.exec_driver_sql(_INSERT["?" if is_sqlite(self._connection) else "%s"], self._waiting)
        for tenant, value in self._next.items():
            self._connection.execute(_COUNT, {"whose": tenant, "value": value})
        self._waiting = []

    def _locked_counter(self, tenant: TenantId) -> int:
        value = self._connection.execute(_COUNTER, {"whose": tenant}).scalar_one_or_none()
        if value is None:
            fresh = sqlite_insert if is_sqlite(self._connection) else postgres_insert
            self._connection.execute(fresh(log_tenant).values(tenant=tenant, next_seq=0).on_conflict_do_nothing())
            value = self._connection.execute(_COUNTER, {"whose": tenant}).scalar_one()
        return int(value)


class Transactions(Protocol):
    """Where the integration store gets its transactions from."""

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a reading transaction."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """Open a writing transaction that commits at its end."""
        ...


class SqlIntegration:
    """The log as sequencer, readers and export see it; implements `IntegrationStore` and `ExportStore`."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def tree(self) -> Frontier:
        """Return the stored tree state."""
        with self._transactions.reading() as connection:
            return _tree(connection)

    def pending(self, limit: int) -> Sequence[Pending]:
        """Return entries without an index, in the order of their insertion."""
        with self._transactions.reading() as connection:
            rows = connection.execute(_PENDING, {"most": limit}).all()
        return [Pending(row, bytes(leaf)) for row, leaf in rows]

    def integrate(self, before: Frontier, rows: Sequence[int], after: Frontier) -> None:
        """Give indices and replace the tree state, if it is still `before`."""
        with self._transactions.writing() as connection:
            if _tree(connection, lock=True) != before:
                raise StaleError("another sequencer integrated meanwhile")
            connection.execute(_PLACE, list(_runs(rows, before.size)))
            state = {"size": after.size, "frontier": after.to_bytes()}
            connection.execute(update(log_tree).where(log_tree.c.id == 1).values(**state))

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return integrated leaves by index."""
        with self._transactions.reading() as connection:
            rows = connection.execute(_LEAVES, {"start": start, "end": end}).all()
        return [bytes(leaf) for (leaf,) in rows]

    def newest_checkpoint(self) -> bytes | None:
        """Return the note of the largest size."""
        with self._transactions.reading() as connection:
            note = connection.execute(_NEWEST).scalar_one_or_none()
        return None if note is None else bytes(note)

    def insert_checkpoint(self, size: int, note: bytes) -> None:
        """Add a checkpoint; the same again is accepted, another of that size is a conflict."""
        with self._transactions.writing() as connection:
            query = select(log_checkpoint.c.note).where(log_checkpoint.c.size == size)
            known = connection.execute(query).scalar_one_or_none()
            if known is None:
                connection.execute(insert(log_checkpoint).values(size=size, note=note))
            elif bytes(known) != note:
                raise ConflictError("the log has another checkpoint of that size")

    def openings(self, tenant: TenantId, first: int, count: int, size: int) -> Sequence[Opening]:
        """Return a tenant's payloads and salts from counter `first` on."""
        query = (
            select(log_entry.c.idx, log_entry.c.payload, log_entry.c.salt)
            .where(log_entry.c.tenant == tenant, log_entry.c.seq >= first, log_entry.c.idx < size)
            .order_by(log_entry.c.seq)
            .limit(count)
        )
        with self._transactions.reading() as connection:
            return [Opening(index, bytes(payload), bytes(salt)) for index, payload, salt in connection.execute(query)]

    def covered(self, tenant: TenantId, size: int) -> bool:
        """Whether a tree of that size holds every entry that the tenant has now."""
        query = select(log_entry.c.id).where(
            log_entry.c.tenant == tenant, log_entry.c.idx.is_(None) | (log_entry.c.idx >= size)
        )
        with self._transactions.reading() as connection:
            return connection.execute(query.limit(1)).first() is None

    def opening_of(self, entry: EntryId) -> Opening | None:
        """Return one entry's opening once it is integrated."""
        query = select(log_entry.c.idx, log_entry.c.payload, log_entry.c.salt).where(log_entry.c.id == entry)
        with self._transactions.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None or row.idx is None else Opening(row.idx, bytes(row.payload), bytes(row.salt))


def _runs(rows: Sequence[int], place: int) -> Iterator[dict[str, int]]:
    """Cut rows into runs of consecutive numbers: each run is placed by one statement, however long it is."""
    first = 0
    for after in range(1, len(rows) + 1):
        if after == len(rows) or rows[after] != rows[after - 1] + 1:
            yield {"first": rows[first], "last": rows[after - 1], "shift": place + first - rows[first]}
            first = after


def _tree(connection: Connection, *, lock: bool = False) -> Frontier:
    row = connection.execute(_TREE_LOCKED if lock else _TREE).one()
    return Frontier.from_bytes(row.size, bytes(row.frontier))
