"""What went wrong with the machinery itself. An incident names a job and the checks that did not hold, nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kernel.errors import InvalidError
from kernel.events import Event
from kernel.ids import DatasetId, JobId, PopulationId
from privacy.selftest.report import Check


@dataclass(frozen=True, kw_only=True)
class IncidentOpened(Event):
    """A job's self-test failed: nothing of it leaves, and it is charged in full in the same commit."""

    TYPE: ClassVar[str] = "incident:opened"
    job: JobId
    dataset: DatasetId
    population: PopulationId
    checks: tuple[Check, ...]

    def __post_init__(self) -> None:
        if not self.checks:
            raise InvalidError("an incident names the checks that failed", field="checks")


INCIDENT_EVENTS: tuple[type[Event], ...] = (IncidentOpened,)
