"""Outcome to settlement, and the desk's moves: nothing is released that was not paid for."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from kernel.amounts import Rdp
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.ids import JobId
from privacy.budget.reservations import Reservation
from privacy.jobs.outcome import Outcome
from privacy.release.desk import AFTER_VERDICT, MOVES, DeskVerdict, ReleaseState, move
from privacy.release.settlement import Charge
from tests.support.budgets import Book, fresh, training

ARTIFACT = Digest.of(b"weights")


def _charged(started: int = 120) -> Reservation:
    book = Book()
    job = book.spend(training(steps=200), started=[started])
    found = book.standing(job=job).reservation
    assert found is not None
    return found


def _outcome(of: Reservation, started: int = 120) -> Outcome:
    return Outcome(job=of.job, artifact=ARTIFACT, started=(started,))


def test_a_charged_job_settles_its_outcome() -> None:
    """The settlement holds the artefact, what was held and charged, and where that stands in the ledger."""
    reservation = _charged()
    charge = Charge.of(_outcome(reservation), reservation)
    assert (charge.artifact, charge.holds, charge.charges) == (ARTIFACT, reservation.holds, reservation.charges)
    assert charge.settled == reservation.settled
    charge.require_agreement(reservation.job, charge.settled.charge, charge.settled.ledger_seq)


def test_nothing_else_settles() -> None:
    """Another job, a hold that is open or only touched, or a charge for less than was started."""
    reservation = _charged()
    with pytest.raises(ConflictError):
        Charge.of(dataclasses.replace(_outcome(reservation), job=fresh(JobId)), reservation)
    with pytest.raises(ConflictError, match="less"):
        Charge.of(_outcome(reservation, 121), reservation)
    with pytest.raises(ConflictError, match="less"):
        Charge.of(dataclasses.replace(_outcome(reservation), started=(1, 1)), reservation)
    book = Book()
    job = book.hold(training(steps=200))
    for _ in range(2):
        held = book.standing(job=job).reservation
        assert held is not None
        with pytest.raises(ConflictError):
            Charge.of(_outcome(held), held)
        if book.standing(job=job).reservation == held:
            book.touch(job)


def test_a_charge_for_more_than_was_started_settles() -> None:
    """In doubt the whole hold is charged; that pays for any part of it."""
    reservation = _charged(200)
    assert Charge.of(_outcome(reservation, 7), reservation).charges == reservation.charges


def test_a_certificate_tells_the_ledgers_charge() -> None:
    """Another job, amount or place in the ledger is refused before it is signed."""
    charge = Charge.of(_outcome(reservation := _charged()), reservation)
    told = (charge.job, charge.settled.charge, charge.settled.ledger_seq)
    for wrong in ((fresh(JobId), *told[1:]), (told[0], Rdp.zero(), told[2]), (*told[:2], told[2] + 1)):
        with pytest.raises(InvalidError):
            charge.require_agreement(*wrong)


def test_the_desk_has_three_moves_and_no_other() -> None:
    """Held to released or refused, released to recalled; nothing is taken back or repeated."""
    allowed = {(before, after) for before, afters in MOVES.items() for after in afters}
    held, released = ReleaseState.HELD, ReleaseState.RELEASED
    assert allowed == {(held, released), (held, ReleaseState.REFUSED), (released, ReleaseState.RECALLED)}
    for before, after in itertools.product(ReleaseState, repeat=2):
        if (before, after) in allowed:
            assert move(before, after) is after
        else:
            with pytest.raises(ConflictError):
                move(before, after)
    assert {AFTER_VERDICT[verdict] for verdict in DeskVerdict} == {released, ReleaseState.REFUSED}
