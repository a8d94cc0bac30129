"""Events about reports: issued, read. Both follow a decision. Format: `docs/formats/report.md`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DecisionId, ReportId


class ReportForm(StrEnum):
    """In which form a report was handed out."""

    ENVELOPE = "envelope"
    HTML = "html"


@dataclass(frozen=True, kw_only=True)
class ReportIssued(Event):
    """A report was built from the archive at this tree size, signed and stored.

    Attributes:
        digest: Digest of the signed envelope; every later read gives these bytes.
    """

    TYPE: ClassVar[str] = "report:issued"
    report: ReportId
    decision: DecisionId
    from_size: int
    until_size: int
    digest: Digest


@dataclass(frozen=True, kw_only=True)
class ReportRead(Event):
    """Somebody received a stored report."""

    TYPE: ClassVar[str] = "report:read"
    report: ReportId
    decision: DecisionId
    form: ReportForm


EVENTS: tuple[type[Event], ...] = (ReportIssued, ReportRead)
