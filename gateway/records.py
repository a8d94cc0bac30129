"""What the gateway stores about each noun, as frozen rows.

Rules
-----
1. A record holds facts, no behaviour beyond reading itself; rules about moves live with the noun they govern.
2. JSON members hold what a value type's `to_json` wrote; the service that reads them turns them back into that type.
3. What only the owner may know (problems of an upload, the manifest) says so here and is served by one route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from kernel.canonical import Digest
from kernel.ids import (
    ApprovalId,
    DatasetId,
    DekId,
    EntryId,
    JobId,
    PartyId,
    PopulationId,
    PrincipalId,
    ReleaseId,
    ReportId,
    Slug,
    TaskId,
    TenantId,
    VersionId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRecord:
    """Who a principal is: the erasable map. `salt` keys the commitment that the log holds."""

    principal: PrincipalId
    tenant: TenantId
    name: str
    salt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRecord:
    """A dataset's public face and its schema; governance facts live in the policy snapshot.

    `site` is the party with which the rows stay; absent where they are sealed here.
    """

    id: DatasetId
    tenant: TenantId
    population: PopulationId
    owner: PrincipalId
    title: str
    description: str
    schema: Mapping[str, Any]
    unit: Mapping[str, Any]
    current_version: VersionId | None = None
    site: PartyId | None = None
    row_version: int = 1
    created_at: datetime


class VersionState(StrEnum):
    """Where an upload stands."""

    STAGING = "staging"
    STAGED = "staged"
    SEALED = "sealed"
    REFUSED = "refused"
    ERASED = "erased"

    @property
    def was_sealed(self) -> bool:
        """Whether its units were taken in, be its rows erased since or not."""
        return self in (VersionState.SEALED, VersionState.ERASED)

    @property
    def ended(self) -> bool:
        """Whether no worker will touch it any more."""
        return self not in (VersionState.STAGING, VersionState.STAGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One upload of a dataset, from the first byte to the sealed parts, or to the erasure of these.

    An erased version keeps what tells who was in it: its list of fingerprints and its map of home blocks.

    Attributes:
        format: How the file is written (`UploadFormat`).
        staged_blob, staged_dek: The raw upload, encrypted; gone once it is sealed or refused.
        home: The home block that was open when it was sealed.
        homes_blob, homes_seq: The population's map of home blocks as its sealing left it, and the map's number from 1.
        problems: What was wrong with the file: for the owner only, and transient.
        attestation: What a site signed, of a version whose rows stay with it.
    """

    id: VersionId
    dataset: DatasetId
    tenant: TenantId
    state: VersionState
    format: Mapping[str, Any]
    staged_blob: str | None = None
    staged_dek: DekId | None = None
    dek: DekId | None = None
    manifest_blob: str | None = None
    manifest_digest: Digest | None = None
    fingerprints_blob: str | None = None
    home: int = 1
    homes_blob: str | None = None
    homes_seq: int | None = None
    problems: Mapping[str, Any] | None = None
    attestation: bytes | None = None
    created_by: PrincipalId
    created_at: datetime


class JobState(StrEnum):
    """Where a job stands, as far as anybody may see."""

    AWAITING_APPROVAL = "awaiting-approval"
    COLLECTING = "collecting"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self in (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A trainer's request and how far it came.

    Attributes:
        steps_started: High-water mark over all attempts; durable before the steps run, and charged.
        savepoint_blob, savepoint_step: The last sealed savepoint, if any.
    """

    id: JobId
    tenant: TenantId
    principal: PrincipalId
    dataset: DatasetId
    population: PopulationId
    kind: str
    state: JobState
    purpose: Slug
    spec: Mapping[str, Any]
    plan: Mapping[str, Any]
    request_digest: Digest
    epsilon: str
    decision_leaf: Digest | None = None
    reserve_leaf: Digest | None = None
    policy_epoch: int = 0
    release: ReleaseId | None = None
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    steps_started: int = 0
    cancel_requested: bool = False
    savepoint_blob: str | None = None
    savepoint_step: int = 0
    row_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRecord:
    """A person's answer to one exact request; `leaf` is the leaf hash of its entry, for orders that cite it."""

    id: ApprovalId
    tenant: TenantId
    job: JobId
    request_digest: Digest
    approver: PrincipalId
    verdict: str
    until: datetime
    leaf: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressRecord:
    """One line of a job's progress; nobody sees it before `visible_at`."""

    job: JobId
    seq: int
    state: JobState
    percent: int
    visible_at: datetime


class TaskKind(StrEnum):
    """What a worker is asked to do."""

    SEAL = "seal"
    TRAIN = "train"
    EVALUATE = "evaluate"
    STATISTICS = "statistics"
    GLM = "glm"
    TUNE = "tune"
    SYNTHESIS = "synthesis"
    TURN = "turn"
    HE_INFER = "he-infer"


class TaskState(StrEnum):
    """Where a task stands; `parked` waits for a person."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A leased unit of work on one subject (a dataset version or a job).

    Attributes:
        fence: Rises with every lease; writes under an older fence are refused.
    """

    id: TaskId
    tenant: TenantId
    kind: TaskKind
    subject: str
    state: TaskState
    attempt: int = 0
    fence: int = 0
    lease_until: datetime | None = None
    worker: str | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRecord:
    """What may leave, where its sealed artefact lies, and its certificate."""

    id: ReleaseId
    tenant: TenantId
    job: JobId
    principal: PrincipalId
    dataset: DatasetId
    kind: str
    state: str
    epsilon: str
    artifact_blob: str
    artifact_dek: DekId
    artifact_digest: Digest
    certificate: bytes
    certificate_digest: Digest
    published_entry: EntryId | None = None
    created_at: datetime
    row_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRecord:
    """A signed compliance report."""

    id: ReportId
    tenant: TenantId
    issued_by: PrincipalId
    envelope: bytes
    digest: Digest
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRecord:
    """The answer that was given to an Idempotency-Key."""

    tenant: TenantId
    principal: PrincipalId
    key: str
    request_digest: Digest
    status: int
    body: Mapping[str, Any]
    created_at: datetime
