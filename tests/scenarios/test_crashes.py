"""The process is killed on each side of every commit, fsync, link and rename of the cycle, and begun again.

Invariants 1 to 3 of the design are looked at after each: no overdraft in any prefix of a ledger, nothing without its
decision, charge and log entry, nothing acknowledged lost, nothing charged too little, no task that nobody works on.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

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
from tests.support.api import initialise
from tests.support.crashes import ACTS, EXPECTED, LATER, Place, Stage
from tests.support.cycles import unpack_export
from tests.support.declarations import allowed

ROOT = Path(__file__).resolve().parents[2]
DATABASES = ("sqlite", pytest.param("postgresql", marks=(pytest.mark.slow, pytest.mark.postgres)))
LEAST_POINTS = 90
OCCURRENCES = 3


class Rehearsal:
    """The acts played once without harm: the state before each, and the points that each passes."""

    def __init__(self, folder: Path, database: str, held: ExitStack) -> None:
        self._database, self._held = database, held
        self._server = postgres.require() if database == "postgresql" else None
        self.before: dict[str, Place] = {}
        self.points: dict[str, Counter[str]] = {}
        place = Place(folder / "rehearsed", self._fresh())
        place.folder.mkdir()
        initialise(place.settings)
        for act in ACTS:
            self.before[act] = self.copy(place, folder / f"before-{act}")
            passed = self.points[act] = Counter()
            crashes.play(place, act, lambda name, passed=passed: passed.update([name]))  # type: ignore[misc]

    def copy(self, place: Place, folder: Path) -> Place:
        """A copy of files and database."""
        return place.copy(folder, self._fresh(place.database_url.split("/")[-1].split("?")[0]))

    def _fresh(self, template: str = postgres.TEMPLATE) -> str:
        return "" if self._server is None else self._held.enter_context(self._server.database(template))


@pytest.fixture(scope="module", params=DATABASES)
def rehearsal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The rehearsed acts on one database."""
    with ExitStack() as held:
        yield Rehearsal(tmp_path_factory.mktemp("rehearsal"), request.param, held)


@pytest.mark.parametrize("act", ACTS)
def test_a_kill_at_the_first_passing_of_each_point_costs_nothing(
    rehearsal: Rehearsal, act: str, tmp_path: Path
) -> None:
    """Every point once."""
    for name in sorted(rehearsal.points[act]):
        _kill_and_look(rehearsal, act, name, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTS)
def test_a_kill_at_a_later_passing_costs_nothing(rehearsal: Rehearsal, act: str, tmp_path: Path) -> None:
    """A point that is passed often is struck in the middle and at its last passing, too."""
    for name, times in sorted(rehearsal.points[act].items()):
        for occurrence in sorted({(times + 1) // 2, times} - {1})[-OCCURRENCES:]:
            _kill_and_look(rehearsal, act, name, occurrence, tmp_path)


def test_the_acts_pass_every_kind_of_point(rehearsal: Rehearsal) -> None:
    """The suite covers what it claims to: no act was skipped, and the cycle's own commits are among the points."""
    seen = Counter[str]()
    for passed in rehearsal.points.values():
        seen.update(dict.fromkeys(passed, 1))
    assert sum(seen.values()) >= LEAST_POINTS
    commits = ("stage", "seal", "job", "touch", "steps", "savepoint", "finish", "check", "export")
    wanted = {f"{name}:{side}" for name in commits for side in ("before-commit", "committed")}
    assert wanted <= set(seen)


def test_every_commit_fsync_link_and_rename_has_a_point() -> None:
    """A new one without a point on each side fails here; the few that need none are listed with the reason."""
    found = {place for path in _sources() for place in _bare_calls(path)}
    assert found == EXEMPT.keys()


EXEMPT = {
    "gateway/initialise.py:write_token": "before there is a gateway; `init` is run again",
    "gateway/unit_of_work.py:writing": "integration and journal: the sequencer has points of its own around it",
    "gateway/sequencer_loop.py:_lead": "asks for the leader's lock; changes nothing",
    "gateway/serve.py:_announce": "the port file: of this process alone",
}


def _kill_and_look(rehearsal: Rehearsal, act: str, name: str, occurrence: int, folder: Path) -> None:
    label = f"{act}-{name}-{occurrence}".replace(":", "-")
    place = rehearsal.copy(rehearsal.before[act], folder / label)
    assert crashes.play_and_die(place, act, name, occurrence) == -9, (act, name, "was not passed again")
    acknowledged = place.acknowledged()
    crashes.play(place, act, lambda _: None, LATER)
    with closing(build(place.settings, clock=crashes.LaterClock(LATER * 2))) as gateway:
        stage = Stage(place, gateway)
        stage.settle()
        try:
            _look(stage, acknowledged, folder / f"{label}-archive")
        except AssertionError as error:
            raise AssertionError(f"after a kill at {name} ({occurrence}) in {act}: {error}") from error


def _look(stage: Stage, acknowledged: dict[str, str], folder: Path) -> None:
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


def _sources() -> list[Path]:
    return [path for package in ("gateway", "privacy", "audit", "kernel") for path in (ROOT / package).rglob("*.py")]


def _bare_calls(path: Path) -> Iterator[str]:
    """Functions that commit, sync, link or rename and pass no point on both sides."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and any(map(_is_durable, ast.walk(node))):
            points = sum(_is_point(inner) for inner in ast.walk(node))
            if points < 2:
                yield f"{path.relative_to(ROOT).as_posix()}:{node.name}"


def _is_durable(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner, name = ast.unparse(node.func.value), node.func.attr
    named = {"os": {"fsync", "fdatasync", "rename", "replace", "link", "symlink"}}
    if name in named.get(owner, ()):
        return True
    if name == "commit":
        return owner.endswith(("connection", "transaction"))
    of_paths = name in ("replace", "rename") and len(node.args) == 1 and not node.keywords
    return of_paths and not owner.endswith("deks")


def _is_point(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("point")
