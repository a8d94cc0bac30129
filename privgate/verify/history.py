"""The tenant's history as typed events, in the order of the log, gathered while the log is verified.

Rules
-----
1. An entry that does not open is no part of it; the log's steps have said so, and the history then has holes.
2. An event of an unknown kind stays as `UnknownEvent`, one whose fields break their kinds as `Malformed`. Neither is
   skipped in silence.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Generic, TypeVar, cast

from audit.archive import ENTRIES_PER_FILE, ArchivedEntry, payload_file
from audit.entry import Actor, write_leaf
from audit.events import EVENTS as AUDIT_EVENTS
from audit.findings import Findings
from audit.merkle import leaf_hash
from compliance.events import EVENTS as REPORT_EVENTS
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.events import Event, Registry, UnknownEvent
from kernel.ids import DecisionId
from policies.events import EVENTS as POLICY_EVENTS
from policies.events import DecisionMade
from privacy.events import EVENTS as PRIVACY_EVENTS

REGISTRY = Registry(POLICY_EVENTS, PRIVACY_EVENTS, AUDIT_EVENTS, REPORT_EVENTS)
E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Malformed:
    """An event of a known type whose fields break their kinds."""

    type: str
    why: str


@dataclass(frozen=True, slots=True)
class Entered(Generic[E_co]):
    """One opened entry.

    Attributes:
        index: Its place in the log.
        file: The payload file that opens it.
        leaf: Its leaf hash, by which others cite it.
    """

    index: int
    file: str
    at: datetime
    actor: Actor
    leaf: Digest
    event: E_co


Anything = Event | UnknownEvent | Malformed


@dataclass
class History:
    """Everything that opened; add entries in the order of the log, then read.

    Attributes:
        holes: Whether an entry is missing or did not open, so that what follows may look wrong because of that.
    """

    entries: list[Entered[Anything]] = field(default_factory=list)
    holes: bool = False

    def add(self, entry: ArchivedEntry) -> None:
        """Take the next entry."""
        leaf, payload = entry.leaf, entry.payload
        self.entries.append(
            Entered(
                index=entry.index,
                file=f"audit/{payload_file(leaf.seq // ENTRIES_PER_FILE)}",
                at=payload.time,
                actor=payload.actor,
                leaf=Digest.from_raw(leaf_hash(write_leaf(leaf.commitment, leaf.id, leaf.seq, leaf.tenant))),
                event=_event(entry),
            )
        )

    def of(self, kind: type[E]) -> list[Entered[E]]:
        """Every entry of a kind, subclasses included."""
        return cast(list[Entered[E]], [entered for entered in self.entries if isinstance(entered.event, kind)])

    @cached_property
    def by_leaf(self) -> dict[Digest, Entered[Anything]]:
        """Every entry by its leaf hash."""
        return {entered.leaf: entered for entered in self.entries}

    @cached_property
    def decisions(self) -> dict[DecisionId, list[Entered[DecisionMade]]]:
        """Every decision by its id: a list, because an id may have been used twice."""
        found: dict[DecisionId, list[Entered[DecisionMade]]] = defaultdict(list)
        for entered in self.of(DecisionMade):
            found[entered.event.decision].append(entered)
        return found

    def decision(self, decision: DecisionId) -> DecisionMade | None:
        """The one decision with this id."""
        found = self.decisions.get(decision, [])
        return found[0].event if len(found) == 1 else None


class HistoryFindings(Findings):
    """Findings of a step that reads a history: where that has holes, nothing it misses counts as wrong."""

    def __init__(self, title: str, history: History) -> None:
        super().__init__(0, title)
        self._holes = history.holes

    def wrong(self, file: str, what: str, entry: int | None = None) -> None:
        """Note something that does not hold, or may only seem so because of a hole."""
        if self._holes:
            self.unclear(file, f"{what} (or it only seems so: entries before this are missing or damaged)", entry)
        else:
            super().wrong(file, what, entry)


def _event(entry: ArchivedEntry) -> Anything:
    payload = entry.payload
    try:
        return REGISTRY.decode(payload.type, payload.version, payload.fields)
    except PrivgateError as error:
        return Malformed(payload.type, error.message)
