"""What an owner is shown before he chooses a budget, and that it is held against the log afterwards."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from kernel.amounts import Delta, Epsilon
from kernel.errors import InvalidError
from kernel.ids import PopulationId
from privacy.accounting.odds import budget_odds
from privacy.accounting.rdp import capacity
from privacy.budget import ledger
from privacy.budget.choice import MOST_ALTERNATIVES, SHOWN, Alternative, alternatives, largest_delta
from privacy.budget.populations import Budget
from privacy.events.choices import BudgetChosen
from privacy.replay import Fault, Posted, replay
from tests.support.budgets import fresh, population

DELTA = Delta.parse("0.000001")
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def test_more_epsilon_has_worse_odds_and_none_is_better_than_a_coin() -> None:
    """Seven choices, from nearly a coin to nearly certain."""
    shown = alternatives(DELTA)
    odds = [choice.odds for choice in shown]
    assert [choice.epsilon for choice in shown] == list(SHOWN)
    assert odds == sorted(set(odds))
    assert odds[0] < 60
    assert odds[-1] >= 99


def test_odds_are_those_of_the_budget_that_would_be_allotted() -> None:
    """At the order and capacity that the ledger would have."""
    (choice,) = alternatives(DELTA, [Epsilon.parse("3")])
    budget = Budget.allot(Epsilon.parse("3"), DELTA)
    assert choice.odds == budget_odds(budget.epsilon, budget.delta, budget.order, budget.capacity)


def test_a_budget_that_is_changed_has_the_odds_of_its_own_order() -> None:
    """The order is fixed with the population; capacity there, and with it the odds, is another than a new one's."""
    epsilon = Epsilon.parse("4")
    for order in (4, 6, 20):
        (changed,) = alternatives(DELTA, [epsilon], order)
        assert changed.odds == budget_odds(epsilon, DELTA, order, capacity(epsilon, DELTA, order))
    (new,) = alternatives(DELTA, [epsilon])
    assert new != changed


def test_what_could_hold_no_job_is_no_choice() -> None:
    """Neither is a list that nobody reads."""
    with pytest.raises(InvalidError, match="too small"):
        alternatives(DELTA, [Epsilon.parse("0.000001")])
    with pytest.raises(InvalidError, match="alternatives"):
        alternatives(DELTA, [Epsilon(Decimal(n)) for n in range(1, MOST_ALTERNATIVES + 2)])


@pytest.mark.parametrize(
    ("size", "delta"), [(10, "0.000001"), (10_000, "0.000001"), (33_000, "0.0000003"), (10**9, "0.00000000001")]
)
def test_the_proposed_delta_needs_no_reason(size: int, delta: str) -> None:
    """At most 1e-6 and 1 / (100 public_size), and a population takes it."""
    assert largest_delta(size) == Delta.parse(delta)
    budget = Budget.allot(Epsilon.parse("5"), largest_delta(size))
    assert population(public_size=size, budget=budget).larger_delta_reason is None


def test_the_replay_works_out_again_what_was_shown() -> None:
    """Odds that are too good, of the choice or of an alternative, are a finding; true ones are none."""
    created = ledger.create(population()).event
    budget = Budget.allot(Epsilon.parse("3"), DELTA)
    true = BudgetChosen(
        population=created.population,
        epsilon=budget.epsilon,
        delta=budget.delta,
        odds=Alternative.of(budget).odds,
        alternatives=alternatives(DELTA),
    )
    (eight,) = alternatives(DELTA, [Epsilon.parse("8")])
    another = dataclasses.replace(true, epsilon=eight.epsilon, odds=eight.odds)
    fixed = created.order + 2
    elsewhere = dataclasses.replace(true, alternatives=(), odds=100, order=fixed)
    better = [dataclasses.replace(shown, odds=shown.odds - 1) for shown in true.alternatives]
    for event, faults in (
        (true, []),
        (dataclasses.replace(true, odds=true.odds - 1), [Fault.ODDS]),
        (dataclasses.replace(true, alternatives=(*true.alternatives[:-1], better[-1])), [Fault.ODDS]),
        (dataclasses.replace(true, epsilon=Epsilon.parse("0.000001")), [Fault.ODDS]),
        (dataclasses.replace(true, population=fresh(PopulationId)), [Fault.ODDS]),
        (elsewhere, [Fault.ODDS]),
        (another, [Fault.ODDS]),
    ):
        read = replay([Posted(index=0, at=NOW, event=created), Posted(index=1, at=NOW, event=event)])
        assert [found.fault for found in read.findings] == faults
        assert [found.index for found in read.findings] == [1] * len(faults)
        assert read.checked == 2
