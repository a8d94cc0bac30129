"""Why an owner chose a budget. Format: docs/formats/budget-events.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kernel.amounts import Delta, Epsilon
from kernel.events import Commitment, Event
from kernel.ids import PopulationId
from privacy.budget.choice import Alternative


@dataclass(frozen=True, kw_only=True)
class BudgetChosen(Event):
    """An owner said what he was shown before he chose a budget, and why he chose it. It changes no balance.

    `order` is that of a population whose budget was changed; absent with a new one, where each choice has its own.
    """

    TYPE: ClassVar[str] = "budget:chosen"
    population: PopulationId
    epsilon: Epsilon
    delta: Delta
    odds: int
    alternatives: tuple[Alternative, ...]
    reason: Commitment | None = None
    order: int | None = None


CHOICE_EVENTS: tuple[type[Event], ...] = (BudgetChosen,)
