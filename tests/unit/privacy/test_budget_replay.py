"""Replay: what an offline verifier sees in a ledger, and what it must not overlook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kernel.amounts import Epsilon, Rdp, Share
from kernel.canonical import Digest
from kernel.events import Parameter
from kernel.ids import DatasetId, DecisionId, JobId, PartyId, PopulationId, Slug
from privacy.budget import ledger
from privacy.budget.ledger import Exhausted
from privacy.budget.reservations import Block, BlockUse
from privacy.events.budget import (
    BudgetCharged,
    BudgetEvent,
    BudgetExpired,
    BudgetReserved,
    BudgetTouched,
    BudgetVoided,
    PopulationCreated,
)
from privacy.events.collections import CollectionRequested
from privacy.events.jobs import JobStarted
from privacy.replay import Fault, Replay, replay
from tests.support.budgets import NOW, SOON, Book, counts, fresh, permit, population, posted, training


def full_book() -> Book:
    """A ledger in which every kind of event occurs."""
    book = Book()
    trainer = permit().principal
    book.keep(ledger.cap_trainer(book.standing(trainer), Share.parse("0.7")))
    book.spend(training(noise="6"), principal=trainer)
    book.spend(counts(noise="5", count=4), started=[2])
    resumed = book.hold(training(noise="8", steps=250))
    book.touch(resumed)
    book.touch(resumed, attempt=2)
    book.keep(ledger.charge_in_full(book.standing(job=resumed)))
    book.keep(ledger.void(book.standing(job=book.hold(training()))))
    book.keep(ledger.change_budget(book.standing(), Epsilon.parse("4")))
    book.hold(training(noise="9"), counts())
    book.keep(ledger.mark_uncovered(book.standing()))
    book.keep(ledger.retire(book.standing()))
    return book


def faults(events: Sequence[Any]) -> list[Fault]:
    """The faults that a replay of these events reports."""
    return [finding.fault for finding in replay(posted(events)).findings]


def changed(book: Book, kind: type[BudgetEvent], **changes: Any) -> list[BudgetEvent]:
    """The book's events with fields of the first event of a kind changed."""
    at = next(i for i, event in enumerate(book.events) if isinstance(event, kind))
    return [*book.events[:at], replace(book.events[at], **changes), *book.events[at + 1 :]]


def test_a_sound_ledger_replays_to_its_live_balances() -> None:
    """Silence and equality: the fold of the events is what the gateway had."""
    book = full_book()
    result = replay(posted(book.events))
    assert result.findings == ()
    assert result.checked == len(book.events)
    state = result.ledgers[book.id]
    assert state.account == book.state.account
    assert state.reservations == book.state.reservations
    assert state.trainers == book.state.trainers


def test_the_order_of_the_log_counts_for_nothing() -> None:
    """RULES 9: entries that reached the log in another order show no false overdraft and no gap."""
    book = Book()
    for _ in range(4):
        job = book.hold(training(noise="3.3"))
        book.keep(ledger.void(book.standing(job=job)))
    # In this order every hold comes before any void: three times the capacity, if it were believed.
    book.events.sort(key=lambda event: (isinstance(event, BudgetVoided), event.ledger_seq))
    assert replay(posted(book.events)).findings == ()


def test_several_ledgers_are_kept_apart() -> None:
    """Each population is folded by its own numbers, however their entries interleave."""
    books = [full_book(), full_book(), full_book()]
    mixed = [event for row in zip(*(book.events for book in books), strict=True) for event in row]
    result = replay(posted(mixed))
    assert result.findings == ()
    assert set(result.ledgers) == {book.id for book in books}


@pytest.mark.parametrize("missing", range(1, 10))
def test_a_missing_number_is_reported_where_it_is(missing: int) -> None:
    """RULES 9: no event can be left out of a ledger unnoticed, except at its end."""
    book = full_book()
    events = [event for event in book.events if event.ledger_seq != missing + 1]
    found = replay(posted(events)).findings
    assert (found[0].fault, found[0].ledger_seq) == (Fault.GAP, missing + 2)
    assert found[0].population == book.id
    assert found[0].index == missing


def test_a_missing_beginning_is_reported() -> None:
    """A ledger without its population proves nothing."""
    assert faults(full_book().events[1:])[0] is Fault.UNOPENED


def test_a_repeated_number_is_reported() -> None:
    """Two events under one number: the second one is not part of the ledger."""
    book = full_book()
    assert faults([*book.events, book.events[3]]) == [Fault.REPEATED]


def test_an_overdrawn_prefix_is_reported_even_if_it_ends_well() -> None:
    """Invariant 1 holds for every prefix, not for the end alone."""
    book = Book()
    first = book.hold(training(noise="3.3"))
    reserved = book.events[1]
    other = fresh(JobId)
    sneaked = replace(reserved, job=other, principal=permit().principal, ledger_seq=3)
    ends = [
        BudgetVoided(population=book.id, ledger_seq=4, job=first),
        BudgetVoided(population=book.id, ledger_seq=5, job=other),
    ]
    result = replay(posted([*book.events, sneaked, *ends]))
    assert [(f.fault, f.ledger_seq, f.index) for f in result.findings if f.fault is Fault.OVERDRAWN] == [
        (Fault.OVERDRAWN, 3, 2)
    ]
    assert result.ledgers[book.id].account.committed == Rdp.zero()


def repriced(book: Book, kind: type[BudgetEvent], by: str) -> list[BudgetEvent]:
    """The book's events with the prices of the first event of a kind multiplied."""
    event = next(event for event in book.events if isinstance(event, kind))
    name = "holds" if kind is BudgetReserved else "charges"
    parts = tuple(replace(p, price=Rdp.up(p.price.value * Decimal(by))) for p in getattr(event, name))
    return changed(book, kind, **{name: parts})


def test_prices_are_computed_again() -> None:
    """RULES 24: a stated price is at least ours and at most 1.01 of it, for holds and for charges."""
    assert Fault.UNDERPRICED in faults(repriced(full_book(), BudgetReserved, "0.999"))
    assert Fault.OVERPRICED in faults(repriced(full_book(), BudgetReserved, "1.011"))
    assert Fault.UNDERPRICED in faults(repriced(full_book(), BudgetCharged, "0.999"))
    assert faults(repriced(full_book(), BudgetReserved, "1.009")) == []


def test_a_mechanism_cannot_be_made_harmless_afterwards() -> None:
    """More noise on paper than in the price, or the other way round, is a finding."""
    book = full_book()
    event = next(event for event in book.events if isinstance(event, BudgetReserved))
    for noise, fault in (("5.5", Fault.UNDERPRICED), ("6.5", Fault.OVERPRICED)):
        hold = replace(event.holds[0], mechanism=replace(event.holds[0].mechanism, noise_multiplier=Parameter(noise)))
        assert fault in faults(changed(book, BudgetReserved, holds=(hold,)))


def test_what_nobody_can_price_is_a_finding() -> None:
    """A mechanism whose price overflows is not passed over."""
    book = full_book()
    event = next(event for event in book.events if isinstance(event, BudgetReserved))
    cheap = replace(event.holds[0].mechanism.repeated(10**9), noise_multiplier=Parameter("0.05"))
    hold = replace(event.holds[0], mechanism=cheap)
    assert Fault.UNDERPRICED in faults(changed(book, BudgetReserved, holds=(hold,)))


def reorder(book: Book) -> list[BudgetEvent]:
    """Another order than the best."""
    return changed(book, PopulationCreated, order=20)


def enlarge(book: Book) -> list[BudgetEvent]:
    """A larger capacity than epsilon gives."""
    return changed(book, PopulationCreated, capacity=Rdp.parse("2.5"))


def loosen(book: Book) -> list[BudgetEvent]:
    """A larger capacity than the changed epsilon gives."""
    event = next(event for event in book.events if event.TYPE == "budget:changed")
    return changed(book, type(event), capacity=Rdp.parse("3"))


@pytest.mark.parametrize("forge", [reorder, enlarge, loosen])
def test_order_and_capacity_must_follow(forge: Callable[[Book], list[BudgetEvent]]) -> None:
    """RULES 4, 10: the verifier derives them itself."""
    assert Fault.BUDGET in faults(forge(full_book()))


def test_illegal_moves_are_reported() -> None:
    """RULES 8: void after touch, charge without touch, charge beyond the hold."""
    book = Book()
    job = book.hold(training())
    charge = book.state.reservations[job].holds[0].charge(10, book.state.account.population.budget.order)
    early = BudgetCharged(population=book.id, ledger_seq=3, job=job, charges=(charge,), in_full=False)
    assert faults([*book.events, early]) == [Fault.ILLEGAL]
    book.touch(job)
    assert faults([*book.events, BudgetVoided(population=book.id, ledger_seq=4, job=job)]) == [Fault.ILLEGAL]
    assert faults([*book.events, replace(book.events[-1], ledger_seq=4)]) == [Fault.ILLEGAL]
    dear = book.state.reservations[job].holds[0].price + Rdp.parse("0.000000001")
    for more in (replace(charge, times=201), replace(charge, price=dear), replace(charge, block=Block.HOLDOUT)):
        beyond = BudgetCharged(population=book.id, ledger_seq=4, job=job, charges=(more,), in_full=False)
        assert faults([*book.events, beyond]) == [Fault.ILLEGAL]
    partly = BudgetCharged(population=book.id, ledger_seq=4, job=job, charges=(charge,), in_full=True)
    assert faults([*book.events, partly]) == [Fault.ILLEGAL]


def test_a_job_has_one_home() -> None:
    """One job with holds in two populations is a finding."""
    one, two = Book(), Book()
    leave = permit()
    one.reserve([training()], leave)
    two.reserve([training()], leave)
    assert faults([*one.events, *two.events]) == [Fault.TWO_HOMES]


@pytest.mark.parametrize(
    ("uses", "found"),
    [
        ([counts(), counts(block=Block.TRAIN)], []),
        ([counts(block=Block.TRAIN)], [Fault.PART]),
        ([counts(noise="20"), counts(block=Block.TRAIN)], [Fault.PART]),
    ],
)
def test_a_job_on_data_of_sites_holds_on_every_block(uses: list[BlockUse], found: list[Fault]) -> None:
    """Nobody knows who is in a site's file: both sides of the split, and the same price on both."""
    book, leave = Book(), permit()
    book.reserve(uses, leave)
    assert faults([of_sites(book, leave.job), *book.events]) == found
    assert faults(book.events) == []


def test_home_blocks_that_were_opened_before_are_held_too() -> None:
    """Whenever the site attested its rows: those of the first block alone are not all that it may read."""
    for home, earlier, found in ((1, None, [Fault.PART]), (2, None, [Fault.PART]), (2, True, [])):
        book, leave = Book(), permit()
        book.keep(ledger.open_block(book.standing(), 100))
        sides = (counts(block=side.at(home)) for side in (Block.TRAIN, Block.HOLDOUT))
        book.reserve([replace(use, earlier=earlier) for use in sides], leave)
        assert faults([of_sites(book, leave.job), *book.events]) == found


def of_sites(book: Book, job: JobId) -> CollectionRequested:
    """A noised job on data of sites is asked of a population."""
    return CollectionRequested(
        job=job,
        kind=Slug("he.statistics"),
        dataset=fresh(DatasetId),
        population=book.id,
        party=fresh(PartyId),
        key_holder=fresh(PartyId),
        purpose=Slug("research"),
        request=Digest.of(b"request"),
        exact=False,
        decision=fresh(DecisionId),
        awaits_approval=False,
    )


def test_time_is_held_against_the_expiry() -> None:
    """A hold freed too early or touched too late is a finding."""
    book = Book()
    job = book.hold(training())
    freed = BudgetExpired(population=book.id, ledger_seq=3, job=job)
    touched = BudgetTouched(population=book.id, ledger_seq=3, job=job, attempt=1)
    early, late = SOON - timedelta(seconds=1), SOON
    for event, at, expected in (
        (freed, early, (Fault.EARLY,)),
        (freed, late, ()),
        (touched, early, ()),
        (touched, late, (Fault.LATE,)),
    ):
        entries = [*posted(book.events, NOW), *posted([event], at)]
        assert tuple(finding.fault for finding in replay(entries).findings) == expected


def test_a_cap_that_was_exceeded_is_told_apart_from_the_guarantee() -> None:
    """Caps are access policy: exceeding one is a finding of its own kind."""
    book = Book()
    book.hold(training(noise="4"))
    assert faults(changed(book, BudgetReserved, trainer_share=Share.parse("0.01"))) == [Fault.OVER_CAP]


def refusal(book: Book) -> Any:
    """A refusal at the end of the book."""
    answer = book.reserve([training(noise="2")])
    assert isinstance(answer, Exhausted)
    return answer.refusal


def test_refusals_are_checked_where_they_stood() -> None:
    """A refusal must tell what was left, and must have had a reason."""
    book = Book()
    book.spend(training(noise="4"))
    told = refusal(book)
    book.spend(training(noise="20"))
    assert faults([told, *book.events]) == []
    assert replay(posted([told, *book.events])).checked == len(book.events) + 1
    modest = tuple(replace(limit, requested=Rdp.parse("0.000000001")) for limit in told.limits)
    hidden = tuple(replace(limit, available=Rdp.zero()) for limit in told.limits)
    for false in (
        replace(told, limits=modest),
        replace(told, limits=hidden),
        replace(told, retired=True),
        replace(told, after=told.after + 1),
        replace(told, after=999),
        replace(told, population=fresh(PopulationId)),
    ):
        assert faults([*book.events, false]) == [Fault.REFUSAL]


def test_other_events_are_passed_over_and_not_counted() -> None:
    """Replay looks at budgets alone; whoever reports completeness counts the rest."""
    result = replay(posted([JobStarted(job=fresh(JobId), attempt=1)]))
    assert result == Replay(ledgers={}, findings=(), checked=0)


def test_a_population_that_breaks_the_delta_rule_is_not_opened() -> None:
    """RULES 13: the verifier applies the rule too."""
    book = Book(population(public_size=600))
    assert faults(changed(book, PopulationCreated, public_size=90_000))[0] is Fault.ILLEGAL


def test_blocks_are_held_against_the_capacity_one_by_one() -> None:
    """RULES 2: two blocks may each be nearly full."""
    book = Book()
    book.spend(training(noise="3.3"))
    book.spend(counts(noise="1.9"))
    account = book.state.account
    half = account.population.budget.part(Share.parse("0.5"))
    assert account.balance(Block.TRAIN).charged > half
    assert account.balance(Block.HOLDOUT).charged > half
    assert replay(posted(book.events)).findings == ()
