"""Populations and their budgets: fixed when they are created, for good.

Rules
-----
1. A budget is (epsilon, delta) and the one order at which its capacity is spent: the best order when it is allotted.
2. Order, delta, adjacency, unit and the holdout's share never change. Epsilon may, at the same order.
3. `public_size` is declared and coarse (two significant digits at most), so that it tells nobody how many there are.
4. delta <= 1/(100 public_size) and delta <= 1e-6. With the owner's written reason it may go up to 1/public_size.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from kernel.amounts import Delta, Epsilon, Rdp, Share
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Commitment, Record
from kernel.ids import PopulationId, PrincipalId, Slug, TenantId
from privacy.accounting.price import EXACT, HIGHEST_ORDER, LEAST_ORDER
from privacy.accounting.rdp import best_order, capacity
from privacy.units import Adjacency, UnitKind

LARGEST_DELTA = Delta(Decimal("1e-6"))
LARGEST_SIZE = 10**10
_SIGNIFICANT = 2


@dataclass(frozen=True, kw_only=True)
class Budget(Record):
    """What one unit of a population may lose in total.

    Attributes:
        epsilon, delta: The statement that holds for everything that ever leaves.
        order: The order at which prices are taken.
        capacity: What may be charged and held together, at that order.
    """

    epsilon: Epsilon
    delta: Delta
    order: int
    capacity: Rdp

    def __post_init__(self) -> None:
        whole(LEAST_ORDER, HIGHEST_ORDER, order=self.order)
        if not self.capacity.value:
            raise InvalidError("a budget needs a capacity above 0", field="capacity")

    @classmethod
    def allot(cls, epsilon: Epsilon, delta: Delta) -> Self:
        """Fix the order and the capacity of a new budget.

        Raises:
            InvalidError: The budget is too small to hold any job, or `delta` is not between 0 and 1.
        """
        order = best_order(epsilon, delta)
        return cls(epsilon=epsilon, delta=delta, order=order, capacity=capacity(epsilon, delta, order))

    def resized(self, epsilon: Epsilon) -> Self:
        """The same budget with another epsilon, at the same order and delta; `InvalidError` if that holds nothing."""
        return dataclasses.replace(self, epsilon=epsilon, capacity=capacity(epsilon, self.delta, self.order))

    def part(self, share: Share) -> Rdp:
        """A share of the capacity, rounded down."""
        return Rdp.down(EXACT.multiply(self.capacity.value, share.value))


@dataclass(frozen=True, kw_only=True)
class Population(Record):
    """The people or records that one budget protects, wherever and however often their rows are uploaded.

    Attributes:
        id: Its identifier.
        tenant, owner: Who answers for it.
        unit_kind: A person-like column value or a record.
        unit_noun: What to call one unit, for example `patient`.
        unit_domain: Which namespace the unit ids are from, for example `patients-by-mrn`.
        adjacency: Add or remove one unit.
        public_size: About how many units; declared, coarse, need not be true.
        holdout_share: The part of the units that never trains; fixed for good.
        budget: What a unit may lose.
        larger_delta_reason: Commitment to the owner's reason for a delta above the rule.
    """

    id: PopulationId
    tenant: TenantId
    owner: PrincipalId
    unit_kind: UnitKind
    unit_noun: Slug
    unit_domain: Slug
    adjacency: Adjacency
    public_size: int
    holdout_share: Share
    budget: Budget
    larger_delta_reason: Commitment | None = None

    def __post_init__(self) -> None:
        check_size(self.public_size, most=LARGEST_SIZE)
        if self.holdout_share.value >= 1:
            raise InvalidError("`holdout_share` must leave units to train on: below 1", field="holdout_share")
        self._check_delta()

    def _check_delta(self) -> None:
        delta = self.budget.delta
        expected = EXACT.multiply(delta.value, Decimal(self.public_size))
        if expected > 1:
            raise InvalidError("`delta` must not exceed 1 / public_size", field="delta")
        within_rule = delta <= LARGEST_DELTA and expected <= Decimal("0.01")
        if not within_rule and self.larger_delta_reason is None:
            raise InvalidError(
                "`delta` must be at most 1e-6 and at most 1 / (100 public_size), or have the owner's written reason",
                field="delta",
            )


def check_size(public_size: int, *, most: int) -> None:
    """Raise `InvalidError` unless a declared number of units is coarse, and not above `most`."""
    whole(1, most, public_size=public_size)
    if len(str(public_size).rstrip("0")) > _SIGNIFICANT:
        raise InvalidError(
            "declare a coarse `public_size` of at most two significant digits, such as 600 or 33000",
            field="public_size",
        )
