"""Budget events in, balances and findings out: what the offline verifier says of a ledger.

Rules
-----
1. Each ledger is folded by its `ledger_seq`. The order of the log, and the order of the input, count for nothing.
2. Every prefix is held against the capacity; every price is computed again: ours <= stated <= 1.01 times ours.
3. Order and capacity follow from epsilon and delta, or it is a finding.
4. A finding says where: population, `ledger_seq`, log index. After one, the fold goes on as well as it can.
5. Rows that were sealed while a home block was open are charged to it, and to the earlier ones if they are seen: which
   block it was is told by the seal's event.
6. A job has a reservation in one population, or in each of those that a noised job on data of sites was requested of.
   There it holds on every block that the population has: nobody knows who is in a site's file.
7. What is reported is never repaired. Silence means that everything that was given was looked at: `checked` counts it.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from kernel.amounts import Delta, Epsilon, Rdp
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.events import Event
from kernel.ids import JobId, PopulationId
from privacy.accounting.price import EXACT
from privacy.accounting.rdp import best_order, capacity
from privacy.budget.balances import Account
from privacy.budget.choice import Alternative, alternatives
from privacy.budget.fold import LedgerState
from privacy.budget.ledger import limits
from privacy.budget.reservations import Block, BlockCharge, BlockHold, Reservation, ReservationState, by_block
from privacy.events.budget import (
    BudgetChanged,
    BudgetCharged,
    BudgetEvent,
    BudgetExpired,
    BudgetRefused,
    BudgetReserved,
    BudgetTouched,
    PopulationCreated,
    Scope,
)
from privacy.events.choices import BudgetChosen
from privacy.events.collections import CollectionRequested
from privacy.events.sealing import VersionSealed

MOST_OVERSTATED = Decimal("1.01")


class Fault(StrEnum):
    """What is wrong, in a sentence for people."""

    UNOPENED = "the ledger does not begin with the creation of its population"
    GAP = "a number of the ledger is missing"
    REPEATED = "a number of the ledger occurs twice"
    ILLEGAL = "the event does not follow from what went before"
    BUDGET = "order or capacity do not follow from epsilon and delta"
    OVERDRAWN = "charged and held together exceed the capacity"
    UNDERPRICED = "a price is lower than its mechanism's"
    OVERPRICED = "a price is more than 1.01 times its mechanism's"
    TWO_HOMES = "a job has reservations in two populations, and was not asked of both"
    EARLY = "a hold was freed before it expired"
    LATE = "a hold was touched after it expired"
    OVER_CAP = "a trainer's cap was exceeded; that is access policy, not the guarantee"
    WRONG_BLOCK = "a hold is on another home block than the one that was open when its rows were sealed"
    PART = "a job on data of sites does not hold on every block of a population whose rows a site may read"
    REFUSAL = "a refusal does not tell what the ledger had left"
    ODDS = "the odds that an owner chose by do not follow from epsilon and delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """An event as it stands in the log.

    Attributes:
        index: Its entry's index, for findings.
        at: Its entry's time.
        event: Any event; only those about budgets, what a seal says of its home block, and which populations a job on
            data of sites was asked of, are looked at.
    """

    index: int
    at: datetime
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A broken rule and where it is.

    Attributes:
        fault: What is wrong.
        population: In whose ledger.
        ledger_seq: At which number; for a refusal the last number that it saw.
        index: At which log entry.
    """

    fault: Fault
    population: PopulationId
    ledger_seq: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What a log says of its budgets.

    Attributes:
        ledgers: The fold of each ledger that could be opened.
        findings: What is wrong, in the order of populations and numbers; empty if nothing is.
        checked: How many events were looked at.
    """

    ledgers: Mapping[PopulationId, LedgerState]
    findings: tuple[Finding, ...]
    checked: int


def replay(posted: Iterable[Posted]) -> Replay:
    """Fold and check all budget events of a log."""
    sealed: dict[Digest, int] = {}
    numbered: dict[PopulationId, list[Posted]] = defaultdict(list)
    refused: dict[PopulationId, list[Posted]] = defaultdict(list)
    chosen: list[Posted] = []
    asked: set[tuple[JobId, PopulationId]] = set()
    for entry in posted:
        if isinstance(entry.event, BudgetEvent):
            numbered[entry.event.population].append(entry)
        elif isinstance(entry.event, BudgetRefused):
            refused[entry.event.population].append(entry)
        elif isinstance(entry.event, VersionSealed):
            sealed[entry.event.manifest] = entry.event.home or 1
        elif isinstance(entry.event, BudgetChosen):
            chosen.append(entry)
        elif isinstance(entry.event, CollectionRequested) and not entry.event.exact:
            asked.add((entry.event.job, entry.event.population))
    homes: dict[JobId, PopulationId] = {}
    ledgers, findings, checked = {}, [], 0
    for population in sorted(numbered.keys() | refused.keys()):
        reader = _Reader(population, homes, sealed, asked)
        reader.read(numbered[population], refused[population])
        if reader.state is not None:
            ledgers[population] = reader.state
        findings += reader.findings
        checked += len(numbered[population]) + len(refused[population])
    findings += [_untrue(entry) for entry in chosen if not _true_odds(entry, numbered)]
    return Replay(ledgers=ledgers, findings=tuple(findings), checked=checked + len(chosen))


@dataclass
class _Reader:
    """Reads one ledger."""

    population: PopulationId
    homes: dict[JobId, PopulationId]
    sealed: Mapping[Digest, int]
    asked: Set[tuple[JobId, PopulationId]]
    state: LedgerState | None = None
    findings: list[Finding] = field(default_factory=list)

    def read(self, numbered: list[Posted], refused: list[Posted]) -> None:
        """Fold the numbered events; look at each refusal where it stood."""
        waiting = sorted(refused, key=lambda entry: (_seq(entry), entry.index), reverse=True)
        for entry in sorted(numbered, key=lambda entry: (_seq(entry), entry.index)):
            while waiting and _seq(waiting[-1]) < _seq(entry):
                self._refusal(waiting.pop())
            self._event(entry)
        for entry in reversed(waiting):
            self._refusal(entry)

    def _report(self, fault: Fault, entry: Posted) -> None:
        found = Finding(fault=fault, population=self.population, ledger_seq=_seq(entry), index=entry.index)
        if found not in self.findings:
            self.findings.append(found)

    def _event(self, entry: Posted) -> None:
        event = entry.event
        if self.state is None:
            self._open(entry)
            return
        assert isinstance(event, BudgetEvent)
        if not self._in_turn(self.state, entry):
            return
        self._before(self.state, entry)
        try:
            self.state.post(event)
        except PrivgateError:
            self._report(Fault.ILLEGAL, entry)
            self.state.account = dataclasses.replace(self.state.account, ledger_seq=event.ledger_seq)
            return
        self._after(self.state, entry)

    def _open(self, entry: Posted) -> None:
        event = entry.event
        if not isinstance(event, PopulationCreated):
            self._report(Fault.UNOPENED, entry)
            return
        try:
            self.state = LedgerState(event)
            sound = event.order == best_order(event.epsilon, event.delta)
        except PrivgateError:
            self._report(Fault.ILLEGAL if self.state is None else Fault.BUDGET, entry)
            return
        if not sound or event.capacity != _capacity(event.epsilon, event.delta, event.order):
            self._report(Fault.BUDGET, entry)

    def _in_turn(self, state: LedgerState, entry: Posted) -> bool:
        number, last = _seq(entry), state.account.ledger_seq
        if number <= last:
            self._report(Fault.REPEATED, entry)
            return False
        if number > last + 1:
            self._report(Fault.GAP, entry)
            state.account = dataclasses.replace(state.account, ledger_seq=number - 1)
        return True

    def _asked_of_it(self, job: JobId) -> bool:
        """Whether a job may hold here: it is the first of its populations, or all of them were asked for it."""
        first = self.homes.setdefault(job, self.population)
        return first == self.population or {(job, first), (job, self.population)} <= self.asked

    def _before(self, state: LedgerState, entry: Posted) -> None:
        event, account = entry.event, state.account
        match event:
            case BudgetReserved():
                if not self._asked_of_it(event.job):
                    self._report(Fault.TWO_HOMES, entry)
                home = self.sealed.get(event.manifest)
                if home is not None and any(hold.block.home != home for hold in event.holds):
                    self._report(Fault.WRONG_BLOCK, entry)
                if (event.job, self.population) in self.asked and not _holds_everywhere(account, event):
                    self._report(Fault.PART, entry)
                standing = state.standing(event.principal)
                met = limits(standing, by_block(event.holds), event.trainer_share)
                if not account.retired and any(limit.short and limit.scope is Scope.TRAINER for limit in met):
                    self._report(Fault.OVER_CAP, entry)
            case BudgetChanged():
                budget = account.population.budget
                if event.capacity != _capacity(event.epsilon, budget.delta, budget.order):
                    self._report(Fault.BUDGET, entry)
            case BudgetTouched():
                held = _held(state, event.job)
                if held is not None and entry.at >= held.expires_at:
                    self._report(Fault.LATE, entry)
            case BudgetExpired():
                held = _held(state, event.job)
                if held is not None and entry.at < held.expires_at:
                    self._report(Fault.EARLY, entry)
            case _:
                pass

    def _after(self, state: LedgerState, entry: Posted) -> None:
        if state.account.overdrawn:
            self._report(Fault.OVERDRAWN, entry)
        order, event = state.account.population.budget.order, entry.event
        if isinstance(event, BudgetReserved):
            for hold in event.holds:
                self._price(hold, hold.charge_in_full(), order, entry)
        elif isinstance(event, BudgetCharged):
            for hold, charge in zip(state.reservations[event.job].holds, event.charges, strict=True):
                self._price(hold, charge, order, entry)

    def _price(self, hold: BlockHold, charge: BlockCharge, order: int, entry: Posted) -> None:
        stated = charge.price
        try:
            ours = hold.charge(charge.times, order).price
        except PrivgateError:
            # What nobody can price costs more than anything stated.
            self._report(Fault.UNDERPRICED, entry)
            return
        if stated < ours:
            self._report(Fault.UNDERPRICED, entry)
        elif stated.value > EXACT.multiply(ours.value, MOST_OVERSTATED):
            self._report(Fault.OVERPRICED, entry)

    def _refusal(self, entry: Posted) -> None:
        event, state = entry.event, self.state
        assert isinstance(event, BudgetRefused)
        if state is None or state.account.ledger_seq != event.after:
            self._report(Fault.REFUSAL, entry)
            return
        requested = {limit.block: limit.requested for limit in event.limits}
        met = limits(state.standing(event.principal), requested, event.trainer_share)
        fits = not event.retired and not any(limit.short for limit in met)
        if fits or met != event.limits or event.retired != state.account.retired:
            self._report(Fault.REFUSAL, entry)


def _true_odds(entry: Posted, numbered: Mapping[PopulationId, list[Posted]]) -> bool:
    """Whether an owner who was allotted what he chose was shown what his choices mean."""
    event = entry.event
    assert isinstance(event, BudgetChosen)
    events = [other.event for other in numbered.get(event.population, ())]
    created = next((other for other in events if isinstance(other, PopulationCreated)), None)
    if created is None or event.delta != created.delta or event.order not in (None, created.order):
        return False
    if event.epsilon not in {other.epsilon for other in events if isinstance(other, PopulationCreated | BudgetChanged)}:
        return False
    own = (Alternative(epsilon=event.epsilon, odds=event.odds),)
    try:
        return all(alternatives(event.delta, [s.epsilon], event.order) == (s,) for s in own + event.alternatives)
    except PrivgateError:
        return False


def _untrue(entry: Posted) -> Finding:
    assert isinstance(entry.event, BudgetChosen)
    return Finding(fault=Fault.ODDS, population=entry.event.population, ledger_seq=1, index=entry.index)


def _seq(entry: Posted) -> int:
    event = entry.event
    if isinstance(event, BudgetRefused):
        return event.after
    assert isinstance(event, BudgetEvent)
    return event.ledger_seq


def _holds_everywhere(account: Account, event: BudgetReserved) -> bool:
    sides = (Block.TRAIN, Block.HOLDOUT) if account.population.holdout_share.value else (Block.TRAIN,)
    held = by_block(event.holds)
    blocks = {side.at(home) for side in sides for home in range(1, account.homes + 1)}
    return blocks == held.keys() and len(set(held.values())) == 1


def _held(state: LedgerState, job: JobId) -> Reservation | None:
    reservation = state.reservations.get(job)
    return reservation if reservation is not None and reservation.state is ReservationState.HELD else None


def _capacity(epsilon: Epsilon, delta: Delta, order: int) -> Rdp | None:
    try:
        return capacity(epsilon, delta, order)
    except PrivgateError:
        return None
