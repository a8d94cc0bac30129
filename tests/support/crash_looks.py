"""Killing at one point, beginning again, and looking at what is left: invariants 1 to 3 of the design.

No overdraft in any prefix of a ledger, nothing without its decision, charge and log entry, nothing acknowledged lost,
nothing charged too little, no task that nobody works on.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

from sqlalchemy import make_url

from audit.verify import Outcome, verify_directory
from gateway.records import JobState, TaskState
from gateway.services.log_reading import export_archive
from gateway.unit_of_work import Reading
from gateway.wiring import build
from kernel.ids import TenantId
from privacy.budget.fold import LedgerState
from privacy.budget.reservations import ReservationState
from privacy.events.budget import PopulationCreated
from tests.support import crashes, postgres
from tests.support.crashes import ACTS, EXPECTED, LATER, Place, Stage
from tests.support.cycles import unpack_export
from tests.support.declarations import allowed

KILLED = -9
SYNCS, FILES = ("fsync",), ("link", "rename")


class Rehearsal:
    """The acts played once without harm: the state before each, and the points that each passes."""

    def __init__(self, folder: Path, database: str, held: ExitStack) -> None:
        self._database, self._held = database, held
        self._server = postgres.require() if database == "postgresql" else None
        self.before: dict[str, Place] = {}
        self.points: dict[str, Counter[str]] = {}
        place = crashes.prepared(Place(folder / "rehearsed", self._fresh()))
        for act in ACTS:
            self.before[act] = self.copy(place, folder / f"before-{act}")
            passed = self.points[act] = Counter()
            crashes.play(place, act, lambda name, passed=passed: passed.update([name]))  # type: ignore[misc]

    def changes(self, act: str) -> list[str]:
        """The points of an act between which something changes; of files under one database, they are the same."""
        passed = (name for name in self.points[act] if not name.endswith(SYNCS))
        return sorted(name for name in passed if self._server is None or not name.endswith(FILES))

    def syncs(self, act: str) -> list[str]:
        """Those around a sync: what a kill leaves there, a kill at the change beside it leaves as well."""
        return sorted(name for name in self.points[act] if name.endswith(SYNCS))

    def copy(self, place: Place, folder: Path) -> Place:
        """A copy of files and database."""
        return place.copy(folder, self._fresh(_database_of(place)))

    def _fresh(self, template: str = postgres.TEMPLATE) -> str:
        return "" if self._server is None else self._held.enter_context(self._server.database(template))


def _database_of(place: Place) -> str:
    return (make_url(place.database_url).database or "") if place.database_url else ""


def kill_and_look(rehearsal: Rehearsal, act: str, name: str, occurrence: int, folder: Path) -> None:
    """Play an act up to a kill, begin it again, and look.

    Raises:
        AssertionError: An invariant does not hold; the message names the point.
    """
    label = f"{act}-{name}-{occurrence}".replace(":", "-")
    place = rehearsal.copy(rehearsal.before[act], folder / label)
    assert crashes.play_and_die(place, act, name, occurrence) == KILLED, (act, name, "was not passed again")
    acknowledged = place.acknowledged()
    crashes.play(place, act, lambda _: None, LATER)
    with closing(build(place.settings, clock=crashes.LaterClock(LATER * 2))) as gateway:
        stage = Stage(place, gateway)
        stage.settle()
        try:
            look(stage, acknowledged, folder / f"{label}-archive")
        except AssertionError as error:
            raise AssertionError(f"after a kill at {name} ({occurrence}) in {act}: {error}") from error


def look(stage: Stage, acknowledged: dict[str, str], folder: Path) -> None:
    """Invariants 1 to 3, on the database and on what an auditor gets."""
    assert acknowledged.items() <= stage.known.items()
    states = crashes.states(stage)
    for name, (noun, expected) in EXPECTED.items():
        if name in acknowledged:
            assert states[noun] in expected, f"{noun} is {states[noun]}, though `{name}` was acknowledged"
    with stage.on.database.read() as reading:
        _ledgers(reading, stage.tenant)
        _jobs(reading)
        _queue(stage, reading)
    folder.mkdir()
    unpack_export(allowed(export_archive(stage.on, stage.caller("auditor"))), folder)
    found = verify_directory(folder, crashes.trust_of(stage.place))
    assert found.outcome is Outcome.VERIFIED, [step for step in found.steps if step.findings]


def _ledgers(reading: Reading, tenant: TenantId) -> None:
    for account in reading.ledger.populations(tenant):
        first, *rest = reading.ledger.events(account.population.id)
        assert isinstance(first, PopulationCreated)
        state = LedgerState(first)
        for event in rest:
            after = state.post(event).account
            assert after.committed <= after.population.budget.capacity
        assert state.standing().account == account


def _jobs(reading: Reading) -> None:
    for job in reading.jobs.all():
        assert job.state.ended, f"a job is left {job.state.value}"
        reservation = reading.ledger.read(job.population, job=job.id).reservation
        assert reservation is not None
        assert job.decision_leaf is not None
        if job.attempts:
            assert reservation.state is ReservationState.CHARGED
            charged = [charge.times for charge in reservation.charges]
            assert charged
            assert all(times >= job.steps_started for times in charged), (charged, job.steps_started)
        else:
            assert reservation.state is ReservationState.VOIDED
        if job.state is JobState.FINISHED:
            assert job.release is not None


def _queue(stage: Stage, reading: Reading) -> None:
    for job in reading.jobs.all():
        task = reading.tasks.for_subject(job.id)
        assert task is not None
        assert task.state is TaskState.DONE, f"a task is left {task.state.value}"
    assert not stage.on.integration.pending(1)
