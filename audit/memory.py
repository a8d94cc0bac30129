"""The log in memory: the reference for its stores, used by in-memory gateways and by tests.

Rules
-----
1. It does what the protocols say and nothing more; a database store is held to the same contract suite.
2. A transaction that rolls back returns to its mark: `mark = log.mark()`, then `log.rollback(mark)`.
3. It has no lock of its own: transactions and the sequencer take turns under their owner's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from audit.archive import Opening
from audit.entry import Entry
from audit.merkle import Frontier
from audit.sequencer import Pending
from kernel.errors import ConflictError, StaleError
from kernel.ids import TenantId


@dataclass(slots=True)
class _Row:
    entry: Entry
    time: datetime
    index: int | None = None


class MemoryLog:
    """Entries, tree state and checkpoints in lists. Implements `LogStore`, `IntegrationStore` and `ExportStore`."""

    def __init__(self) -> None:
        self._rows: list[_Row] = []
        self._tenants: dict[TenantId, list[_Row]] = {}
        self._known: set[str] = set()
        self._by_index: list[int] = []
        self._tree = Frontier()
        self._checkpoints: dict[int, bytes] = {}

    def mark(self) -> int:
        """Name the present end of the entries, before a transaction."""
        return len(self._rows)

    def rollback(self, mark: int) -> None:
        """Forget the entries after a mark; none of them may have been integrated."""
        for row in reversed(self._rows[mark:]):
            if row.index is not None:
                raise ConflictError("an integrated entry cannot be rolled back")
            self._known -= {row.entry.id, row.entry.leaf_hash}
            self._tenants[row.entry.tenant].pop()
        del self._rows[mark:]

    def next_seq(self, tenant: TenantId) -> int:
        """Return the next value of the tenant's counter."""
        return len(self._tenants.get(tenant, ()))

    def insert(self, entry: Entry, time: datetime) -> None:
        """Store a new entry."""
        names = {entry.id, entry.leaf_hash}
        if names & self._known or entry.seq != self.next_seq(entry.tenant):
            raise ConflictError("the log has an entry of that id, leaf or place")
        self._known |= names
        row = _Row(entry, time)
        self._rows.append(row)
        self._tenants.setdefault(entry.tenant, []).append(row)

    def tree(self) -> Frontier:
        """Return the tree state."""
        return self._tree

    def pending(self, limit: int) -> Sequence[Pending]:
        """Return entries without an index."""
        waiting = range(len(self._by_index), min(len(self._rows), len(self._by_index) + limit))
        return [Pending(row, self._rows[row].entry.leaf) for row in waiting]

    def integrate(self, before: Frontier, rows: Sequence[int], after: Frontier) -> None:
        """Give indices and replace the tree state."""
        if self._tree != before:
            raise StaleError("the log was integrated by somebody else")
        for index, row in enumerate(rows, before.size):
            self._rows[row].index = index
            self._by_index.append(row)
        self._tree = after

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return integrated leaves."""
        return [self._rows[row].entry.leaf for row in self._by_index[start:end]]

    def newest_checkpoint(self) -> bytes | None:
        """Return the note of the largest size."""
        return self._checkpoints[max(self._checkpoints)] if self._checkpoints else None

    def insert_checkpoint(self, size: int, note: bytes) -> None:
        """Add a checkpoint."""
        if self._checkpoints.setdefault(size, note) != note:
            raise ConflictError("the log has another checkpoint of that size")

    def openings(self, tenant: TenantId, first: int, count: int, size: int) -> Sequence[Opening]:
        """Return the tenant's payloads and salts from counter `first` on."""
        rows = self._tenants.get(tenant, [])[first : first + count]
        return [
            Opening(row.index, row.entry.payload, row.entry.salt)
            for row in rows
            if row.index is not None and row.index < size
        ]

    def entries(self, tenant: TenantId | None = None) -> list[Entry]:
        """Return all entries, or one tenant's, in the order of insertion."""
        return [row.entry for row in self._rows if tenant in (None, row.entry.tenant)]

    def index_of(self, leaf_hash: str) -> int | None:
        """Return the index of the entry with that leaf hash, once it is integrated."""
        return next((row.index for row in self._rows if row.entry.leaf_hash == leaf_hash), None)


class MemoryTiles:
    """Tiles in a dictionary. Implements `TileStore`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, path: str, data: bytes) -> None:
        """Store bytes once."""
        if self.files.setdefault(path, data) != data:
            raise ConflictError("another tile exists at that path")

    def get(self, path: str) -> bytes | None:
        """Return the bytes, if any."""
        return self.files.get(path)
