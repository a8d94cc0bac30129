"""Events about the log itself: reading it, exporting it, and facts that were taken into it as evidence.

Rules
-----
1. Reading the log is an action like any other: it is decided, and it is logged.
2. A live fact (a setting, the list of keys) counts as evidence only from the entry that holds its digest.

Format: docs/formats/events.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DecisionId


class ReadScope(StrEnum):
    """What of the log was read."""

    CHECKPOINT = "checkpoint"
    TILES = "tiles"
    ENTRIES = "entries"
    RECEIPT = "receipt"


class EvidenceKind(StrEnum):
    """What a snapshot is of. Closed; names are never reused."""

    CONFIGURATION = "configuration"
    KEYS = "keys"
    PRINCIPALS = "principals"
    ROUTES = "routes"
    SEALED_OBJECTS = "sealed-objects"
    SELF_TEST = "self-test"
    SOFTWARE = "software"
    STORAGE = "storage"


@dataclass(frozen=True, kw_only=True)
class LogRead(Event):
    """Somebody read the log.

    Attributes:
        decision: What allowed it.
        scope: What was read.
        first: The tenant's counter (or, for tiles and checkpoint, the log's index) of the first entry shown.
        count: How many entries were shown at most.
    """

    TYPE = "log:read"

    decision: DecisionId
    scope: ReadScope
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class LogExported(Event):
    """An archive was made for the tenant.

    Attributes:
        decision: What allowed it.
        size: The size of the checkpoint it was made at.
        root: The root of that checkpoint.
        entries: How many of the tenant's entries it holds.
    """

    TYPE = "log:exported"

    decision: DecisionId
    size: int
    root: Digest
    entries: int


@dataclass(frozen=True, kw_only=True)
class EvidenceSnapshot(Event):
    """Live facts were written down as evidence; the document with this digest lies beside the log.

    Attributes:
        kind: What the document lists.
        digest: Digest of its bytes; in an archive it is `evidence/<hex>.json`.
        items: How many facts it lists.
    """

    TYPE = "evidence:snapshot"

    kind: EvidenceKind
    digest: Digest
    items: int


EVENTS: tuple[type[Event], ...] = (LogRead, LogExported, EvidenceSnapshot)
