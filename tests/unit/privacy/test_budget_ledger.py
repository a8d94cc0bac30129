"""The ledger's verbs, rule by rule."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, localcontext

import pytest

from kernel.amounts import Epsilon, Rdp, Share
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.events import Parameter
from kernel.ids import JobId, PrincipalId
from privacy.accounting.calibration import calibrate, calibrate_to_price, largest_epsilon, sampled_gaussian
from privacy.accounting.price import price
from privacy.accounting.rdp import job_epsilon
from privacy.budget import ledger
from privacy.budget.ledger import Exhausted, Reserved
from privacy.budget.reservations import Block, BlockUse, ReservationState, steps_covered
from privacy.events.budget import Scope
from tests.support.budgets import ALL, NOW, SOON, Book, budget, counts, fresh, permit, population, pure, training


def cost(use: BlockUse, book: Book) -> Rdp:
    """The price at the population's order."""
    return price(use.mechanism, order=book.state.account.population.budget.order)


def test_every_dataset_of_a_population_draws_on_one_budget() -> None:
    """RULES 1: another version, another upload, another file of the same people frees nothing."""
    book = Book()
    book.spend(training())
    leave, manifest = permit(), Digest.of(b"the same file, registered again")
    standing = book.standing(leave.principal, leave.job)
    answer = ledger.reserve(standing, leave, uses=[training()], manifest=manifest, expires_at=SOON)
    assert isinstance(answer, Reserved)
    book.keep(answer.change)
    assert answer.reservation.manifest == manifest
    assert book.state.account.committed == cost(training(), book) * 2


def test_disjoint_blocks_compose_in_parallel() -> None:
    """RULES 2: the balance is the maximum over blocks; within a block everything adds up."""
    book = Book()
    book.spend(training())
    book.spend(counts(block=Block.HOLDOUT))
    book.spend(pure(block=Block.TRAIN))
    account = book.state.account
    trained = cost(training(), book) + cost(pure(), book)
    assert account.balance(Block.TRAIN).charged == trained
    assert account.balance(Block.HOLDOUT).charged == cost(counts(), book)
    assert account.charged == account.committed == max(trained, cost(counts(), book))
    book.hold(training())
    assert book.state.account.charged == account.charged
    assert book.state.account.committed == account.committed + cost(training(), book)


def test_a_population_without_holdout_has_no_holdout_block() -> None:
    """Nothing can be charged to people who do not exist."""
    book = Book(population(holdout_share=Share.zero()))
    with pytest.raises(InvalidError):
        book.reserve([counts(block=Block.HOLDOUT)])


def test_the_ledger_prices_for_itself() -> None:
    """RULES 4, 5: prices come from mechanisms alone, exactly, rounded up once for everything that is held."""
    book = Book()
    answer = book.reserve([training(steps=1000), counts(count=3)])
    assert isinstance(answer, Reserved)
    assert [hold.price for hold in answer.reservation.holds] == [
        cost(training(steps=1000), book),
        cost(counts(count=3), book),
    ]
    assert all(hold.price.value % Decimal("1e-9") == 0 for hold in answer.reservation.holds)


def test_a_budget_is_what_allot_gives() -> None:
    """RULES 4: a population with another order or a larger capacity is refused when it is created."""
    terms = budget()
    for wrong in (replace(terms, order=terms.order + 1), replace(terms, capacity=terms.capacity + Rdp.parse("0.1"))):
        with pytest.raises(InvalidError):
            ledger.create(population(budget=wrong))


def test_what_does_not_fit_is_answered_with_what_remains() -> None:
    """RULES 6: a refusal is a value; it names the scope, what was asked and what is left, and changes nothing."""
    book = Book()
    book.spend(training(noise="3"))
    before = book.state.account
    answer = book.reserve([training(noise="1.5"), counts()])
    assert isinstance(answer, Exhausted)
    short = {(limit.scope, limit.block) for limit in answer.shortfalls}
    assert short == {(Scope.POPULATION, Block.TRAIN), (Scope.TRAINER, Block.TRAIN)}
    for limit in answer.shortfalls:
        assert limit.requested == cost(training(noise="1.5"), book)
        assert limit.available < limit.requested
    assert answer.refusal.after == before.ledger_seq
    assert book.state.account == before


def test_the_largest_job_offered_is_accepted_and_one_percent_more_is_refused() -> None:
    """RULES 6: through the ledger itself, after other jobs, with a hold that covers a resume."""
    book = Book()
    book.spend(training(noise="4"))
    terms = book.state.account.population.budget
    rate, steps = Parameter("0.1"), 200
    covered = steps_covered(steps, resumes=1, savepoint_interval=50)
    shape, held = sampled_gaussian(rate, steps), sampled_gaussian(rate, covered)
    left = ledger.available(book.standing(fresh(PrincipalId)), Block.TRAIN, ALL)
    largest = largest_epsilon(shape, held, left, terms.order, terms.delta)
    assert largest is not None

    def asked(epsilon: Epsilon) -> BlockUse:
        return BlockUse(block=Block.TRAIN, mechanism=held(calibrate(shape, epsilon, terms.delta))[0])

    more = Epsilon.down(largest.value * Decimal("1.01"))
    assert isinstance(book.reserve([asked(more)]), Exhausted)
    assert isinstance(book.reserve([asked(largest)]), Reserved)


def test_what_remains_can_be_spent_to_the_last_bit() -> None:
    """RULES 6: calibrated at the population's order, a job takes what is left and the ledger is full."""
    book = Book()
    book.spend(training(noise="4"))
    terms, shape = book.state.account.population.budget, sampled_gaussian(Parameter("0.1"), 200)
    left = ledger.available(book.standing(fresh(PrincipalId)), Block.TRAIN, ALL)
    noise = calibrate_to_price(shape, left, terms.order)
    assert noise is not None
    book.spend(BlockUse(block=Block.TRAIN, mechanism=shape(noise)[0]))
    remains = ledger.available(book.standing(fresh(PrincipalId)), Block.TRAIN, ALL)
    assert remains < Rdp.parse("0.00001")
    assert job_epsilon(*shape(noise), delta=terms.delta).epsilon < terms.epsilon


def test_a_hold_that_fits_exactly_is_admitted() -> None:
    """What is available may be held to the last billionth, and then nothing may."""
    book = Book()
    book.spend(training(noise="4"))
    order = book.state.account.population.budget.order
    left = ledger.available(book.standing(fresh(PrincipalId)), Block.TRAIN, ALL)
    with localcontext(prec=34):
        noise = (order / (2 * left.value - Rdp.QUANTUM)).sqrt()  # half a billionth below, and rounded up to it
    exact = counts(noise=str(noise), block=Block.TRAIN)
    assert cost(exact, book) == left
    assert isinstance(book.reserve([exact]), Reserved)
    assert isinstance(book.reserve([pure("0.000001")]), Exhausted)


def test_a_hold_covers_replays_and_a_charge_what_was_started() -> None:
    """RULES 7, 11: what was started is charged, replays included; the rest returns; more is impossible."""
    covered = steps_covered(1000, resumes=2, savepoint_interval=100)
    assert covered == 1200
    assert steps_covered(50, resumes=2, savepoint_interval=100) == 150
    book = Book()
    job = book.hold(training(steps=covered))
    book.touch(job)
    with pytest.raises(InvalidError):
        ledger.charge(book.standing(job=job), [covered + 1])
    with pytest.raises(InvalidError):
        ledger.charge(book.standing(job=job), [1000, 1])
    book.keep(ledger.charge(book.standing(job=job), [1100]))
    balance = book.state.account.balance(Block.TRAIN)
    assert balance.charged == cost(training(steps=1100), book)
    assert balance.held == Rdp.zero()


def test_nothing_started_is_charged_as_nothing() -> None:
    """A cancelled job that touched data before its first step costs nothing, and stays charged for the record."""
    book = Book()
    job = book.hold(training())
    book.touch(job)
    book.keep(ledger.charge(book.standing(job=job), [0]))
    assert book.state.account.committed == Rdp.zero()
    assert book.state.reservations[job].state is ReservationState.CHARGED


def test_in_doubt_the_whole_hold_is_charged() -> None:
    """RULES 11: failed after retries costs the whole reservation."""
    book = Book()
    job = book.hold(training(steps=1200), counts())
    book.touch(job)
    book.keep(ledger.charge_in_full(book.standing(job=job)))
    account, settled = book.state.account, book.state.reservations[job].settled
    assert account.balance(Block.TRAIN).charged == cost(training(steps=1200), book)
    assert account.balance(Block.HOLDOUT).charged == cost(counts(), book)
    assert settled is not None
    assert settled.in_full


def test_touching_is_the_point_of_no_return() -> None:
    """RULES 8: after it neither void nor expiry frees the hold, at any time."""
    book = Book()
    job = book.hold(training())
    book.touch(job)
    held = book.state.account.committed
    with pytest.raises(ConflictError):
        ledger.void(book.standing(job=job))
    with pytest.raises(ConflictError):
        ledger.expire(book.standing(job=job), now=SOON + timedelta(days=400))
    assert book.state.account.committed == held


def test_what_never_touched_data_is_voided_or_expires() -> None:
    """RULES 11: its hold returns, and the data key is out of reach for good."""
    book = Book()
    voided, late = book.hold(training()), book.hold(training())
    book.keep(ledger.void(book.standing(job=voided)))
    with pytest.raises(ConflictError):
        ledger.expire(book.standing(job=late), now=SOON - timedelta(seconds=1))
    book.keep(ledger.expire(book.standing(job=late), now=SOON))
    assert book.state.account.committed == Rdp.zero()
    for job in (voided, late):
        with pytest.raises(ConflictError):
            ledger.touch(book.standing(job=job), attempt=1, now=NOW)
        with pytest.raises(ConflictError):
            ledger.charge_in_full(book.standing(job=job))


def test_an_expired_hold_cannot_be_touched_even_before_it_is_freed() -> None:
    """RULES 8: the hold is checked in the transaction that hands out the key."""
    book = Book()
    job = book.hold(training())
    with pytest.raises(ConflictError):
        ledger.touch(book.standing(job=job), attempt=1, now=SOON)
    book.keep(ledger.touch(book.standing(job=job), attempt=1, now=SOON - timedelta(seconds=1)))
    # A resume may come late: the hold is touched and cannot be freed.
    book.keep(ledger.touch(book.standing(job=job), attempt=2, now=SOON + timedelta(days=1)))


def test_a_worker_that_was_overtaken_cannot_touch() -> None:
    """Attempts only rise: an older one finds a later one before it."""
    book = Book()
    job = book.hold(training())
    book.touch(job, attempt=2)
    with pytest.raises(ConflictError):
        ledger.touch(book.standing(job=job), attempt=1, now=NOW)
    assert ledger.touch(book.standing(job=job), attempt=2, now=NOW) is None


def test_a_charge_needs_a_touch_and_is_never_returned() -> None:
    """Legal moves only: held cannot be charged, charged cannot become anything."""
    book = Book()
    job = book.hold(training())
    with pytest.raises(ConflictError):
        ledger.charge(book.standing(job=job), [1])
    book.touch(job)
    book.keep(ledger.charge(book.standing(job=job), [150]))
    for verb in (
        ledger.void,
        lambda s: ledger.expire(s, now=SOON),
        lambda s: ledger.touch(s, attempt=2, now=NOW),
        lambda s: ledger.charge(s, [100]),
        ledger.charge_in_full,
    ):
        with pytest.raises(ConflictError):
            verb(book.standing(job=job))


def test_verbs_are_idempotent_by_job() -> None:
    """Asked twice for the same, the ledger changes once; asked for another thing, it is a conflict."""
    book, leave = Book(), permit()
    first = book.reserve([training()], leave)
    again = book.reserve([training()], leave)
    assert isinstance(first, Reserved)
    assert isinstance(again, Reserved)
    assert again.change is None
    assert again.reservation == first.reservation
    for uses, other in (
        ([training(steps=201)], leave),
        ([training()], permit(job=leave.job, principal=leave.principal, request=Digest.of(b"another"))),
        ([training()], permit(job=leave.job, request=leave.request)),
    ):
        with pytest.raises(ConflictError):
            book.reserve(uses, other)
    book.touch(leave.job)
    book.keep(ledger.charge(book.standing(job=leave.job), [150]))
    assert ledger.charge(book.standing(job=leave.job), [150]) is None
    assert len(book.events) == 4


def test_a_hold_that_has_ended_is_not_had_again() -> None:
    """A job whose hold was freed must be requested anew."""
    book, leave = Book(), permit()
    book.reserve([training()], leave)
    book.keep(ledger.void(book.standing(job=leave.job)))
    assert ledger.void(book.standing(job=leave.job)) is None
    with pytest.raises(ConflictError):
        book.reserve([training()], leave)


def test_numbers_are_gapless_from_one() -> None:
    """RULES 9: every change takes the next number of its population; refusals and repetitions take none."""
    book = Book()
    job = book.spend(training())
    book.reserve([training(noise="0.5")])
    ledger.charge(book.standing(job=job), [200])
    book.keep(ledger.retire(book.standing()))
    assert [event.ledger_seq for event in book.events] == list(range(1, len(book.events) + 1))


def test_epsilon_may_rise_and_fall_but_not_below_what_is_committed() -> None:
    """RULES 10: order and delta stay; earlier holds stay covered."""
    book = Book()
    book.hold(training(noise="3"))
    terms = book.state.account.population.budget
    with pytest.raises(ConflictError):
        ledger.change_budget(book.standing(), Epsilon.parse("1.5"))
    book.keep(ledger.change_budget(book.standing(), Epsilon.parse("6")))
    raised = book.state.account.population.budget
    assert (raised.order, raised.delta) == (terms.order, terms.delta)
    assert raised.capacity > terms.capacity
    assert ledger.change_budget(book.standing(), Epsilon.parse("6")) is None
    book.keep(ledger.change_budget(book.standing(), Epsilon.parse("3")))
    assert book.state.account.population.budget == terms
    with pytest.raises(InvalidError):
        ledger.change_budget(Book().standing(), Epsilon.parse("0.1"))


def test_a_trainers_cap_is_a_share_of_the_capacity() -> None:
    """RULES 10: the smaller of the permit's share and the owner's cap binds; other trainers are not touched by it."""
    book, leave = Book(), permit(trainer_share=Share.parse("0.5"))
    book.spend(training(noise="5"), principal=leave.principal, trainer_share=leave.trainer_share)
    left = ledger.available(book.standing(leave.principal), Block.TRAIN, leave.trainer_share)
    half = book.state.account.population.budget.part(Share.parse("0.5"))
    assert left == half - cost(training(noise="5"), book)
    book.keep(ledger.cap_trainer(book.standing(leave.principal), Share.parse("0.1")))
    assert ledger.available(book.standing(leave.principal), Block.TRAIN, ALL) == Rdp.zero()
    answer = book.reserve([training(noise="100")], permit(principal=leave.principal))
    assert isinstance(answer, Exhausted)
    assert {limit.scope for limit in answer.shortfalls} == {Scope.TRAINER}
    assert isinstance(book.reserve([training(noise="100")]), Reserved)
    book.keep(ledger.cap_trainer(book.standing(leave.principal), ALL))
    assert ledger.available(book.standing(leave.principal), Block.TRAIN, leave.trainer_share) == left


def test_colluding_trainers_share_one_budget() -> None:
    """Caps are access policy: two trainers together still cannot exceed the population's capacity."""
    book, admitted = Book(), 0
    for _ in range(50):
        answer = book.reserve([training(noise="6")], permit(trainer_share=Share.parse("0.2")))
        admitted += isinstance(answer, Reserved)
    assert admitted > 5
    assert book.state.account.committed <= book.state.account.population.budget.capacity


def test_a_retired_population_takes_no_more_and_is_never_reset() -> None:
    """RULES 10: what is held may still be charged; the rest is refused with nothing available."""
    book = Book()
    job = book.hold(training())
    book.keep(ledger.retire(book.standing()))
    assert ledger.retire(book.standing()) is None
    answer = book.reserve([training(noise="1000")])
    assert isinstance(answer, Exhausted)
    assert answer.refusal.retired
    assert all(limit.available == Rdp.zero() for limit in answer.refusal.limits)
    book.touch(job)
    book.keep(ledger.charge(book.standing(job=job), [200]))
    assert book.state.account.charged == cost(training(), book)


def test_uncovered_is_for_good_and_from_its_number_on() -> None:
    """RULES 20: the first exact result marks the population; later ones do not move the mark."""
    book = Book()
    book.spend(training())
    book.keep(ledger.mark_uncovered(book.standing(), fresh(JobId)))
    since = book.state.account.ledger_seq
    book.spend(training())
    book.keep(ledger.mark_uncovered(book.standing()))
    assert book.state.account.uncovered_since == since


def test_a_charge_knows_its_place_in_the_budget() -> None:
    """RULES 24: what stood before it in its fullest block, and what it added there."""
    book = Book()
    book.spend(training())
    book.hold(training(noise="9"))
    job = book.hold(counts(), training(noise="7"))
    book.touch(job)
    book.keep(ledger.charge(book.standing(job=job), [1, 150]))
    settled = book.state.reservations[job].settled
    assert settled is not None
    assert settled.block is Block.TRAIN
    assert settled.before == cost(training(), book) + cost(training(noise="9"), book)
    assert settled.charge == cost(training(noise="7", steps=150), book)
    assert settled.ledger_seq == book.state.account.ledger_seq


def test_a_check_takes_less_than_a_tenth_of_a_millisecond() -> None:
    """The limits of a request are told in microseconds, however much happened before."""
    book = Book()
    for _ in range(60):
        book.spend(training(noise="40"))
    standing, requested = book.standing(fresh(PrincipalId)), {Block.TRAIN: Rdp.parse("0.1")}
    rounds, best = 200, float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(rounds):
            ledger.limits(standing, requested, ALL)
        best = min(best, (time.process_time() - started) / rounds)
    assert best < 100e-6
