"""Many processes that ask one population for more than it has.

Rules
-----
1. Each process has its own gateway: its own connections, its own cached policy. Nothing is shared but the database.
2. All begin together, each asks in an order and with pauses of its own, drawn from a seed.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from multiprocessing.synchronize import Barrier
from pathlib import Path

from gateway.records import JobRecord
from gateway.services.populations import change_budget
from gateway.services.request_job import OverBudget, plan_job, request_job
from gateway.wiring import build
from kernel.amounts import Epsilon
from kernel.ids import DatasetId, JobId, PopulationId, PrincipalId
from privacy.accounting.price import price
from privacy.budget import ledger
from privacy.budget.ledger import Exhausted
from tests.support import crashes, postgres
from tests.support import declarations as declared
from tests.support.budgets import MANIFEST, permit
from tests.support.crashes import Place, Stage

PROCESSES = 6
ATTEMPTS = 60
"""Of each process."""
FITS = 100
JOB_EPSILON = "0.1"
PAUSE_SECONDS = 0.01

_together: Barrier


@dataclass(frozen=True)
class Ready:
    """A population with room for exactly `FITS` equal jobs, on a sealed dataset; to be copied for each race.

    Attributes:
        place: Its home and database, which no process has open.
        copied: Makes a copy in a folder that does not exist yet.
    """

    place: Place
    copied: Callable[[Path], AbstractContextManager[Place]]


@contextmanager
def ready(database: str, folder: Path) -> Iterator[Ready]:
    """Play the cycle up to the first request, with a budget cut to measure."""
    if database == "sqlite":
        yield Ready(_prepared(Place(folder / "ready")), lambda target: _copied_files(folder / "ready", target))
        return
    server = postgres.require()
    with server.database() as url:
        place = _prepared(Place(folder / "ready", url))
        name = url.partition("@/")[2].partition("?")[0]
        yield Ready(place, lambda target: _copied_database(place, server, name, target))


def race(pool: ProcessPoolExecutor, place: Place, way: str, seed: int) -> Counter[str]:
    """Let all processes ask, in one of `WAYS`; return how many of their answers were which."""
    running = [pool.submit(_ask, place, way, f"{seed}/{number}") for number in range(PROCESSES)]
    return sum((future.result(timeout=300) for future in running), Counter())


def processes() -> ProcessPoolExecutor:
    """As many processes as take part; each waits for all the others before its first request.

    They are forked: what was imported is there, and each opens a gateway of its own.
    """
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(PROCESSES)
    return ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_join, initargs=(barrier,))


def _join(barrier: Barrier) -> None:
    global _together  # noqa: PLW0603 - how a pool's initializer hands something to its tasks
    _together = barrier


def _ask(place: Place, way: str, seed: str) -> Counter[str]:
    drawn, answers = random.Random(seed), Counter[str]()
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        ask = WAYS[way](stage)
        _together.wait(timeout=120)
        for _ in range(ATTEMPTS):
            time.sleep(drawn.random() * PAUSE_SECONDS)
            answers["granted" if ask() else "refused"] += 1
    return answers


def _through_the_service(stage: Stage) -> Callable[[], bool]:
    """Requests as the API makes them: planned, decided, reserved, enqueued, logged."""
    spec = declared.training(DatasetId(stage.known["dataset"]), JOB_EPSILON)

    def ask() -> bool:
        answer = request_job(stage.on, stage.caller("trainer"), spec)
        assert isinstance(answer, JobRecord | OverBudget), answer
        return isinstance(answer, JobRecord)

    return ask


def _through_the_ledger(stage: Stage) -> Callable[[], bool]:
    """The verb in a unit of work with its entry, each by a trainer of its own: nothing but the ledger's lock orders."""
    caller, population = stage.caller("trainer"), PopulationId(stage.known["population"])
    spec = declared.training(DatasetId(stage.known["dataset"]), JOB_EPSILON)
    with stage.on.database.read() as reading:
        uses = plan_job(reading, caller.tenant, spec).plan.holds()

    def ask() -> bool:
        leave = permit(job=JobId.new(os.urandom), principal=PrincipalId.new(os.urandom))
        with stage.on.database.work(caller.tenant) as work:
            standing = work.ledger.lock(population, principal=leave.principal, job=leave.job)
            until = work.now + timedelta(days=1)
            answer = ledger.reserve(standing, leave, uses=uses, manifest=MANIFEST, expires_at=until)
            if isinstance(answer, Exhausted):
                work.record(answer.refusal)
            else:
                assert answer.change is not None
                work.ledger.append(answer.change)
                work.record(answer.change.event)
            work.commit("race")
        return not isinstance(answer, Exhausted)

    return ask


WAYS: Mapping[str, Callable[[Stage], Callable[[], bool]]] = {
    "service": _through_the_service,
    "ledger": _through_the_ledger,
}


def _prepared(place: Place) -> Place:
    crashes.prepared(place, "enrol", "register", "upload", "seal")
    with closing(build(place.settings)) as gateway:
        _cut_to_measure(Stage(place, gateway))
    return place


def _cut_to_measure(stage: Stage) -> None:
    """Set the budget so that the capacity holds `FITS` and a half of the jobs that will be asked for."""
    owner, population = stage.caller("owner"), PopulationId(stage.known["population"])
    spec = declared.training(DatasetId(stage.known["dataset"]), JOB_EPSILON)
    with stage.on.database.read() as reading:
        plan = plan_job(reading, owner.tenant, spec).plan
        budget = reading.ledger.read(population).account.population.budget
    one = price(*(hold.mechanism for hold in plan.holds()), order=budget.order).value
    # At a fixed order the capacity is epsilon less a constant.
    wanted = budget.epsilon.value - budget.capacity.value + one * (FITS + Decimal("0.5"))
    declared.allowed(change_budget(stage.on, owner, population, Epsilon.parse(str(round(wanted, 6)))))


@contextmanager
def _copied_files(source: Path, target: Path) -> Iterator[Place]:
    yield Place(source).copy(target)
    shutil.rmtree(target)


@contextmanager
def _copied_database(source: Place, server: postgres.Server, name: str, target: Path) -> Iterator[Place]:
    with server.database(template=name) as url:
        yield source.copy(target, url)
    shutil.rmtree(target)
