"""The verifier on histories in which an exact result left, or could have been read, before its people were marked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.entry import Actor
from compliance import history as compliance
from compliance.checks.catalogue import CATALOGUE
from compliance.checks.check import Tally
from kernel.amounts import Rdp
from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DatasetId, DecisionId, JobId, PartyId, PopulationId, Slug, TenantId
from privacy.budget.reservations import Block, BlockCharge
from privacy.events.budget import BudgetCharged, BudgetTouched, PopulationUncovered
from privacy.events.collections import CollectionRequested, OrderIssued, RoundDecrypted, RoundOpened, UploadReceived
from privacy.events.jobs import JobEnd, JobEnded
from privgate.verify.disclosures import unmarked
from privgate.verify.history import Entered, History
from privgate.verify.jobs import check_jobs

JOB, OTHER = JobId.new(os.urandom), JobId.new(os.urandom)
FIRST, SECOND, THIRD = (PopulationId.new(os.urandom) for _ in range(3))


def asked(population: PopulationId, *, exact: bool = True) -> CollectionRequested:
    """A job on a population."""
    return CollectionRequested(
        job=JOB,
        kind=Slug("he.glm"),
        dataset=DatasetId.new(os.urandom),
        population=population,
        party=PartyId.new(os.urandom),
        key_holder=PartyId.new(os.urandom),
        purpose=Slug("research"),
        request=Digest.of(b"request"),
        exact=exact,
        decision=DecisionId.new(os.urandom),
        awaits_approval=True,
    )


def mark(population: PopulationId, job: JobId = JOB) -> PopulationUncovered:
    """A population's mark."""
    return PopulationUncovered(population=population, ledger_seq=2, job=job)


DECRYPTED = RoundDecrypted(job=JOB, number=1, result=Digest.of(b"result"), sites=3, learned=8, decryptions=1)
UPLOADED = UploadReceived(job=JOB, number=1, party=PartyId.new(os.urandom), upload=Digest.of(b"upload"))
FINISHED = JobEnded(job=JOB, end=JobEnd.FINISHED, attempts=0, steps_started=0)
FAILED = JobEnded(job=JOB, end=JobEnd.FAILED, attempts=0, steps_started=0)
READ, LEFT = "a sum was decrypted before", "an exact result left"


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([mark(FIRST), mark(SECOND), DECRYPTED, FINISHED], []),
        ([FAILED], []),
        ([mark(FIRST), mark(SECOND), DECRYPTED, FAILED], []),
        ([DECRYPTED, mark(FIRST), mark(SECOND), FINISHED], [READ]),
        ([mark(FIRST), DECRYPTED, FAILED], [READ]),
        ([mark(FIRST), mark(SECOND, OTHER), DECRYPTED, FINISHED], [READ, LEFT]),
        ([FINISHED], [LEFT]),
    ],
)
def test_every_population_is_marked_before_a_sum_can_be_read(events: list[Any], found: list[str]) -> None:
    """Marks of other jobs do not count, nor do late ones; a job in which nothing was decrypted needs none."""
    at = datetime(2026, 11, 27, tzinfo=UTC)
    entries = [
        Entered(index, "audit/payloads/000000.jsonl", at, Actor(), Digest.of(bytes([index])), event)
        for index, event in enumerate([asked(FIRST), asked(SECOND), *events])
    ]
    said = [problem for _, problem in unmarked(History(entries=list(entries)))]
    assert [problem.startswith(start) for problem, start in zip(said, found, strict=True)] == [True] * len(found)


def touch(population: PopulationId, job: JobId = JOB) -> BudgetTouched:
    """A population's hold passes the point of no return."""
    return BudgetTouched(population=population, ledger_seq=3, job=job, attempt=1)


def order(*, exact: bool = False) -> OrderIssued:
    """The parties are told."""
    return OrderIssued(
        job=JOB,
        order=Digest.of(b"order"),
        participants=Digest.of(b"sites"),
        profile=Slug("bfv-2048-wide-public"),
        key_holder=PartyId.new(os.urandom),
        exact=exact,
    )


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([touch(FIRST), touch(SECOND), order(), DECRYPTED, FINISHED], 0),
        ([touch(FIRST), order(), touch(SECOND), DECRYPTED, FINISHED], 1),
        ([touch(FIRST), touch(SECOND, OTHER), order(), FAILED], 1),
        ([touch(FIRST), touch(SECOND), order(exact=True), FAILED], 1),
    ],
)
def test_every_population_of_a_noised_job_holds_it_before_its_order(events: list[Any], found: int) -> None:
    """From the order on a site may send; an order of an exact result is none for a request with noise."""
    at = datetime(2026, 11, 27, tzinfo=UTC)
    requests = [asked(population, exact=False) for population in (FIRST, SECOND, THIRD)]
    entries = [
        Entered(index, "audit/payloads/000000.jsonl", at, Actor(), Digest.of(bytes([index])), event)
        for index, event in enumerate([*requests, touch(THIRD), *events])
    ]
    assert len([problem for _, problem in unmarked(History(entries=list(entries)))]) == found


def opened(number: int) -> RoundOpened:
    """The sites are asked."""
    return RoundOpened(job=JOB, number=number, round=Digest.of(b"round"))


def charge(times: int) -> BudgetCharged:
    """A population is charged for so many Gaussians."""
    part = BlockCharge(block=Block.TRAIN, times=times, price=Rdp.zero())
    return BudgetCharged(population=FIRST, ledger_seq=4, job=JOB, charges=(part,), in_full=False)


@pytest.mark.parametrize(
    ("kind", "rounds", "times", "fine"),
    [
        ("he.aggregate", 2, 2, True),
        ("he.aggregate", 2, 1, False),
        ("he.glm", 3, 1, True),
        ("he.glm", 1, 0, False),
        ("he.glm", 0, 0, True),
        ("he.unheard-of", 2, 1, False),
    ],
)
def test_a_job_pays_for_the_rounds_that_the_log_has_opened(kind: str, rounds: int, times: int, fine: bool) -> None:
    """Whatever its last entry says of how much was started; by the verifier and by a report."""
    last = JobEnded(job=JOB, end=JobEnd.CANCELLED, attempts=0, steps_started=times)
    everybody = (FIRST, SECOND, THIRD)
    told: list[Any] = [replace(asked(population, exact=False), kind=Slug(kind)) for population in everybody]
    told += [*map(touch, everybody), order(), *(opened(n + 1) for n in range(rounds))]
    told += [*(replace(charge(times), population=population) for population in everybody), last]
    at, leaf = datetime(2026, 11, 27, tzinfo=UTC), Digest.of(b"leaf")
    entries = [
        Entered(index, "audit/payloads/000000.jsonl", at, Actor(), leaf, event) for index, event in enumerate(told)
    ]
    assert (check_jobs(History(entries=list(entries))).locations == ()) is fine
    judged = tuple(compliance.Entered(index, at, Actor(), None, leaf, event) for index, event in enumerate(told))
    history = compliance.History(
        tenant=TenantId.new(os.urandom), origin="log", from_size=0, until_size=len(told), root=leaf, entries=judged,
        steps=(),
    )  # fmt: skip
    tally = Tally()
    CATALOGUE[Slug("runs.charged")].look(history, tally)
    assert (tally.wrong == []) is fine


@pytest.mark.parametrize(
    ("populations", "found"),
    [((FIRST, SECOND, THIRD), 0), ((FIRST, SECOND), 1), ((FIRST, SECOND, FIRST), 1), ((), 1)],
)
def test_an_order_that_nobody_asked_for_is_found_out(populations: Sequence[PopulationId], found: int) -> None:
    """One for fewer people than a job must have; most of all for none, of whom nothing is held."""
    requests = [asked(population, exact=False) for population in populations]
    touches = [touch(event.population) for event in requests]
    problems = [problem for _, problem in unmarked(entered([*requests, *touches, order()]))]
    assert len(problems) == found


@pytest.mark.parametrize("event", [DECRYPTED, UPLOADED])
def test_rounds_are_paid_that_the_log_tells_only_by_what_came_of_them(event: Event) -> None:
    """A sum was read, and the entry that opened its round is not here."""
    everybody = (FIRST, SECOND, THIRD)
    requests = [asked(population, exact=False) for population in everybody]
    charges = [replace(charge(0), population=population) for population in everybody]
    last = JobEnded(job=JOB, end=JobEnd.CANCELLED, attempts=0, steps_started=0)
    history = entered([*requests, *map(touch, everybody), order(), event, *charges, last])
    problems = {one.what for one in check_jobs(history).locations}
    assert problems == {"the job was charged for less than it started"}


@pytest.mark.parametrize("late", [DECRYPTED, RoundOpened(job=JOB, number=1, round=Digest.of(b"round"))])
def test_no_document_of_a_party_comes_after_the_end_of_its_job(late: Event) -> None:
    """What was read then was paid by nobody."""
    ended = JobEnded(job=JOB, end=JobEnd.CANCELLED, attempts=0, steps_started=0)
    history = entered([asked(FIRST, exact=False), touch(FIRST), charge(0), ended, late])
    assert [one.what for one in check_jobs(history).locations] == ["the job had ended before"]


@pytest.mark.parametrize("twice", [order(), opened(1), UPLOADED, DECRYPTED])
def test_two_rounds_on_one_charge_are_found_out(twice: Event) -> None:
    """A second order goes to other sites, a second round of one number is read again: neither is paid."""
    everybody = (FIRST, SECOND, THIRD)
    whole = [order(), opened(1), UPLOADED, DECRYPTED]
    requests = [replace(asked(population, exact=False), kind=Slug("he.statistics")) for population in everybody]
    charges = [replace(charge(1), population=population) for population in everybody]
    last = JobEnded(job=JOB, end=JobEnd.CANCELLED, attempts=0, steps_started=1)
    for more, found in (([], []), ([twice], ["a document of this place was there before"])):
        history = entered([*requests, *map(touch, everybody), *whole, *more, *charges, last])
        assert [one.what for one in check_jobs(history).locations] == found


def entered(events: Sequence[Event]) -> History:
    """A history of these events."""
    at = datetime(2026, 11, 27, tzinfo=UTC)
    entries = [
        Entered(index, "audit/payloads/000000.jsonl", at, Actor(), Digest.of(bytes([index])), event)
        for index, event in enumerate(events)
    ]
    return History(entries=list(entries))
