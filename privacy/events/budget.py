"""What happened to a budget. Format: docs/formats/budget-events.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from kernel.amounts import Delta, Epsilon, Rdp, Share
from kernel.canonical import Digest
from kernel.events import Commitment, Event, Record
from kernel.ids import DecisionId, GrantId, JobId, PopulationId, PrincipalId, Slug, TenantId
from privacy.budget.reservations import Block, BlockCharge, BlockHold
from privacy.units import Adjacency, UnitKind


@dataclass(frozen=True, kw_only=True)
class BudgetEvent(Event):
    """Base of the events that make a ledger: a population and its gapless number, from 1."""

    population: PopulationId
    ledger_seq: int


@dataclass(frozen=True, kw_only=True)
class PopulationCreated(BudgetEvent):
    """An owner declared who is protected, and what one of them may lose in total."""

    TYPE: ClassVar[str] = "population:created"
    tenant: TenantId
    owner: PrincipalId
    unit_kind: UnitKind
    unit_noun: Slug
    unit_domain: Slug
    adjacency: Adjacency
    public_size: int
    holdout_share: Share
    epsilon: Epsilon
    delta: Delta
    order: int
    capacity: Rdp
    larger_delta_reason: Commitment | None = None


@dataclass(frozen=True, kw_only=True)
class BudgetChanged(BudgetEvent):
    """The owner raised or lowered epsilon; order and delta stay."""

    TYPE: ClassVar[str] = "budget:changed"
    epsilon: Epsilon
    capacity: Rdp


@dataclass(frozen=True, kw_only=True)
class BudgetCapped(BudgetEvent):
    """The owner capped what one trainer may hold and spend in all. Access policy, not privacy: trainers may collude."""

    TYPE: ClassVar[str] = "budget:capped"
    principal: PrincipalId
    share: Share


@dataclass(frozen=True, kw_only=True)
class BudgetReserved(BudgetEvent):
    """What a job may cost is held, with every replay that it may need."""

    TYPE: ClassVar[str] = "budget:reserved"
    job: JobId
    principal: PrincipalId
    grant: GrantId
    decision: DecisionId
    decision_leaf: Digest
    request: Digest
    manifest: Digest
    trainer_share: Share
    holds: tuple[BlockHold, ...]
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class BudgetTouched(BudgetEvent):
    """The data key was handed out for this attempt: the point of no return."""

    TYPE: ClassVar[str] = "budget:touched"
    job: JobId
    attempt: int


@dataclass(frozen=True, kw_only=True)
class BudgetCharged(BudgetEvent):
    """What was started is spent for good; the rest of the hold returns."""

    TYPE: ClassVar[str] = "budget:charged"
    job: JobId
    charges: tuple[BlockCharge, ...]
    in_full: bool


@dataclass(frozen=True, kw_only=True)
class BudgetVoided(BudgetEvent):
    """The hold of a job that never touched data returns."""

    TYPE: ClassVar[str] = "budget:voided"
    job: JobId


@dataclass(frozen=True, kw_only=True)
class BudgetExpired(BudgetEvent):
    """The hold of a job that did not start in time returns."""

    TYPE: ClassVar[str] = "budget:expired"
    job: JobId


@dataclass(frozen=True, kw_only=True)
class PopulationRetired(BudgetEvent):
    """No more reservations. What is held may still be charged; nothing is ever reset."""

    TYPE: ClassVar[str] = "population:retired"


@dataclass(frozen=True, kw_only=True)
class PopulationUncovered(BudgetEvent):
    """An exact result left; from here on the guarantee does not cover everything that did."""

    TYPE: ClassVar[str] = "population:uncovered"
    job: JobId | None = None


@dataclass(frozen=True, kw_only=True)
class BlockOpened(BudgetEvent):
    """Units that first appear from here on are at home in a new block, about so many of them by declaration."""

    TYPE: ClassVar[str] = "block:opened"
    home: int
    public_size: int


class Scope(StrEnum):
    """Whose limit it is."""

    POPULATION = "population"
    TRAINER = "trainer"


@dataclass(frozen=True, kw_only=True)
class Limit(Record):
    """What was asked for in a block, and what a scope still has there."""

    scope: Scope
    block: Block
    requested: Rdp
    available: Rdp

    @property
    def short(self) -> bool:
        """Whether it is too little."""
        return self.requested > self.available


@dataclass(frozen=True, kw_only=True)
class BudgetRefused(Event):
    """A reservation did not fit. It changes no balance and has no number; `after` is the last one that was seen."""

    TYPE: ClassVar[str] = "budget:refused"
    population: PopulationId
    after: int
    job: JobId
    principal: PrincipalId
    request: Digest
    trainer_share: Share
    retired: bool
    limits: tuple[Limit, ...]


LEDGER_EVENTS: tuple[type[BudgetEvent], ...] = (
    PopulationCreated,
    BudgetChanged,
    BudgetCapped,
    BudgetReserved,
    BudgetTouched,
    BudgetCharged,
    BudgetVoided,
    BudgetExpired,
    PopulationRetired,
    PopulationUncovered,
    BlockOpened,
)
BUDGET_EVENTS: tuple[type[Event], ...] = (*LEDGER_EVENTS, BudgetRefused)
