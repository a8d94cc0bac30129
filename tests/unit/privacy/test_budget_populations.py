"""Populations: what is fixed when they are created."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.amounts import Delta, Epsilon, Rdp, Share
from kernel.errors import InvalidError
from kernel.events import Commitment
from privacy.budget.populations import Budget, Population
from privacy.units import Adjacency
from tests.support.budgets import budget, population

REASON = Commitment("sha256:" + "ab" * 32)


def test_order_and_capacity_follow_from_epsilon_and_delta() -> None:
    """RULES 4: the owner chooses epsilon and delta; the rest is not a choice."""
    made = Budget.allot(Epsilon.parse("3"), Delta.parse("0.00001"))
    assert (made.order, made.capacity) == (8, Rdp.parse("1.785890832"))


def test_a_budget_resized_keeps_order_and_delta() -> None:
    """RULES 10: another epsilon is another capacity at the same order, even where another order would be better."""
    small = Budget.allot(Epsilon.parse("1"), Delta.parse("0.00001"))
    large = small.resized(Epsilon.parse("10"))
    assert (large.order, large.delta) == (small.order, small.delta)
    assert large.capacity > small.capacity
    assert large != Budget.allot(Epsilon.parse("10"), Delta.parse("0.00001"))
    with pytest.raises(InvalidError):
        small.resized(Epsilon.parse("0.1"))


@pytest.mark.parametrize(
    ("size", "delta", "reason", "accepted"),
    [
        (600, "0.000001", None, True),
        (10_000, "0.000001", None, True),
        (11_000, "0.000001", None, False),
        (11_000, "0.0000009", None, True),
        (600, "0.0000011", None, False),
        (600, "0.0000011", REASON, True),
        (60_000, "0.00001", REASON, True),
        (60_000, "0.00001", None, False),
        (110_000, "0.00001", REASON, False),
    ],
)
def test_delta_is_small_for_the_number_of_units(size: int, delta: str, reason: Any, accepted: bool) -> None:
    """RULES 13: at most 1e-6 and 1/(100 public_size); larger with a written reason; never above 1/public_size."""
    facts = {"public_size": size, "budget": budget(delta=delta), "larger_delta_reason": reason}
    if accepted:
        assert population(**facts).budget.delta == Delta.parse(delta)
    else:
        with pytest.raises(InvalidError) as refused:
            population(**facts)
        assert refused.value.field == "delta"


@pytest.mark.parametrize("size", [0, -600, 569, 32_561, 101, 10**11, True, "600"])
def test_public_size_is_coarse(size: Any) -> None:
    """RULES 13: an exact count cannot be declared by habit; 600 and 33000 can."""
    with pytest.raises(InvalidError):
        population(public_size=size)
    for coarse in (1, 12, 600, 570, 33_000, 10**9):
        assert population(public_size=coarse, budget=budget(delta="0.000000000001")).public_size == coarse


def test_a_holdout_leaves_somebody_to_train_on() -> None:
    """The holdout's share is below 1; 0 means that there is none."""
    with pytest.raises(InvalidError):
        population(holdout_share=Share.parse("1"))
    assert population(holdout_share=Share.parse("0")).holdout_share == Share.zero()


def test_there_is_one_adjacency() -> None:
    """RULES 3: replace-one cannot be stored; a population that says so is not read."""
    assert list(Adjacency) == [Adjacency.ADD_OR_REMOVE_ONE_UNIT]
    fields = population().to_fields()
    assert Population.from_fields(fields).to_fields() == fields
    with pytest.raises(InvalidError):
        Population.from_fields(fields | {"adjacency": "replace-one-unit"})


def test_a_share_of_the_capacity_is_rounded_down() -> None:
    """A cap never allows more than the share says."""
    third = budget().part(Share.parse("0.333333333"))
    assert third * 3 < budget().capacity
    assert budget().part(Share.parse("1")) == budget().capacity
