"""Balances: what the fold of a ledger keeps, cut into the rows that one verb needs.

Rules
-----
1. A population's balance is the maximum over its blocks; a trainer's likewise.
2. `committed` = charged + held. Available is what the capacity leaves beside it, never below 0.
3. A population has a balance for each side of each of its home blocks. A trainer's account lacks those that it never
   used: they are empty.
4. A verb sees a `Standing`: the account, at most one trainer and at most one reservation. It depends on nothing else,
   so an adapter reads and writes a fixed number of rows, however many jobs there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from kernel.amounts import Rdp, Share
from kernel.events import Record
from kernel.ids import PopulationId, PrincipalId
from privacy.budget.populations import Population
from privacy.budget.reservations import SIDES, Block, Reservation


@dataclass(frozen=True, kw_only=True)
class Balance(Record):
    """What is charged and held in one block."""

    block: Block
    charged: Rdp
    held: Rdp

    @property
    def committed(self) -> Rdp:
        """Charged and held together."""
        return self.charged + self.held


Balances = tuple[Balance, ...]


def emptied(home: int) -> Balances:
    """The balances of a home block in which nothing happened."""
    return tuple(Balance(block=side.at(home), charged=Rdp.zero(), held=Rdp.zero()) for side in SIDES)


EMPTY: Balances = emptied(1)


def grown(balances: Balances, blocks: Iterable[Block]) -> Balances:
    """The same balances with empty ones for home blocks that are not among them."""
    most = max((block.home for block in blocks), default=1)
    for home in range(len(balances) // len(SIDES) + 1, most + 1):
        balances += emptied(home)
    return balances


def balance_of(balances: Balances, block: Block) -> Balance:
    """The balance of one block; an empty one if it is not there."""
    return next(balance for balance in grown(balances, (block,)) if balance.block is block)


def with_held(balances: Balances, more: Mapping[Block, Rdp]) -> Balances:
    """Add to what is held."""
    return tuple(
        dataclasses.replace(b, held=b.held + more[b.block]) if b.block in more else b for b in grown(balances, more)
    )


def without_held(balances: Balances, less: Mapping[Block, Rdp]) -> Balances:
    """Take from what is held."""
    return tuple(
        dataclasses.replace(b, held=b.held - less[b.block]) if b.block in less else b for b in grown(balances, less)
    )


def with_charged(balances: Balances, more: Mapping[Block, Rdp]) -> Balances:
    """Add to what is charged."""
    return tuple(
        dataclasses.replace(b, charged=b.charged + more[b.block]) if b.block in more else b
        for b in grown(balances, more)
    )


@dataclass(frozen=True, kw_only=True)
class Account(Record):
    """A population and its balances.

    Attributes:
        population: Its facts, with the budget as it is now.
        ledger_seq: The number of its last event.
        balances: One for each block: both sides of the first home block, then both of the next.
        sizes: Of the home blocks after the first: about how many units each has, as declared.
        retired: Whether it takes no more reservations.
        uncovered_since: The event from which its guarantee does not cover everything that left; absent while it does.
    """

    population: Population
    ledger_seq: int
    balances: Balances = EMPTY
    retired: bool = False
    uncovered_since: int | None = None
    sizes: tuple[int, ...] = ()

    @property
    def homes(self) -> int:
        """How many home blocks there are; units that appear from here on are at home in the last."""
        return 1 + len(self.sizes)

    def size(self, home: int) -> int:
        """About how many units a home block has, as declared: the whole population for the first."""
        return self.population.public_size if home == 1 else self.sizes[home - 2]

    def balance(self, block: Block) -> Balance:
        """The balance of one block."""
        return balance_of(self.balances, block)

    @property
    def committed(self) -> Rdp:
        """Charged and held: the maximum over blocks."""
        return max(balance.committed for balance in self.balances)

    @property
    def charged(self) -> Rdp:
        """Charged: the maximum over blocks."""
        return max(balance.charged for balance in self.balances)

    @property
    def overdrawn(self) -> bool:
        """Whether a block holds more than the capacity; a sound ledger never does."""
        return self.committed > self.population.budget.capacity

    def available(self, block: Block) -> Rdp:
        """What may still be held in the block; nothing once retired."""
        return Rdp.zero() if self.retired else left(self.population.budget.capacity, self.balance(block).committed)


@dataclass(frozen=True, kw_only=True)
class TrainerAccount(Record):
    """What one principal holds and has spent of a population. Its cap is access policy: trainers may collude.

    Attributes:
        population, principal: Whose.
        cap: The owner's cap as a share of the capacity; absent for none beyond the permit's.
        balances: One for each block, in the order of the account's; the last may be missing.
    """

    population: PopulationId
    principal: PrincipalId
    cap: Share | None = None
    balances: Balances = EMPTY

    def balance(self, block: Block) -> Balance:
        """The balance of one block."""
        return balance_of(self.balances, block)

    def share(self, permitted: Share) -> Share:
        """The smaller of the owner's cap and what the permit allows."""
        return permitted if self.cap is None else min(self.cap, permitted)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The rows that one verb reads and writes.

    Attributes:
        account: The population's; an adapter locks it first.
        trainer: The account of the principal in question; empty for one who never reserved, absent if nobody is.
        reservation: The job's; absent if it has none.
    """

    account: Account
    trainer: TrainerAccount | None = None
    reservation: Reservation | None = None

    def replaced(self, **changes: object) -> Self:
        """The same standing with other rows."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def left(limit: Rdp, committed: Rdp) -> Rdp:
    """What `limit` leaves beside `committed`, at least nothing."""
    return limit - committed if committed < limit else Rdp.zero()
