"""Checking one tenant's history in an archive: its counter, its payloads, its times.

Rules
-----
1. The k-th leaf of the tenant has counter k: nothing was left out, nothing is out of order.
2. Every leaf of the tenant is opened by exactly one line of the payload files, and no line is left over.
3. A damaged line costs its own entry and no other.
4. Times are the gateway's word. Order is given by the tree; a clock that ran backwards is reported, not punished.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from audit.archive import ENTRIES_PER_FILE, ArchivedEntry, Opening, payload_file
from audit.entry import Leaf, opens
from audit.findings import Findings
from audit.tiles import ENTRIES, TILE_WIDTH, tile_at
from kernel.errors import PrivgateError

TOLERANCE = timedelta(minutes=1)
LinesOrNothing = Callable[[int], "list[bytes] | None"]
EntryReader = Callable[[ArchivedEntry], object]
"""Somebody who is shown every entry that opened, in the order of the log."""


class TenantHistory:
    """One pass over a tenant's leaves in the order of the log. Call `leaf` for each, then `finish`.

    Args:
        size: The size of the tree, to name bundles with.
        lines: Gives the lines of a payload file, or nothing where it is missing (which the caller has noted).
        counter, payloads, times: Where findings go.
        opened: Who is shown the entries that opened, if anybody.
    """

    def __init__(
        self,
        *,
        size: int,
        lines: LinesOrNothing,
        counter: Findings,
        payloads: Findings,
        times: Findings,
        opened: EntryReader | None = None,
    ) -> None:
        self._size = size
        self._lines = lines
        self._counter = counter
        self._payloads = payloads
        self._times = times
        self._opened = opened
        self._next_seq = 0
        self._pending: list[tuple[int, Leaf]] = []
        self._latest: datetime | None = None
        self.entries = 0
        """How many leaves the tenant has."""

    @property
    def files(self) -> int:
        """How many payload files the tenant must have."""
        return -(-self.entries // ENTRIES_PER_FILE)

    def leaf(self, index: int, leaf: Leaf) -> None:
        """Take the tenant's next leaf."""
        if leaf.seq != self._next_seq:
            bundle = tile_at(ENTRIES, index // TILE_WIDTH, self._size)
            self._counter.wrong(f"audit/{bundle.path}", f"counter {leaf.seq} where {self._next_seq} must be", index)
        self._next_seq = leaf.seq + 1
        self.entries += 1
        self._pending.append((index, leaf))
        if len(self._pending) == ENTRIES_PER_FILE:
            self._open_pending()

    def finish(self) -> None:
        """Take the end of the log."""
        if self._pending:
            self._open_pending()

    def _open_pending(self) -> None:
        number = self.files - 1
        lines = self._lines(number)
        if lines is not None:
            self._open_from(f"audit/{payload_file(number)}", lines)
        self._pending.clear()

    def _open_from(self, file: str, lines: list[bytes]) -> None:
        openings, damaged = self._parsed(file, lines)
        for index, leaf in self._pending:
            opening = openings.pop(index, None)
            if opening is not None:
                self._open(file, index, leaf, opening)
            elif index not in damaged:
                self._payloads.wrong(file, "the entry has no line", index)
        for index in openings:
            self._payloads.wrong(file, f"a line for index {index} belongs to no entry here")

    def _parsed(self, file: str, lines: list[bytes]) -> tuple[dict[int, Opening], set[int]]:
        openings: dict[int, Opening] = {}
        damaged: set[int] = set()
        places = {index: place for place, (index, _) in enumerate(self._pending)}
        # `place` is where the next whole line should be; `run` counts damaged lines since the last whole one.
        place = run = 0
        for number, line in enumerate(lines, 1):
            try:
                opening = Opening.parse(line)
            except PrivgateError as error:
                expected = self._pending[place + run][0] if place + run < len(self._pending) else None
                self._payloads.wrong(file, f"line {number}: {error.message}", expected)
                damaged.update(() if expected is None else (expected,))
                run += 1
                continue
            found = places.get(opening.index)
            if openings.setdefault(opening.index, opening) is not opening:
                self._payloads.wrong(file, f"line {number}: a second line for this entry", opening.index)
            elif found is not None and found < place:
                self._payloads.wrong(file, f"line {number}: out of order", opening.index)
            place, run = place if found is None else max(place, found + 1), 0
        return openings, damaged

    def _open(self, file: str, index: int, leaf: Leaf, opening: Opening) -> None:
        try:
            payload = opens(leaf, opening.payload, opening.salt)
        except PrivgateError as error:
            self._payloads.wrong(file, error.message, index)
            return
        if self._latest is not None and self._latest - payload.time > TOLERANCE:
            self._times.unclear(file, "the clock had gone backwards by more than a minute", index)
        self._latest = payload.time if self._latest is None else max(self._latest, payload.time)
        if self._opened is not None:
            self._opened(ArchivedEntry(index, leaf, payload))
