"""A hospital with sealed rows and a trainer who may train and evaluate; each test plays somebody who means harm."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.records import JobRecord, TaskRecord, TaskState
from gateway.services.run_job import open_envelope
from kernel.ids import JobId
from tests.support.api import (
    House,
    dataset_body,
    done,
    grant_body,
    house,
    job_body,
    population_body,
    reopened,
    rows_csv,
    worker_of,
)

RECIPE = {"steps": 5, "expected_batch": 64}
Open = Callable[[], House]


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, House]:
    """A stopped gateway with a population, a sealed dataset, a grant for `trainer` and one for `peer`."""
    home = tmp_path_factory.mktemp("attacked") / "home"
    with house(home) as made:
        admin, owner = made["admin"], made["owner"]
        for purpose, within in (("research", []), ("research/oncology", ["research"])):
            done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
        made.ids["population"] = done(owner.post("/v1/populations", population_body(epsilon="20")), 201)["population"]
        made.ids["dataset"] = register(made, made.ids["population"])
        for name in ("trainer", "peer"):
            body = grant_body(made[name].principal, made.ids["dataset"])
            made.ids[f"grant of {name}"] = done(owner.post("/v1/grants", body), 201)["grant"]
        upload(made, made.ids["dataset"])
        made.settle()
    return home, made


@pytest.fixture
def opened(hospital: tuple[Path, House], tmp_path: Path) -> Iterator[Open]:
    """Opens a gateway on a copy of the hospital; it is closed with the test."""
    home, like = hospital
    with ExitStack() as stack:

        def open_copy() -> House:
            copy = tmp_path / "home"
            shutil.copytree(home, copy)
            context: AbstractContextManager[House] = reopened(copy, like)
            made = stack.enter_context(context)
            made.ids = dict(like.ids)
            return made

        yield open_copy


@pytest.fixture
def made(opened: Open) -> House:
    """A running copy of the hospital."""
    return opened()


def register(made: House, population: str, **changes: Any) -> str:
    """Register a dataset of the small table; return its id."""
    return str(done(made["owner"].post("/v1/datasets", dataset_body(population, **changes)), 201)["dataset"])


def send(made: House, dataset: str, data: bytes = b"") -> str:
    """Stage an upload; return where its owner reads what became of it."""
    sent = made["owner"].put(f"/v1/datasets/{dataset}/content", content=data or rows_csv())
    done(sent, 202)
    return str(sent.headers["location"])


def upload(made: House, dataset: str, data: bytes = b"") -> dict[str, Any]:
    """Stage an upload and let a worker seal or refuse it; return what its owner sees."""
    place = send(made, dataset, data)
    assert worker_of(made).step()
    found: dict[str, Any] = done(made["owner"].get(place))
    return found


def ask(made: House, who: str = "trainer", **changes: Any) -> str:
    """Request a small training job; return its id."""
    body = job_body(made.ids["dataset"], **({"recipe": RECIPE} | changes))
    return str(done(made[who].post("/v1/jobs", body), 202)["job"])


def claim(made: House) -> TaskRecord:
    """Lease the next task, as a worker does."""
    with made.gateway.on.database.upkeep("claim") as work:
        task = work.tasks.claim("worker", made.gateway.on.clock.now(), 60)
    assert task is not None
    return task


def opens(made: House, task: TaskRecord) -> bool:
    """Whether a worker with this task gets the data key."""
    found = open_envelope(made.gateway.on, task)
    if found is not None:
        found.key.wipe()
    return found is not None


def job_of(made: House, job: str) -> JobRecord:
    """The job's row."""
    with made.gateway.on.database.read() as reading:
        return reading.jobs.get(id=JobId(job))


def task_state(made: House, job: str) -> TaskState:
    """Where the job's task stands."""
    with made.gateway.on.database.read() as reading:
        task = reading.tasks.for_subject(job)
    assert task is not None
    return task.state


def told(made: House, job: str) -> list[str]:
    """The kinds of the entries about a job, oldest first."""
    return [entry["type"] for entry in made.log() if entry.get("correlation") == job]


def held(made: House) -> Decimal:
    """What is held of the population's budget, over its blocks."""
    budget = done(made["owner"].get(f"/v1/populations/{made.ids['population']}"))
    return max(Decimal(block["held"]) for block in budget["blocks"])
