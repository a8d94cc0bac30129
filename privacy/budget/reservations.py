"""Reservations: what a job may cost, held before it runs and charged once it has touched data.

Rules
-----
1. `held -> touched -> charged`, `held -> voided`, `held -> expired`, and nothing else. Touched means that the data key
   was handed out: from there on only a charge ends it.
2. A hold covers every replay that a resume may need. What is charged is what was started, replays included, never more
   than the hold; in doubt it is the whole hold.
3. A job has one reservation in each of its populations, for good: one, or that of every site. Asked again for the same,
   it gets the same; for anything else, a conflict.
4. A unit has one home block, for good: the one that was open when it first appeared, on its side of the split. A job
   that sees a unit's rows charges its home block: the block itself, or with `earlier` all earlier ones of its side too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

from kernel.amounts import Rdp, Share
from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Record
from kernel.ids import DecisionId, GrantId, JobId, PopulationId, PrincipalId, Slug
from privacy.accounting.mechanisms import MechanismUse
from privacy.accounting.price import price

MOST_HOLDS = 64
MOST_HOMES = 64
LARGEST_RUN = 10**9
_BLOCK = re.compile(r"(train|holdout)(?:/([1-9][0-9]?))?")


class Block(Slug):
    """A part of a population. A unit is in one block for good, so blocks compose in parallel.

    Written `train` or `holdout`, the sides of the split, for the units of the first home block; `train/2` for those of
    the second, and so on. Equal blocks are one object.
    """

    __slots__ = ()
    TRAIN: ClassVar[Block]
    HOLDOUT: ClassVar[Block]
    _known: ClassVar[dict[str, Block]] = {}

    def __new__(cls, value: str) -> Self:
        """Validate the written form."""
        known = cls._known.get(value) if isinstance(value, str) else None
        if known is None:
            found = _BLOCK.fullmatch(value) if isinstance(value, str) else None
            if found is None or not 2 <= int(found[2] or 2) <= MOST_HOMES:
                raise InvalidError(
                    f"`block` must be train or holdout, or with /2 to /{MOST_HOMES} behind", field="block"
                )
            known = cls._known.setdefault(value, super().__new__(cls, value))
        return known  # type: ignore[return-value]  # nobody subclasses it

    @property
    def value(self) -> str:
        """The written form."""
        return str(self)

    @property
    def home(self) -> int:
        """The number of the home block, from 1."""
        return int(self.partition("/")[2] or 1)

    def at(self, home: int) -> Block:
        """The same side of another home block."""
        whole(1, MOST_HOMES, home=home)
        side = self.partition("/")[0]
        return Block(side if home == 1 else f"{side}/{home}")


Block.TRAIN, Block.HOLDOUT = Block("train"), Block("holdout")
SIDES = (Block.TRAIN, Block.HOLDOUT)


class ReservationState(StrEnum):
    """Where a reservation stands."""

    HELD = "held"
    TOUCHED = "touched"
    CHARGED = "charged"
    VOIDED = "voided"
    EXPIRED = "expired"


LEGAL_MOVES: dict[ReservationState, frozenset[ReservationState]] = {
    ReservationState.HELD: frozenset(
        {ReservationState.TOUCHED, ReservationState.VOIDED, ReservationState.EXPIRED},
    ),
    # Touched again: a resume opens the envelope once more.
    ReservationState.TOUCHED: frozenset({ReservationState.TOUCHED, ReservationState.CHARGED}),
    ReservationState.CHARGED: frozenset(),
    ReservationState.VOIDED: frozenset(),
    ReservationState.EXPIRED: frozenset(),
}


@dataclass(frozen=True, kw_only=True)
class InBlocks(Record):
    """What is about a block, or about it and every earlier one of its side.

    Attributes:
        block: The block, or the newest of several.
        earlier: True for the earlier ones too; else absent.
    """

    block: Block
    earlier: bool | None = None

    def __post_init__(self) -> None:
        if self.earlier is not None and not (self.earlier and self.block.home > 1):
            raise InvalidError("`earlier` is true, for a block that is not the first, or absent", field="earlier")

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Every block, the first first."""
        last = self.block.home
        return tuple(self.block.at(home) for home in range(1 if self.earlier else last, last + 1))


@dataclass(frozen=True, kw_only=True)
class BlockUse(InBlocks):
    """A mechanism use and the blocks whose rows it sees."""

    mechanism: MechanismUse

    def placed(self, home: int, *, alone: bool) -> BlockUse:
        """The same use on the rows of a version that was sealed while a home block was open.

        Args:
            home: The block's number.
            alone: Whether only the units whose home it is are seen, or whoever else is in the version too.
        """
        earlier = None if alone or home == 1 else True
        return BlockUse(block=self.block.at(home), earlier=earlier, mechanism=self.mechanism)


@dataclass(frozen=True, kw_only=True)
class BlockHold(InBlocks):
    """What is held in each of its blocks for a mechanism use; `mechanism.times` is how often it may be started."""

    mechanism: MechanismUse
    price: Rdp

    @classmethod
    def of(cls, use: BlockUse, order: int) -> BlockHold:
        """Price a use at the population's order."""
        priced = price(use.mechanism, order=order)
        return cls(block=use.block, earlier=use.earlier, mechanism=use.mechanism, price=priced)

    def charge(self, times: int, order: int) -> BlockCharge:
        """The charge for starting the mechanism `times` times; raise `InvalidError` beyond what is held."""
        whole(0, self.mechanism.times, started=times)
        started = price(self.mechanism.repeated(times), order=order) if times else Rdp.zero()
        return BlockCharge(block=self.block, earlier=self.earlier, times=times, price=started)

    def charge_in_full(self) -> BlockCharge:
        """The whole hold as a charge."""
        return BlockCharge(block=self.block, earlier=self.earlier, times=self.mechanism.times, price=self.price)


@dataclass(frozen=True, kw_only=True)
class BlockCharge(InBlocks):
    """What a hold turned into, in each of its blocks: how often its mechanism was started, and the price of that."""

    times: int
    price: Rdp


@dataclass(frozen=True, kw_only=True)
class Settled(Record):
    """How a charge stands in its population; what a certificate's headline repeats.

    Attributes:
        ledger_seq: The charge's number.
        block: The job's block that was fullest before it.
        before: Charged and held in that block before it, without this job's own hold.
        charge: What this job added there.
        in_full: Whether the whole hold was charged because it was in doubt.
    """

    ledger_seq: int
    block: Block
    before: Rdp
    charge: Rdp
    in_full: bool


@dataclass(frozen=True, kw_only=True)
class Reservation(Record):
    """One job's hold on a population and what became of it.

    Attributes:
        job, population, principal: Whose hold on what.
        grant, decision, decision_leaf: What allowed it.
        request, manifest: The exact request, and the sealed version whose rows it may see.
        trainer_share: The cap that the permit set on everything this principal holds and spends.
        holds: What is held, by mechanism and block.
        expires_at: From then on it can be freed and can no longer be touched, unless it was.
        reserved_seq: Number of the event that made it.
        state: Where it stands.
        attempt: The last attempt that opened the envelope; 0 for none.
        charges: What was charged, one for each hold; empty until then.
        settled: How the charge stands in the population; absent until then.
    """

    job: JobId
    population: PopulationId
    principal: PrincipalId
    grant: GrantId
    decision: DecisionId
    decision_leaf: Digest
    request: Digest
    manifest: Digest
    trainer_share: Share
    holds: tuple[BlockHold, ...]
    expires_at: datetime
    reserved_seq: int
    state: ReservationState
    attempt: int = 0
    charges: tuple[BlockCharge, ...] = ()
    settled: Settled | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.holds) <= MOST_HOLDS:
            raise InvalidError(f"a reservation has 1 to {MOST_HOLDS} holds", field="holds")

    @property
    def live(self) -> bool:
        """Whether its holds count."""
        return self.state in (ReservationState.HELD, ReservationState.TOUCHED)

    def may_become(self, state: ReservationState) -> bool:
        """Whether the move is legal."""
        return state in LEGAL_MOVES[self.state]


def by_block(parts: Iterable[BlockHold | BlockCharge]) -> dict[Block, Rdp]:
    """The sum of prices in each block that occurs."""
    sums: dict[Block, Rdp] = {}
    for part in parts:
        for block in part.blocks:
            sums[block] = sums.get(block, Rdp.zero()) + part.price
    return sums


def steps_covered(steps: int, *, resumes: int, savepoint_interval: int) -> int:
    """How many steps a hold must cover: each resume repeats what came after the last savepoint.

    Args:
        steps: Steps of one undisturbed run.
        resumes: How often the run may resume.
        savepoint_interval: Steps from one savepoint to the next.
    """
    whole(1, LARGEST_RUN, steps=steps)
    whole(0, LARGEST_RUN, resumes=resumes)
    whole(1, LARGEST_RUN, savepoint_interval=savepoint_interval)
    return steps + resumes * min(savepoint_interval, steps)
