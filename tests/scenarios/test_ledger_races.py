"""Invariant 1 between processes: of 360 requests for a budget of 100 exactly 100 are granted, whoever is faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.records import JobState
from gateway.wiring import build
from kernel.ids import PopulationId
from privacy.budget.fold import fold
from privacy.budget.reservations import ReservationState
from privacy.replay import replay
from tests.support import races
from tests.support.budgets import posted
from tests.support.crashes import Place, Stage
from tests.support.databases import DATABASES, cases
from tests.support.races import ATTEMPTS, FITS, PROCESSES, Ready

RUNS = [
    ("service", 0),
    *(pytest.param("service", seed, marks=pytest.mark.slow) for seed in (1,)),
    *(pytest.param("ledger", seed, marks=pytest.mark.slow) for seed in range(20)),
]


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """The processes that race, started once."""
    with races.processes() as made:
        yield made


@pytest.fixture(scope="module", params=cases(DATABASES))
def ready(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """A population with room for exactly 100 equal jobs, on each database."""
    with races.ready(request.param, tmp_path_factory.mktemp("race")) as made:
        yield made


@pytest.mark.parametrize(("way", "seed"), RUNS)
def test_processes_are_granted_exactly_what_fits(
    ready: Ready, pool: ProcessPoolExecutor, tmp_path: Path, way: str, seed: int
) -> None:
    """Six processes, 360 attempts, room for 100: answers, rows, events and log agree on 100 and on 260 refusals."""
    with ready.copied(tmp_path / "place") as place:
        answers = races.race(pool, place, way, seed)
        assert answers == {"granted": FITS, "refused": PROCESSES * ATTEMPTS - FITS}
        _check_books(place, jobs=FITS if way == "service" else 0)


def _check_books(place: Place, *, jobs: int) -> None:
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        population = PopulationId(stage.known["population"])
        with stage.on.database.read() as reading:
            events = list(reading.ledger.events(population))
            account = reading.ledger.read(population).account
            queued = reading.jobs.all(state=JobState.QUEUED)
            tasks = [reading.tasks.for_subject(job.id) for job in queued]
            seqs = reading.connection.execute(text("SELECT seq FROM log_entry ORDER BY seq")).scalars().all()
            types = Counter(reading.connection.execute(text("SELECT type FROM log_entry")).scalars().all())
    state = fold(events)
    assert [event.ledger_seq for event in events] == list(range(1, len(events) + 1))
    assert replay(posted(events)).findings == ()
    assert state.standing().account == account
    held = [one for one in state.reservations.values() if one.state is ReservationState.HELD]
    assert (len(held), len(queued), sum(task is not None for task in tasks)) == (FITS, jobs, jobs)
    assert list(seqs) == list(range(len(seqs)))
    assert (types["budget:reserved"], types["budget:refused"]) == (FITS, PROCESSES * ATTEMPTS - FITS)
