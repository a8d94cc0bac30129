"""What happened to rows and keys: declared, staged, sealed, refused, erased, destroyed.

Counts of rows, sizes and what was wrong with a file are the owner's alone and have no field here (RULES 13, 18).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DatasetId, DekId, JobId, PartyId, PopulationId, ReleaseId, Slug, VersionId
from privacy.units import UnitKind


@dataclass(frozen=True, kw_only=True)
class SchemaDeclared(Event):
    """An owner declared what a dataset's rows look like, who is protected, and from which population they come.

    `site` is the party with which the rows stay; absent where they are sealed here.
    """

    TYPE: ClassVar[str] = "schema:declared"
    dataset: DatasetId
    population: PopulationId
    schema: Digest
    unit_kind: UnitKind
    rows_per_unit: int
    site: PartyId | None = None


@dataclass(frozen=True, kw_only=True)
class VersionStaged(Event):
    """A raw upload arrived and lies encrypted under a key of its own, waiting to be sealed."""

    TYPE: ClassVar[str] = "version:staged"
    version: VersionId
    dataset: DatasetId
    dek: DekId


@dataclass(frozen=True, kw_only=True)
class VersionSealed(Event):
    """An upload was checked against its schema and sealed; it is the dataset's current version from here on.

    `home` is the home block that was open: units that had not appeared before are at home in it. Absent for the first.
    """

    TYPE: ClassVar[str] = "version:sealed"
    version: VersionId
    dataset: DatasetId
    population: PopulationId
    manifest: Digest
    dek: DekId
    kek_version: int
    home: int | None = None


@dataclass(frozen=True, kw_only=True)
class VersionRefused(Event):
    """An upload was refused as a whole; the rule is named, the place and the value are not."""

    TYPE: ClassVar[str] = "version:refused"
    version: VersionId
    dataset: DatasetId
    rule: Slug


@dataclass(frozen=True, kw_only=True)
class VersionErased(Event):
    """A sealed version's rows were erased: its key is destroyed, and what was spent on its people stays spent."""

    TYPE: ClassVar[str] = "version:erased"
    version: VersionId
    dataset: DatasetId
    dek: DekId


class KeyPurpose(StrEnum):
    """What a data key protects."""

    UPLOAD = "upload"
    VERSION = "version"
    JOB = "job"
    RELEASE = "release"


@dataclass(frozen=True, kw_only=True)
class DekCreated(Event):
    """A fresh data key was made and wrapped by the tenant's key of this version."""

    TYPE: ClassVar[str] = "dek:created"
    dek: DekId
    purpose: KeyPurpose
    kek_version: int
    version: VersionId | None = None
    job: JobId | None = None
    release: ReleaseId | None = None


@dataclass(frozen=True, kw_only=True)
class DekDestroyed(Event):
    """Every wrapped copy of a data key is gone; what it protected cannot be opened any more."""

    TYPE: ClassVar[str] = "dek:destroyed"
    dek: DekId


@dataclass(frozen=True, kw_only=True)
class KekRotated(Event):
    """The tenant's wrapping key has a new version; older ones only unwrap."""

    TYPE: ClassVar[str] = "kek:rotated"
    kek_version: int


SEALING_EVENTS: tuple[type[Event], ...] = (
    SchemaDeclared,
    VersionStaged,
    VersionSealed,
    VersionRefused,
    VersionErased,
    DekCreated,
    DekDestroyed,
    KekRotated,
)
