"""What happened to a release: held, checked, published, refused, fetched, recalled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DecisionId, JobId, ReleaseId, Slug
from privacy.release.desk import DeskVerdict


@dataclass(frozen=True, kw_only=True)
class ReleaseHeld(Event):
    """A job's outcome was charged and certified, and waits for its door-keeper."""

    TYPE: ClassVar[str] = "release:held"
    release: ReleaseId
    job: JobId
    kind: Slug
    artifact: Digest
    certificate: Digest


@dataclass(frozen=True, kw_only=True)
class ReleaseChecked(Event):
    """Somebody other than the requester, or a policy below its ceiling, said yes or no."""

    TYPE: ClassVar[str] = "release:checked"
    release: ReleaseId
    decision: DecisionId
    verdict: DeskVerdict
    automatic: bool


@dataclass(frozen=True, kw_only=True)
class ReleasePublished(Event):
    """The release may be fetched by whoever has the right; its receipt proves this very entry."""

    TYPE: ClassVar[str] = "release:published"
    release: ReleaseId
    job: JobId
    artifact: Digest
    certificate: Digest


@dataclass(frozen=True, kw_only=True)
class ReleaseRefused(Event):
    """The release will never be fetched. What it cost stays charged."""

    TYPE: ClassVar[str] = "release:refused"
    release: ReleaseId


class FetchedPart(StrEnum):
    """What was handed out."""

    ARTIFACT = "artifact"
    CERTIFICATE = "certificate"
    RECEIPT = "receipt"
    MODEL_CARD = "model-card"


@dataclass(frozen=True, kw_only=True)
class ReleaseFetched(Event):
    """A named principal received a part of a release."""

    TYPE: ClassVar[str] = "release:fetched"
    release: ReleaseId
    part: FetchedPart
    decision: DecisionId


@dataclass(frozen=True, kw_only=True)
class ReleaseRecalled(Event):
    """The release can no longer be fetched. That it was, once, is not undone."""

    TYPE: ClassVar[str] = "release:recalled"
    release: ReleaseId


RELEASE_EVENTS: tuple[type[Event], ...] = (
    ReleaseHeld,
    ReleaseChecked,
    ReleasePublished,
    ReleaseRefused,
    ReleaseFetched,
    ReleaseRecalled,
)
