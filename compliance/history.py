"""History: an archive as typed events, at one tree size, with the documents that the log cites.

Rules
-----
1. The only reader of archives in this package. Everything after it is a pure function of a `History`.
2. An event of an unknown kind stays in the history as `UnknownEvent`; one whose fields break their kinds stays as
   `Malformed`. Neither is skipped.
3. An archive may be larger than the tree size that is asked for: what came later is not looked at, so that the same
   size gives the same history from any later archive.
4. A document counts only under the digest that an entry gives it.
5. What cannot be read leaves the history incomplete; it does not end the report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Generic, TypeVar, cast

from audit.archive import Archive, ArchivedEntry
from audit.checkpoint import read_unverified
from audit.entry import Actor, write_leaf
from audit.events import EVENTS as AUDIT_EVENTS
from audit.events import EvidenceSnapshot
from audit.findings import StepResult
from audit.merkle import Frontier, fold, leaf_hash
from audit.tiles import ENTRIES, decode_bundle, tiles_of
from audit.verify import Outcome, verify_log
from compliance.events import EVENTS as REPORT_EVENTS
from kernel.canonical import Digest
from kernel.errors import InvalidError, PrivgateError
from kernel.events import Event, Registry, UnknownEvent
from kernel.ids import DecisionId, ReleaseId, TenantId
from policies.events import EVENTS as POLICY_EVENTS
from policies.events import DecisionMade
from privacy.events import EVENTS as PRIVACY_EVENTS
from privacy.events.releases import ReleaseHeld

CERTIFICATES = "certificates"
EVIDENCE = "evidence"
REGISTRY = Registry(POLICY_EVENTS, PRIVACY_EVENTS, AUDIT_EVENTS, REPORT_EVENTS)
"""Every event that this program reads."""


@dataclass(frozen=True)
class Malformed:
    """An event of a known type whose fields break their kinds."""

    type: str
    version: int


E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Entered(Generic[E]):
    """One entry of the tenant: what happened, when, by whom, and where it stands.

    Attributes:
        index: Its place in the log.
        leaf: Its leaf hash, by which certificates and reservations cite it.
    """

    index: int
    at: datetime
    actor: Actor
    correlation: str | None
    leaf: Digest
    event: E


Anything = Event | UnknownEvent | Malformed


@dataclass(frozen=True, kw_only=True)
class History:
    """One tenant's history up to a tree size; build one with `read_history`.

    Attributes:
        from_size, until_size: The period: entries with an index from the one to below the other are judged; everything
            before counts as what was known.
        root: The root of the first `until_size` leaves, made from the leaves.
        steps: What the log verifier said of the archive, without a trust file.
        whole: Whether every entry could be opened and the tree is unaltered; otherwise entries may be missing here.
        certificates: The signed envelopes of releases, as they lie in the archive.
        snapshots: Documents of live facts, by the digest that the log gives them; only those that match it.
    """

    tenant: TenantId
    origin: str
    from_size: int
    until_size: int
    root: Digest
    entries: tuple[Entered[Anything], ...]
    steps: tuple[StepResult, ...]
    whole: bool = True
    certificates: Mapping[ReleaseId, bytes] = field(default_factory=dict)
    snapshots: Mapping[Digest, bytes] = field(default_factory=dict)
    memo: dict[object, object] = field(default_factory=dict, repr=False, compare=False)
    """What is folded once and shared; never part of what the history says."""

    def of(self, kind: type[E]) -> tuple[Entered[E], ...]:
        """Every entry of a kind, subclasses included, in the order of the log."""
        known = self._of_kind.get(kind)
        if known is None:
            known = tuple(entered for entered in self.entries if isinstance(entered.event, kind))
            self._of_kind[kind] = known
        return cast(tuple[Entered[E], ...], known)

    def judged(self, kind: type[E]) -> tuple[Entered[E], ...]:
        """The entries of a kind that lie within the period."""
        return tuple(entered for entered in self.of(kind) if entered.index >= self.from_size)

    def about(self, member: str, kind: type[E]) -> Mapping[str, tuple[Entered[E], ...]]:
        """The entries of a kind by the identifier in one of their members, such as a job's."""
        known = self.memo.get((member, kind))
        if known is None:
            found: dict[str, list[Entered[E]]] = defaultdict(list)
            for entered in self.of(kind):
                subject = getattr(entered.event, member)
                if subject is not None:
                    found[subject].append(entered)
            known = {subject: tuple(entries) for subject, entries in found.items()}
            self.memo[(member, kind)] = known
        return cast(Mapping[str, tuple[Entered[E], ...]], known)

    @cached_property
    def decisions(self) -> Mapping[DecisionId, Entered[DecisionMade]]:
        """Every decision by its id; the first, should one occur twice."""
        found: dict[DecisionId, Entered[DecisionMade]] = {}
        for entered in self.of(DecisionMade):
            found.setdefault(entered.event.decision, entered)
        return found

    @cached_property
    def ends_at(self) -> datetime | None:
        """The latest time in the history: the only clock of a report."""
        return max((entered.at for entered in self.entries), default=None)

    @cached_property
    def _of_kind(self) -> dict[type, tuple[Entered[Anything], ...]]:
        return {}


def read_history(archive: Archive, *, from_size: int = 0, until_size: int | None = None) -> History:
    """Read an archive up to a tree size; the archive's own if none is given.

    Raises:
        InvalidError: The period is empty, or ends after the archive does.
        PrivgateError: There is no checkpoint, or nothing says whose archive this is.
    """
    checkpoint = read_unverified(archive.checkpoint_note())
    until = checkpoint.size if until_size is None else until_size
    if until > checkpoint.size:
        raise InvalidError("the archive ends before the period does: export a newer one", field="until_size")
    if not 0 <= from_size <= until:
        raise InvalidError("a period runs from a tree size to one that is not smaller", field="from_size")
    read: list[Entered[Anything]] = []

    def opened(archived: ArchivedEntry) -> None:
        if archived.index < until:
            read.append(_entered(archived))

    verification = verify_log(archive, None, opened)
    entries = tuple(sorted(read, key=lambda entered: entered.index))
    return History(
        tenant=archive.tenant,
        origin=checkpoint.origin,
        from_size=from_size,
        until_size=until,
        root=_root(archive, checkpoint.size, until),
        entries=entries,
        steps=verification.steps,
        whole=verification.outcome is not Outcome.FAILED,
        certificates=_certificates(archive, entries),
        snapshots=_snapshots(archive, entries),
    )


def first_of(entries: Iterable[Entered[E]] | None) -> Entered[E] | None:
    """The first entry, if there is any."""
    return next(iter(entries or ()), None)


def _entered(archived: ArchivedEntry) -> Entered[Anything]:
    payload, leaf = archived.payload, archived.leaf
    event: Anything
    try:
        event = REGISTRY.decode(payload.type, payload.version, payload.fields)
    except PrivgateError:
        event = Malformed(payload.type, payload.version)
    hashed = leaf_hash(write_leaf(leaf.commitment, leaf.id, leaf.seq, leaf.tenant))
    return Entered(archived.index, payload.time, payload.actor, payload.correlation, Digest.from_raw(hashed), event)


def _root(archive: Archive, size: int, until: int) -> Digest:
    """The root of the first `until` leaves; of all that can be read, where some cannot."""
    frontier, left = Frontier(), until
    for bundle in tiles_of(ENTRIES, size):
        if left <= 0:
            break
        try:
            leaves = decode_bundle(archive.tile(bundle), bundle.width)[:left]
        except PrivgateError:
            break
        frontier = frontier.extended(list(map(leaf_hash, leaves)))
        left -= len(leaves)
    return Digest.from_raw(fold(frontier.subtrees))


def _certificates(archive: Archive, entries: tuple[Entered[Anything], ...]) -> dict[ReleaseId, bytes]:
    found = {}
    for entered in entries:
        if isinstance(entered.event, ReleaseHeld):
            data = _document(archive, f"{CERTIFICATES}/{entered.event.release}.json")
            if data is not None:
                found[entered.event.release] = data
    return found


def _snapshots(archive: Archive, entries: tuple[Entered[Anything], ...]) -> dict[Digest, bytes]:
    found = {}
    for entered in entries:
        if isinstance(entered.event, EvidenceSnapshot):
            data = _document(archive, f"{EVIDENCE}/{entered.event.digest.hex}.json")
            if data is not None and Digest.of(data) == entered.event.digest:
                found[entered.event.digest] = data
    return found


def _document(archive: Archive, name: str) -> bytes | None:
    try:
        return archive.read(name)
    except PrivgateError:
        return None
