"""What every adapter of ledgers must do. An adapter joins by adding itself to `tests.support.ledgers.ADAPTERS`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from kernel.amounts import Epsilon, Rdp, Share
from kernel.errors import ConflictError, NotFoundError, StaleError
from kernel.ids import JobId, PopulationId, PrincipalId, TenantId
from privacy.accounting.price import price
from privacy.budget import ledger
from privacy.budget.balances import Standing
from privacy.budget.fold import LedgerState, fold
from privacy.budget.ledger import Change, Exhausted, Reserved
from privacy.budget.populations import Population
from privacy.budget.reservations import Block, BlockUse, ReservationState
from privacy.budget.stores import LedgerStore
from privacy.replay import replay
from tests.support.budgets import ALL, MANIFEST, NOW, SOON, counts, fresh, permit, population, posted, training
from tests.support.databases import DATABASES, cases
from tests.support.ledgers import ADAPTERS, Ledgers


@pytest.fixture(params=cases(ADAPTERS))
def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledgers]:
    """Each adapter in turn, empty."""
    with ADAPTERS[request.param](tmp_path) as adapter:
        yield adapter


@pytest.fixture
def people(ledgers: Ledgers) -> Population:
    """A population whose ledger is open."""
    made = population(tenant=ledgers.tenant())
    with ledgers.work() as store:
        store.append(ledger.create(made))
    return made


def reserve(
    ledgers: Ledgers,
    people: Population,
    *uses: BlockUse,
    job: JobId | None = None,
    principal: PrincipalId | None = None,
) -> Reserved | Exhausted:
    """Reserve in a unit of work of its own, as a service does."""
    leave = permit(job=job or fresh(JobId), principal=principal or fresh(PrincipalId))
    with ledgers.work() as store:
        standing = store.lock(people.id, principal=leave.principal, job=leave.job)
        # Room for others between reading and writing: without the lock they would use it.
        time.sleep(0.0002)
        answer = ledger.reserve(standing, leave, uses=uses, manifest=MANIFEST, expires_at=SOON)
        if isinstance(answer, Reserved) and answer.change is not None:
            store.append(answer.change)
    return answer


def hold(ledgers: Ledgers, people: Population, *uses: BlockUse) -> JobId:
    """Reserve and insist that it fits."""
    answer = reserve(ledgers, people, *(uses or (training(),)))
    assert isinstance(answer, Reserved)
    return answer.reservation.job


def settle(ledgers: Ledgers, people: Population, job: JobId, *verbs: Callable[[Standing], Change | None]) -> None:
    """Apply verbs to a job, each in a unit of work of its own."""
    for verb in verbs:
        with ledgers.work() as store:
            change = verb(store.lock(people.id, job=job))
            if change is not None:
                store.append(change)


def touch(standing: Standing) -> Change | None:
    """The first attempt opens the envelope."""
    return ledger.touch(standing, attempt=1, now=NOW)


def folded(store: LedgerStore, people: Population) -> LedgerState:
    """The fold of the stored events."""
    return fold(list(store.events(people.id)))


def assert_rows_equal_the_fold(ledgers: Ledgers, people: Population) -> None:
    """Every row that a verb could read is what the events say, and the ledger is sound."""
    with ledgers.work() as store:
        events = list(store.events(people.id))
        state = fold(events)
        assert [event.ledger_seq for event in events] == list(range(1, len(events) + 1))
        assert store.read(people.id) == state.standing()
        for principal in [*state.trainers, fresh(PrincipalId)]:
            assert store.read(people.id, principal=principal) == state.standing(principal)
        for job in [*state.reservations, fresh(JobId)]:
            assert store.read(people.id, job=job) == state.standing(job=job)
    assert replay(posted(events)).findings == ()


@pytest.mark.parametrize("name", cases(DATABASES))
def test_why_an_account_cannot_be_opened_is_said(name: str, tmp_path: Path) -> None:
    """A population that exists, or an organisation that does not; either leaves the work usable."""
    with ADAPTERS[name](tmp_path) as ledgers:
        made = population(tenant=ledgers.tenant())
        with ledgers.work() as store:
            with pytest.raises(NotFoundError, match="organisation"):
                store.append(ledger.create(population(tenant=fresh(TenantId))))
            store.append(ledger.create(made))
            with pytest.raises(ConflictError, match="exists already"):
                store.append(ledger.create(made))
        with ledgers.work() as store:
            assert store.read(made.id).account.population == made


def test_the_whole_life_of_a_budget(ledgers: Ledgers, people: Population) -> None:
    """Every verb through the store; afterwards rows, events, fold and replay say the same."""
    spent, doubtful, voided, late = (hold(ledgers, people, training(), counts()) for _ in range(4))
    settle(ledgers, people, spent, touch, lambda s: ledger.charge(s, [150, 1]))
    settle(ledgers, people, doubtful, touch, lambda s: ledger.touch(s, attempt=2, now=SOON), ledger.charge_in_full)
    settle(ledgers, people, voided, ledger.void)
    settle(ledgers, people, late, lambda s: ledger.expire(s, now=SOON))
    with ledgers.work() as store:
        trainer = store.lock(people.id, job=spent).reservation
        assert trainer is not None
        change = ledger.cap_trainer(store.lock(people.id, principal=trainer.principal), Share.parse("0.25"))
        assert change is not None
        store.append(change)
    for verb in (
        lambda s: ledger.change_budget(s, Epsilon.parse("4")),
        lambda s: ledger.mark_uncovered(s, spent),
        ledger.retire,
    ):
        with ledgers.work() as store:
            change = verb(store.lock(people.id))
            assert change is not None
            store.append(change)
    assert_rows_equal_the_fold(ledgers, people)
    with ledgers.work() as store:
        states = {job: store.read(people.id, job=job).reservation for job in (spent, doubtful, voided, late)}
    assert [states[job] and states[job].state for job in (spent, doubtful, voided, late)] == [
        ReservationState.CHARGED,
        ReservationState.CHARGED,
        ReservationState.VOIDED,
        ReservationState.EXPIRED,
    ]


def test_a_unit_of_work_that_fails_leaves_no_trace(ledgers: Ledgers, people: Population) -> None:
    """An error after an append takes the append with it, and the next unit of work is not blocked."""
    leave = permit()

    def fail() -> None:
        with ledgers.work() as store:
            standing = store.lock(people.id, principal=leave.principal, job=leave.job)
            answer = ledger.reserve(standing, leave, uses=[training()], manifest=MANIFEST, expires_at=SOON)
            assert isinstance(answer, Reserved)
            assert answer.change is not None
            store.append(answer.change)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert_rows_equal_the_fold(ledgers, people)
    assert isinstance(reserve(ledgers, people, training(), job=leave.job, principal=leave.principal), Reserved)


def test_a_unit_of_work_sees_its_own_changes(ledgers: Ledgers, people: Population) -> None:
    """Two verbs on one ledger in one unit of work follow each other's numbers."""
    leave = permit()
    with ledgers.work() as store:
        standing = store.lock(people.id, principal=leave.principal, job=leave.job)
        answer = ledger.reserve(standing, leave, uses=[training()], manifest=MANIFEST, expires_at=SOON)
        assert isinstance(answer, Reserved)
        assert answer.change is not None
        store.append(answer.change)
        change = ledger.void(store.lock(people.id, job=leave.job))
        assert change is not None
        store.append(change)
        assert change.event.ledger_seq == answer.change.event.ledger_seq + 1
    assert_rows_equal_the_fold(ledgers, people)


def test_what_is_based_on_an_old_reading_is_refused(ledgers: Ledgers, people: Population) -> None:
    """The second lock: a change whose standing is no longer true is stale, whoever made it."""
    leave = permit()
    with ledgers.work() as store:
        old = store.read(people.id, principal=leave.principal, job=leave.job)
    hold(ledgers, people)
    answer = ledger.reserve(old, leave, uses=[training()], manifest=MANIFEST, expires_at=SOON)
    assert isinstance(answer, Reserved)
    assert answer.change is not None
    with pytest.raises(StaleError), ledgers.work() as store:
        store.append(answer.change)
    assert_rows_equal_the_fold(ledgers, people)


def test_a_job_has_one_reservation_in_each_ledger(ledgers: Ledgers, people: Population) -> None:
    """A job on data of sites holds in the population of each; what ends one hold leaves the others as they are."""
    other = population(tenant=ledgers.tenant())
    with ledgers.work() as store:
        store.append(ledger.create(other))
    job = hold(ledgers, people)
    reserve(ledgers, other, training(), job=job)
    with ledgers.work() as store:
        change = ledger.void(store.lock(people.id, job=job))
        assert change is not None
        store.append(change)
    with ledgers.work() as store:
        states = [store.read(one.id, job=job).reservation for one in (people, other)]
    assert [None if one is None else one.state.value for one in states] == ["voided", "held"]
    assert_rows_equal_the_fold(ledgers, people)
    assert_rows_equal_the_fold(ledgers, other)


def test_a_population_is_created_once(ledgers: Ledgers, people: Population) -> None:
    """Never reset: its ledger cannot be opened again."""
    hold(ledgers, people)
    with pytest.raises(ConflictError), ledgers.work() as store:
        store.append(ledger.create(people))
    assert_rows_equal_the_fold(ledgers, people)


def test_an_unknown_population_is_not_found(ledgers: Ledgers) -> None:
    """No ledger is made by asking for it."""
    for name in ("lock", "read"):
        with pytest.raises(NotFoundError), ledgers.work() as store:
            getattr(store, name)(fresh(PopulationId))
    with ledgers.work() as store:
        assert list(store.events(fresh(PopulationId))) == []


def test_events_can_be_read_from_any_number(ledgers: Ledgers, people: Population) -> None:
    """A reader that knows the ledger up to a number asks for what follows."""
    for _ in range(3):
        hold(ledgers, people)
    with ledgers.work() as store:
        whole = list(store.events(people.id))
        assert [event.ledger_seq for event in whole] == [1, 2, 3, 4]
        assert list(store.events(people.id, after=2)) == whole[2:]
        assert list(store.events(people.id, after=4)) == []


def test_holds_past_their_expiry_are_found(ledgers: Ledgers, people: Population) -> None:
    """The sweeper sees what is held and late, the oldest first, and nothing else."""
    held, touched, voided = (hold(ledgers, people) for _ in range(3))
    settle(ledgers, people, touched, touch)
    settle(ledgers, people, voided, ledger.void)
    with ledgers.work() as store:
        assert list(store.expirable(SOON - timedelta(seconds=1), 10)) == []
        assert list(store.expirable(SOON, 10)) == [(people.id, held)]
        assert list(store.expirable(SOON, 0)) == []


def test_concurrent_requests_admit_exactly_what_fits(ledgers: Ledgers, people: Population) -> None:
    """Invariant 1 under threads: of many equal jobs as many are admitted as one after the other, never one more."""
    use = training(noise="8")
    fits = int(people.budget.capacity.value // ledger_price(people, use).value)
    assert 5 < fits < 40
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: reserve(ledgers, people, use), range(fits + 20)))
    assert sum(isinstance(answer, Reserved) for answer in answers) == fits
    assert_rows_equal_the_fold(ledgers, people)


def ledger_price(people: Population, use: BlockUse) -> Rdp:
    """What one hold costs in this population."""
    return price(use.mechanism, order=people.budget.order)


def test_concurrent_lives_keep_every_prefix_within_capacity(ledgers: Ledgers, people: Population) -> None:
    """Reserve, touch, charge, void from many threads, on both blocks: each prefix of the events is within capacity."""

    def live(number: int) -> None:
        use = training(noise="7") if number % 3 else counts(noise="4")
        answer = reserve(ledgers, people, use)
        if isinstance(answer, Exhausted):
            return
        job = answer.reservation.job
        if number % 4 == 0:
            settle(ledgers, people, job, ledger.void)
        else:
            started = 1 if use.block is Block.HOLDOUT else 100 + number
            settle(ledgers, people, job, touch, lambda s: ledger.charge(s, [started]))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(live, range(60)))
    assert_rows_equal_the_fold(ledgers, people)


def test_the_same_request_twice_at_once_is_one_reservation(ledgers: Ledgers, people: Population) -> None:
    """Idempotent under a race: both answers name the same reservation, one change is stored."""
    job, principal, request = fresh(JobId), fresh(PrincipalId), MANIFEST
    together = threading.Barrier(2)

    def ask() -> Reserved | Exhausted:
        leave = permit(job=job, principal=principal, request=request)
        together.wait(timeout=10)
        with ledgers.work() as store:
            standing = store.lock(people.id, principal=principal, job=job)
            answer = ledger.reserve(standing, leave, uses=[training()], manifest=MANIFEST, expires_at=SOON)
            if isinstance(answer, Reserved) and answer.change is not None:
                store.append(answer.change)
        return answer

    with ThreadPoolExecutor(2) as pool:
        one, two = (future.result() for future in [pool.submit(ask), pool.submit(ask)])
    assert isinstance(one, Reserved)
    assert isinstance(two, Reserved)
    assert one.reservation == two.reservation
    with ledgers.work() as store:
        assert len(folded(store, people).reservations) == 1


def test_available_is_what_the_next_hold_may_cost(ledgers: Ledgers, people: Population) -> None:
    """What a quote reads without a lock is what a reservation meets, if nobody else was faster."""
    hold(ledgers, people, training(noise="5"))
    with ledgers.work() as store:
        left = ledger.available(store.read(people.id, principal=fresh(PrincipalId)), Block.TRAIN, ALL)
    assert left == people.budget.capacity - ledger_price(people, training(noise="5"))
