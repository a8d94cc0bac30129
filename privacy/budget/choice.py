"""An owner's choice of epsilon: what was shown to choose from, in odds, and the delta that the rule allows.

Rules
-----
1. What is shown depends on delta alone, never on rows.
2. Odds are those of a budget that is spent to its end (`privacy.accounting.odds`): the worst that can come of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from kernel.amounts import Delta, Epsilon
from kernel.errors import InvalidError
from kernel.events import Record
from privacy.accounting.odds import budget_odds
from privacy.accounting.price import EXACT
from privacy.accounting.rdp import capacity
from privacy.budget.populations import LARGEST_DELTA, Budget

SHOWN = tuple(map(Epsilon.parse, ("0.5", "1", "2", "3", "5", "8", "12")))
"""What an owner who asks for choices is shown."""
MOST_ALTERNATIVES = 16


@dataclass(frozen=True, kw_only=True)
class Alternative(Record):
    """A budget that could be chosen.

    Attributes:
        epsilon: What one unit could lose in total.
        odds: How often in 100 an attacker who knows everything else is right about one unit at most, once it is spent.
    """

    epsilon: Epsilon
    odds: int

    @classmethod
    def of(cls, budget: Budget) -> Alternative:
        """Work out the odds of a budget at its own order."""
        odds = budget_odds(budget.epsilon, budget.delta, budget.order, budget.capacity)
        return cls(epsilon=budget.epsilon, odds=odds)


def alternatives(
    delta: Delta, epsilons: Iterable[Epsilon] = SHOWN, order: int | None = None
) -> tuple[Alternative, ...]:
    """The odds of several budgets at one delta, smallest first.

    Args:
        delta: Of all of them.
        epsilons: Of each.
        order: Of a population that has one already; without it each budget has its own best order.

    Raises:
        InvalidError: There are too many, or one is too small to hold any job.
    """
    chosen = sorted(set(epsilons), key=lambda epsilon: epsilon.value)
    if len(chosen) > MOST_ALTERNATIVES:
        raise InvalidError(f"at most {MOST_ALTERNATIVES} alternatives can be shown", field="alternatives")
    return tuple(Alternative.of(_budget(epsilon, delta, order)) for epsilon in chosen)


def _budget(epsilon: Epsilon, delta: Delta, order: int | None) -> Budget:
    if order is None:
        return Budget.allot(epsilon, delta)
    return Budget(epsilon=epsilon, delta=delta, order=order, capacity=capacity(epsilon, delta, order))


def largest_delta(public_size: int) -> Delta:
    """The largest delta that needs no reason: 1e-6, or 1 / (100 public_size) where that is less; to one digit."""
    allowed = min(LARGEST_DELTA.value, EXACT.divide(Decimal("0.01"), Decimal(max(public_size, 1))))
    return Delta(allowed.quantize(Decimal(1).scaleb(allowed.adjusted()), rounding=ROUND_FLOOR))
