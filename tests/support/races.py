"""Many processes that ask one population for more than it has, through the service that the API calls.

Rules
-----
1. Each process has its own gateway: its own connections, its own cached policy. Nothing is shared but the database.
2. All begin together, each asks in an order and with pauses of its own, drawn from a seed.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.synchronize import Barrier
from pathlib import Path

from gateway.records import JobRecord
from gateway.services.populations import change_budget
from gateway.services.request_job import OverBudget, plan_job, request_job
from gateway.wiring import build
from kernel.amounts import Epsilon
from kernel.ids import DatasetId, PopulationId
from privacy.accounting.price import price
from tests.support import crashes, postgres
from tests.support import declarations as declared
from tests.support.api import initialise
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


def race(pool: ProcessPoolExecutor, place: Place, seed: int) -> Counter[str]:
    """Let all processes ask; return how many of their answers were which."""
    running = [pool.submit(_ask, place, f"{seed}/{number}") for number in range(PROCESSES)]
    return sum((future.result(timeout=300) for future in running), Counter())


def processes() -> ProcessPoolExecutor:
    """As many processes as take part; each waits for all the others before its first request."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    return ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_join, initargs=(barrier,))


def _join(barrier: Barrier) -> None:
    global _together  # noqa: PLW0603 - how a pool's initializer hands something to its tasks
    _together = barrier


def _ask(place: Place, seed: str) -> Counter[str]:
    drawn, answers = random.Random(seed), Counter[str]()
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        spec = declared.training(DatasetId(stage.known["dataset"]), JOB_EPSILON)
        _together.wait(timeout=120)
        for _ in range(ATTEMPTS):
            time.sleep(drawn.random() * PAUSE_SECONDS)
            answer = request_job(stage.on, stage.caller("trainer"), spec)
            assert isinstance(answer, JobRecord | OverBudget), answer
            answers["granted" if isinstance(answer, JobRecord) else "refused"] += 1
    return answers


def _prepared(place: Place) -> Place:
    place.folder.mkdir()
    initialise(place.settings)
    for act in ("enrol", "register", "upload", "seal"):
        crashes.play(place, act, lambda _: None)
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
