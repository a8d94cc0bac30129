"""The ledger against a naive model: plain lists, whole numbers, everything summed anew at every step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kernel.amounts import Epsilon, Share
from kernel.errors import ConflictError, InvalidError
from kernel.ids import JobId, PrincipalId
from kernel.permit import Permit
from privacy.accounting.price import price
from privacy.accounting.rdp import capacity
from privacy.budget import ledger
from privacy.budget.fold import fold
from privacy.budget.ledger import Change, Exhausted, Reserved
from privacy.budget.reservations import SIDES, Block, BlockUse
from privacy.replay import replay
from tests.support.budgets import NOW, SOON, Book, counts, fresh, permit, population, posted, pure, training

GRID = 10**9
uses = st.lists(
    st.one_of(
        st.builds(training, st.sampled_from(["3", "5", "9", "30"]), st.integers(1, 300)),
        st.builds(counts, st.sampled_from(["2", "6", "20"]), st.integers(1, 5)),
        st.builds(pure, st.sampled_from(["0.05", "0.4"]), st.integers(1, 4), st.sampled_from(SIDES)),
    ),
    min_size=1,
    max_size=3,
)
shares = st.sampled_from(["0.05", "0.3", "0.75", "1"]).map(Share.parse)
later = st.sampled_from([timedelta(0), timedelta(minutes=59), timedelta(hours=1), timedelta(days=2)])


class Job:
    """One job of the model."""

    def __init__(self, leave: Permit, uses: list[BlockUse], order: int) -> None:
        self.leave, self.uses, self.state, self.attempt = leave, uses, "held", 0
        self.held = [self.cost(use.mechanism.times, index, order) for index, use in enumerate(uses)]
        self.charged: list[int] = []

    def cost(self, times: int, index: int, order: int) -> int:
        """A price in billionths."""
        if times == 0:
            return 0
        return int(price(self.uses[index].mechanism.repeated(times), order=order).value * GRID)

    def amounts(self) -> list[int]:
        """What counts against the budget now."""
        if self.state in ("held", "touched"):
            return self.held
        return self.charged


class LedgerMachine(RuleBasedStateMachine):
    """Drives the verbs and the model side by side; every answer of the ledger must be the model's."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book(population())
        terms = self.book.state.account.population.budget
        self.order, self.delta = terms.order, terms.delta
        self.capacity = int(terms.capacity.value * GRID)
        self.trainers = [fresh(PrincipalId) for _ in range(3)]
        self.caps: dict[PrincipalId, Share] = {}
        self.jobs: dict[JobId, Job] = {}
        self.retired = False

    def total(self, block: Block, principal: PrincipalId | None = None) -> int:
        """Everything charged or held in a block, of one trainer or of all."""
        return sum(
            amount
            for job in self.jobs.values()
            if principal in (None, job.leave.principal)
            for use, amount in zip(job.uses, job.amounts(), strict=bool(job.amounts()))
            if use.block is block
        )

    def expect(self, verb: Callable[[], Change | None], legal: bool) -> None:
        """The verb works exactly where the model says it is legal."""
        if legal:
            self.book.keep(verb())
            return
        with pytest.raises((ConflictError, InvalidError)):
            verb()

    @rule(uses=uses, who=st.integers(0, 2), share=shares)
    def reserve(self, uses: list[BlockUse], who: int, share: Share) -> None:
        """A hold is admitted exactly if it fits every limit."""
        leave = permit(principal=self.trainers[who], trainer_share=share)
        job = Job(leave, uses, self.order)
        cap = min(share, self.caps.get(leave.principal, share)).value * self.capacity
        fits = not self.retired
        for block in {use.block for use in uses}:
            asked = sum(amount for use, amount in zip(uses, job.held, strict=True) if use.block is block)
            fits = fits and self.total(block) + asked <= self.capacity
            fits = fits and self.total(block, leave.principal) + asked <= cap
        answer = self.book.reserve(uses, leave)
        assert isinstance(answer, Reserved if fits else Exhausted)
        if fits:
            self.jobs[leave.job] = job

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), after=later, attempt=st.integers(1, 3))
    def touch(self, data: st.DataObject, after: timedelta, attempt: int) -> None:
        """The envelope opens for a live hold in time, or again for a later attempt."""
        job, model = self.pick(data)
        now = NOW + after
        legal = (model.state == "held" and now < SOON) or (model.state == "touched" and attempt >= model.attempt)
        self.expect(lambda: ledger.touch(self.book.standing(job=job), attempt=attempt, now=now), legal)
        if legal:
            model.state, model.attempt = "touched", attempt

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), full=st.booleans(), part=st.fractions(0, 1))
    def charge(self, data: st.DataObject, full: bool, part: object) -> None:
        """What was started is charged once, after touching."""
        job, model = self.pick(data)
        started = [int(part * use.mechanism.times) for use in model.uses]  # type: ignore[operator]
        amounts = [model.cost(times, index, self.order) for index, times in enumerate(started)]
        if full:
            started, amounts = [use.mechanism.times for use in model.uses], model.held
        legal = model.state == "touched" or (model.state == "charged" and model.charged == amounts and full)
        if model.state == "charged" and not full:
            return  # other numbers of runs may cost the same; the unit tests say what is a conflict
        standing = self.book.standing(job=job)
        self.expect(lambda: ledger.charge_in_full(standing) if full else ledger.charge(standing, started), legal)
        if legal:
            model.state, model.charged = "charged", amounts

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), after=later, expires=st.booleans())
    def free(self, data: st.DataObject, after: timedelta, expires: bool) -> None:
        """Void or expiry return a hold that was never touched."""
        job, model = self.pick(data)
        now, standing, end = NOW + after, self.book.standing(job=job), "expired" if expires else "voided"
        legal = model.state == end or (model.state == "held" and (not expires or now >= SOON))
        self.expect(lambda: ledger.expire(standing, now=now) if expires else ledger.void(standing), legal)
        if legal:
            model.state = end

    @rule(epsilon=st.sampled_from(["0.2", "1", "2", "3", "5", "9"]).map(Epsilon.parse))
    def change_budget(self, epsilon: Epsilon) -> None:
        """Epsilon moves, but never below what is committed in any block."""
        try:
            wanted = int(capacity(epsilon, self.delta, self.order).value * GRID)
        except InvalidError:
            wanted = -1
        legal = wanted >= max(self.total(block) for block in SIDES) and wanted > 0
        self.expect(lambda: ledger.change_budget(self.book.standing(), epsilon), legal)
        if legal:
            self.capacity = wanted

    @rule(who=st.integers(0, 2), share=shares)
    def cap(self, who: int, share: Share) -> None:
        """The owner caps a trainer."""
        self.book.keep(ledger.cap_trainer(self.book.standing(self.trainers[who]), share))
        self.caps[self.trainers[who]] = share

    @precondition(lambda self: len(self.jobs) > 5)
    @rule()
    def retire(self) -> None:
        """The owner retires the population."""
        self.book.keep(ledger.retire(self.book.standing()))
        self.retired = True

    @invariant()
    def balances_are_the_models(self) -> None:
        """Balances equal the model's sums to the last billionth, and stay within the capacity."""
        account = self.book.state.account
        for block in SIDES:
            committed = int(account.balance(block).committed.value * GRID)
            assert committed == self.total(block) <= self.capacity
            for principal in self.trainers:
                trainer = self.book.standing(principal).trainer
                assert trainer is not None
                assert int(trainer.balance(block).committed.value * GRID) == self.total(block, principal)

    def teardown(self) -> None:
        """The events alone tell the same story, and a verifier finds nothing to say."""
        state = fold(self.book.events)
        assert state.account == self.book.state.account
        assert state.reservations == self.book.state.reservations
        assert replay(posted(self.book.events)).findings == ()

    def pick(self, data: st.DataObject) -> tuple[JobId, Job]:
        """Any job so far."""
        # By position: identifiers differ from run to run, and what is drawn must not.
        return list(self.jobs.items())[data.draw(st.integers(0, len(self.jobs) - 1))]


LedgerMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLedger = LedgerMachine.TestCase
