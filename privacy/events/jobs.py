"""What happened to a job. Its end says one of three words, whatever the rows were (RULES 11)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from kernel.amounts import Epsilon
from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DatasetId, DecisionId, JobId, PopulationId, PrincipalId, Slug, VersionId


class JobEnd(StrEnum):
    """How a job ended. There is no fourth word and no reason beside it."""

    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class JobRequested(Event):
    """A trainer asked for a job that the policy allows, at once or once its owner approves."""

    TYPE: ClassVar[str] = "job:requested"
    job: JobId
    kind: Slug
    dataset: DatasetId
    population: PopulationId
    purpose: Slug
    request: Digest
    epsilon: Epsilon
    decision: DecisionId
    awaits_approval: bool


@dataclass(frozen=True, kw_only=True)
class JobQueued(Event):
    """A job has its reservation and waits for a worker; its rows will be those of this version."""

    TYPE: ClassVar[str] = "job:queued"
    job: JobId
    version: VersionId
    manifest: Digest


@dataclass(frozen=True, kw_only=True)
class JobStarted(Event):
    """A worker opened the envelope for this attempt. From here on the job is charged."""

    TYPE: ClassVar[str] = "job:started"
    job: JobId
    attempt: int


@dataclass(frozen=True, kw_only=True)
class JobEnded(Event):
    """Nothing more will happen to the job. `steps_started` counts every attempt."""

    TYPE: ClassVar[str] = "job:ended"
    job: JobId
    end: JobEnd
    attempts: int
    steps_started: int


@dataclass(frozen=True, kw_only=True)
class TrainerHalted(Event):
    """Too many of this trainer's jobs on this population failed (RULES 11).

    Its cap falls to 0 in the same commit (`budget:capped`); the owner enables it again by setting another cap.
    """

    TYPE: ClassVar[str] = "trainer:halted"
    principal: PrincipalId
    population: PopulationId
    failures: int


JOB_EVENTS: tuple[type[Event], ...] = (JobRequested, JobQueued, JobStarted, JobEnded, TrainerHalted)
