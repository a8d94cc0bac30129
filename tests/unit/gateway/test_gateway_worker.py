"""The worker: one task at a time under its lease, whatever becomes of it; ends only at ticks; stops when told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import worker as worker_module
from gateway.launchers.local import Cancelled, Died
from gateway.launchers.second_opinion import ask_dp_accounting
from gateway.records import JobRecord, JobState, TaskKind, TaskRecord, TaskState
from gateway.services import run_job
from gateway.services.people import found_tenant
from gateway.settings import Settings
from gateway.wiring import Gateway, build
from gateway.work import confinement_of, worker_name
from gateway.worker import Worker
from kernel.canonical import Digest
from kernel.clock import ManualClock
from kernel.errors import NotFoundError, StaleError
from kernel.ids import CredentialId, DatasetId, JobId, PopulationId, PrincipalId, Slug, TaskId, TenantId, VersionId
from policies.events import CredentialRevoked
from privacy.sandbox.limits import Level
from privacy.selftest.report import Check
from tests.support.api import initialise
from tests.support.budgets import fresh

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.fixture
def gateway(tmp_path: Path, clock: ManualClock) -> Iterator[Gateway]:
    """A real gateway whose clock stands still."""
    settings = Settings(home=tmp_path / "home", lease_seconds=3, tick_seconds=5)
    initialise(settings)
    made = build(settings, clock=clock)
    yield made
    made.close()


@pytest.fixture
def tenant(gateway: Gateway) -> TenantId:
    """An organisation."""
    made, _ = found_tenant(gateway.on, tenant_name="Test hospital", admin_name="Admin")
    return made


@pytest.fixture
def worker(gateway: Gateway) -> Worker:
    """A worker as the command makes it."""
    return Worker(
        on=gateway.on,
        confinement=confinement_of(gateway.settings),
        opinion=ask_dp_accounting,
        name=worker_name(),
        stopping=threading.Event(),
    )


def enqueue(gateway: Gateway, tenant: TenantId, kind: TaskKind = TaskKind.SEAL, subject: str = "") -> str:
    """Add a task; its subject."""
    record = TaskRecord(
        id=fresh(TaskId),
        tenant=tenant,
        kind=kind,
        subject=subject or str(fresh(VersionId)),
        state=TaskState.QUEUED,
        created_at=NOW,
    )
    with gateway.on.database.upkeep("enqueue") as work:
        work.tasks.enqueue(record)
    return record.subject


def task_of(gateway: Gateway, subject: str) -> TaskRecord:
    """The task as it stands."""
    with gateway.on.database.read() as reading:
        found = reading.tasks.for_subject(subject)
    assert found is not None
    return found


def test_an_empty_queue_is_no_work(worker: Worker) -> None:
    """A step says so."""
    assert worker.step() is False


def test_a_task_is_leased_before_anything_is_done_with_it(
    gateway: Gateway, tenant: TenantId, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is committed under the worker's name when the launcher gets the task."""
    subject, seen = enqueue(gateway, tenant), []
    monkeypatch.setattr(worker_module, "seal_in_child", lambda on, task, _: seen.append(task_of(gateway, task.subject)))
    assert worker.step() is True
    assert [(task.subject, task.state, task.worker) for task in seen] == [(subject, TaskState.LEASED, worker.name)]
    assert worker.step() is False


@pytest.mark.parametrize("error", [StaleError("lost"), RuntimeError("a bug"), OSError("no disk")])
def test_one_task_that_breaks_does_not_end_the_worker(
    gateway: Gateway, tenant: TenantId, worker: Worker, monkeypatch: pytest.MonkeyPatch, error: Exception,
    clock: ManualClock,
) -> None:  # fmt: skip
    """It stays leased until its lease runs out, and is then tried again under a higher fence."""
    subject = enqueue(gateway, tenant)

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker_module, "seal_in_child", broken)
    assert worker.step() is True
    assert (task_of(gateway, subject).state, task_of(gateway, subject).fence) == (TaskState.LEASED, 1)
    assert worker.step() is False
    clock.advance(4)
    assert worker.step() is True
    assert task_of(gateway, subject).fence == 2


def test_what_breaks_is_logged_by_kind_and_nothing_else(
    gateway: Gateway,
    tenant: TenantId,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An error's text may quote a row; the operator's log has its type."""
    enqueue(gateway, tenant)

    def broken(*_: object) -> None:
        raise ValueError("age 117 of patient 4711")

    monkeypatch.setattr(worker_module, "seal_in_child", broken)
    worker.step()
    said = "".join(capsys.readouterr())
    assert "ValueError" in said
    assert "4711" not in said


def test_a_heartbeat_keeps_the_lease_of_a_long_task(
    gateway: Gateway, tenant: TenantId, worker: Worker, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    """While a task runs its lease moves on, so that no other worker takes it."""
    subject = enqueue(gateway, tenant)
    monkeypatch.setattr(worker_module, "BEATS_PER_LEASE", 300)
    extended: list[datetime | None] = []

    def long(*_: object) -> None:
        before = task_of(gateway, subject).lease_until
        clock.advance(2)
        until = time.monotonic() + 20
        while task_of(gateway, subject).lease_until == before and time.monotonic() < until:
            time.sleep(0.01)
        extended.extend([before, task_of(gateway, subject).lease_until])

    monkeypatch.setattr(worker_module, "seal_in_child", long)
    worker.step()
    assert extended == [NOW + timedelta(seconds=3), NOW + timedelta(seconds=5)]


def job(gateway: Gateway, tenant: TenantId, started: datetime | None = NOW) -> JobRecord:
    """A running job's row; only what the end of a task reads of it."""
    record = JobRecord(
        id=fresh(JobId),
        tenant=tenant,
        principal=fresh(PrincipalId),
        dataset=fresh(DatasetId),
        population=fresh(PopulationId),
        kind="training",
        state=JobState.RUNNING,
        purpose=Slug("research"),
        spec={},
        plan={},
        request_digest=Digest.of(b"request"),
        epsilon="1",
        created_at=NOW,
        started_at=started,
    )
    with gateway.on.database.work(tenant) as work:
        work.jobs.insert(record)
        work.record(CredentialRevoked(credential=fresh(CredentialId)))
        work.commit("job")
    return record


@pytest.mark.parametrize(("elapsed", "waits"), [(0, 5), (1, 4), (5, 5), (7, 3)])
def test_the_end_of_a_job_waits_for_a_tick_after_its_request(
    gateway: Gateway, tenant: TenantId, worker: Worker, monkeypatch: pytest.MonkeyPatch, clock: ManualClock,
    elapsed: int, waits: int,
) -> None:  # fmt: skip
    """RULES 14: never at once, on the second whatever its part had passed, and though the worker is told to stop."""
    running = job(gateway, tenant)
    enqueue(gateway, tenant, TaskKind.TRAIN, running.id)
    order: list[Any] = []
    clock.advance(elapsed)
    worker.stopping.set()
    monkeypatch.setattr(worker_module, "run_in_child", lambda *_: Cancelled())
    monkeypatch.setattr(worker_module.time, "sleep", order.append)
    monkeypatch.setattr(worker_module.time, "time", lambda: 1_000.25)
    monkeypatch.setattr(run_job, "cancel", lambda *_: order.append("ended"))
    worker.step()
    assert order == [waits - 0.25, "ended"]


@pytest.mark.parametrize("touched", [True, False])
def test_a_death_is_told_with_whether_the_envelope_was_open(
    gateway: Gateway, tenant: TenantId, worker: Worker, monkeypatch: pytest.MonkeyPatch, touched: bool
) -> None:
    """That decides between void, retry and charge; it waits for its tick, open or not."""
    running = job(gateway, tenant, None)
    enqueue(gateway, tenant, TaskKind.TRAIN, running.id)
    told: list[Any] = []
    monkeypatch.setattr(worker_module.time, "sleep", lambda _: told.append("waited"))
    monkeypatch.setattr(worker_module, "run_in_child", lambda *_: Died(touched))
    monkeypatch.setattr(run_job, "fail", lambda *_, again: told.append(again))
    worker.step()
    assert told == ["waited", touched]


def test_the_operator_is_told_which_check_a_rehearsal_failed(
    gateway: Gateway, tenant: TenantId, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the log, by name; the job's end is that of any attempt that never opened its envelope."""
    running = job(gateway, tenant, None)
    enqueue(gateway, tenant, TaskKind.TRAIN, running.id)
    told: list[Any] = []
    monkeypatch.setattr(worker_module.time, "sleep", lambda _: None)
    monkeypatch.setattr(worker_module, "run_in_child", lambda *_: Died(touched=False, rehearsal=Check.CLIP_BOUND))
    monkeypatch.setattr(run_job, "fail", lambda *_, again: told.append(again))
    with capture_logs() as logged:
        worker.step()
    assert told == [False]
    assert [(line["event"], line["check"]) for line in logged] == [("rehearsal-failed", "clip-bound")]


def test_a_worker_that_cannot_reach_its_database_goes_on_trying(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upkeep and claims that fail are repeated until they work; then it stops when told."""
    failures, calls = iter([ConnectionError("gone"), ConnectionError("gone")]), []

    def expire(_: object) -> None:
        calls.append("upkeep")
        for error in failures:
            raise error
        worker.stopping.set()

    monkeypatch.setattr(worker_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(worker_module, "UPKEEP", (expire,))
    worker.run()
    assert calls == ["upkeep"] * 3


def test_an_upkeep_that_fails_keeps_neither_tasks_nor_the_others_waiting(
    gateway: Gateway, tenant: TenantId, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever one job is like: the other upkeep is done, and tasks are worked on."""
    subject, calls = enqueue(gateway, tenant), []

    def broken(_: object) -> int:
        raise NotFoundError("no such row")

    def sound(_: object) -> int:
        calls.append("upkeep")
        return 0

    monkeypatch.setattr(worker_module, "UPKEEP", (broken, sound))
    monkeypatch.setattr(worker_module, "seal_in_child", lambda *_: worker.stopping.set())
    worker.run()
    assert calls == ["upkeep"]
    assert task_of(gateway, subject).state is TaskState.LEASED


def test_a_worker_that_was_told_to_stop_takes_nothing_more(
    gateway: Gateway, tenant: TenantId, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The present task is finished, the next one is left in the queue."""
    subjects = [enqueue(gateway, tenant), enqueue(gateway, tenant)]
    monkeypatch.setattr(worker_module, "seal_in_child", lambda *_: worker.stopping.set())
    worker.run()
    assert sorted(task_of(gateway, subject).state for subject in subjects) == [TaskState.LEASED, TaskState.QUEUED]


def test_children_are_confined_and_limited_as_the_settings_say(tmp_path: Path) -> None:
    """The least confinement, memory and time of each kind; a job's child may write no file at all."""
    settings = Settings(
        home=tmp_path, sandbox_level="landlock", child_cpu_seconds=14411, child_wall_seconds=14412, upload_bytes=2**21
    )
    made = confinement_of(settings)
    assert made.minimum is Level.LANDLOCK
    assert (made.job.cpu_seconds, made.job.wall_seconds, made.job.output_bytes) == (14411, 14412, 0)
    assert made.job.memory_bytes == settings.training_memory_bytes
    assert (made.ingest.memory_bytes, made.ingest.output_bytes) == (settings.ingest_memory_bytes, 2**21)
    assert len(worker_name()) <= 64
