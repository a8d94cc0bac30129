"""Noised jobs that race for the populations of several sites, each in its own order: whole or nothing, no deadlock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from gateway.records import JobRecord, JobState
from gateway.services.cancel_job import cancel_job
from gateway.services.collaborators import Collaborators
from gateway.services.collections.requesting import request_collection
from gateway.services.deciding import Caller
from gateway.services.populations import change_budget
from gateway.services.request_job import OverBudget
from gateway.wiring import build
from kernel.amounts import Epsilon
from kernel.events import Event
from kernel.ids import JobId, PopulationId, PrincipalId
from privacy.budget.fold import fold
from privacy.budget.reservations import ReservationState
from privacy.events.budget import BudgetRefused
from privacy.events.collections import CollectionRequested
from privacy.replay import replay
from tests.support.api import House, done, house
from tests.support.budgets import posted
from tests.support.databases import DATABASES, cases
from tests.support.hospitals import Hospitals

PROCESSES, ATTEMPTS, FITS = 4, 5, 6
ASKED = {
    "kind": "he.statistics", "result": "noised", "epsilon": "0.4", "family": None, "outcome": None, "predictors": None,
    "queries": [{"kind": "count"}],
}  # fmt: skip


@dataclass(frozen=True)
class Raced:
    """Four hospitals at a gateway; every job has the first of them, whose budget holds few of these jobs."""

    made: House
    hospitals: Hospitals

    @property
    def populations(self) -> list[PopulationId]:
        """Of the sites, the contended one first."""
        return [PopulationId(site.dataset["population"]) for site in self.hospitals.sites]

    def caller(self, name: str) -> Caller:
        """Somebody of this organisation."""
        return Caller(self.made.tenant, PrincipalId(self.made[name].principal))

    def asked(self, drawn: random.Random) -> dict[str, Any]:
        """A request for the first hospital and two others, in any order."""
        first, *others = self.hospitals.datasets
        datasets = [first, *drawn.sample(others, 2)]
        drawn.shuffle(datasets)
        body: dict[str, Any] = self.hospitals.body(**ASKED | {"datasets": datasets})["spec"]
        return body


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.slow), *cases(["postgres"])])
def raced(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Raced]:
    """On each database; SQLite has one writer, so that little can go wrong there."""
    with ExitStack() as open_:
        changes: dict[str, Any] = {}
        if request.param != "sqlite":
            changes["database_url"] = open_.enter_context(DATABASES[request.param](tmp_path))
        made = open_.enter_context(house(tmp_path / "home", **changes))
        found = Raced(made, Hospitals(made, tmp_path / "hospitals", (12, 11, 14, 13), exact=False))
        _cut_to_measure(found)
        yield found


def _cut_to_measure(of: Raced) -> None:
    """Set the first population's budget so that it holds `FITS` and a half of these jobs."""
    body = {"spec": of.asked(random.Random(0))}
    quote = done(of.made["trainer"].post("/v1/quotes", body))["quote"]["privacy"]
    (charge,) = {Decimal(one["charge"]) for one in quote["populations"]}
    population = of.populations[0]
    with of.made.gateway.on.database.read() as reading:
        budget = reading.ledger.read(population).account.population.budget
    wanted = budget.epsilon.value - budget.capacity.value + charge * (FITS + Decimal("0.5"))
    owner = of.made[of.hospitals.sites[0].owner]
    path = f"/v1/populations/{population}/budget"
    done(owner.put(path, {"epsilon": str(round(wanted, 6))}, headers={"If-Match": "*"}))
    # The second accountant answers once: racing threads would each ask a process of their own.
    job = done(of.made["trainer"].post("/v1/jobs", body), 202)["job"]
    done(of.made["trainer"].post(f"/v1/jobs/{job}/cancel"))


Turn = Callable[[Collaborators, random.Random], str]


def race(of: Raced, turns: Sequence[Turn]) -> Counter[str]:
    """Everybody takes turns at a gateway of his own, all at once; how many answers were which."""
    together = Barrier(len(turns))

    def run(number: int) -> Counter[str]:
        drawn, answers = random.Random(number), Counter[str]()
        with closing(build(of.made.gateway.settings)) as gateway:
            together.wait(timeout=60)
            for _ in range(ATTEMPTS):
                answers[turns[number](gateway.on, drawn)] += 1
        return answers

    with ThreadPoolExecutor(len(turns)) as pool:
        return sum(pool.map(run, range(len(turns))), Counter())


def test_populations_are_held_whole_or_not_at_all_whoever_is_faster(raced: Raced) -> None:
    """Of twenty requests for room for six exactly six are granted; nobody waits for himself, and no hold is alone."""

    def ask(on: Collaborators, drawn: random.Random) -> str:
        answer = request_collection(on, raced.caller("trainer"), raced.asked(drawn))
        assert isinstance(answer, JobRecord | OverBudget), answer
        return "granted" if isinstance(answer, JobRecord) else "refused"

    assert race(raced, [ask] * PROCESSES) == {"granted": FITS, "refused": PROCESSES * ATTEMPTS - FITS}
    held = _checked(raced)
    assert Counter(held.values()) == {3: FITS}


@pytest.mark.slow
def test_requests_cancellations_and_owners_do_not_wait_for_each_other_for_ever(raced: Raced) -> None:
    """A cancelled job gives back what it held everywhere; an owner changes a budget meanwhile."""

    def ask_and_cancel(on: Collaborators, drawn: random.Random) -> str:
        answer = request_collection(on, raced.caller("trainer"), raced.asked(drawn))
        assert isinstance(answer, JobRecord), answer
        assert isinstance(cancel_job(on, raced.caller("trainer"), JobId(answer.id)), JobRecord)
        return "cancelled"

    def change(on: Collaborators, drawn: random.Random) -> str:
        place = drawn.randrange(1, 4)
        owner, epsilon = raced.hospitals.sites[place].owner, Epsilon.parse(drawn.choice(["7", "8", "9"]))
        change_budget(on, raced.caller(owner), raced.populations[place], epsilon)
        return "changed"

    assert race(raced, [ask_and_cancel, change, ask_and_cancel]) == {"cancelled": 2 * ATTEMPTS, "changed": ATTEMPTS}
    assert _checked(raced) == {}


def _checked(of: Raced) -> Counter[JobId]:
    """Fold and replay every ledger; in how many populations each job still holds."""
    held: Counter[JobId] = Counter()
    kinds = (CollectionRequested, BudgetRefused)
    events: list[Event] = [
        kind.from_fields(entry["fields"]) for entry in of.made.log() for kind in kinds if entry["type"] == kind.TYPE
    ]
    with of.made.gateway.on.database.read() as reading:
        for population in of.populations:
            ledger = list(reading.ledger.events(population))
            state = fold(ledger)
            assert state.account == reading.ledger.read(population).account
            touched = [one for one in state.reservations.values() if one.state is ReservationState.TOUCHED]
            held.update(one.job for one in touched)
            events += ledger
        assert held.keys() <= {job.id for job in reading.jobs.all(state=JobState.COLLECTING)}
    assert replay(posted(events)).findings == ()
    return held
