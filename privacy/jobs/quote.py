"""Quotes: what a job would cost and whether it fits, from declared facts alone; nothing is held.

Rules
-----
1. "Remaining" is never epsilon minus a sum: what fits is said as the largest job of this very shape (RULES 6).
2. What is shown does not depend on rows: only on declared sizes, the plan and the ledger.
3. The hold is shown beside the charge: a resume may repeat work, so more is held than an undisturbed run costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from kernel.amounts import Delta, Epsilon, Rdp, Share
from kernel.canonical import Digest
from kernel.events import Parameter, Record
from privacy.accounting.calibration import largest_epsilon
from privacy.accounting.price import EXACT, price
from privacy.accounting.rdp import job_epsilon
from privacy.budget.balances import Standing
from privacy.budget.ledger import limits
from privacy.budget.reservations import Block, BlockHold, by_block
from privacy.jobs.engines import EngineName
from privacy.jobs.plan import Plan, TrainingPlan, held_shape, shape
from privacy.jobs.recipe import Clipping
from privacy.jobs.size import ModelSize

_PER_MILLE = Decimal("0.001")


@dataclass(frozen=True, kw_only=True)
class QuotedModel(Record):
    """What an approval would let run: the graph, its size, and how it is run."""

    graph: Digest
    size: ModelSize
    engine: EngineName
    clipping: Clipping

    @classmethod
    def of(cls, plan: Plan) -> QuotedModel | None:
        """Read it from a plan; an evaluation runs a model that was approved before."""
        if not isinstance(plan, TrainingPlan):
            return None
        return cls(graph=plan.graph, size=plan.size, engine=plan.engine, clipping=plan.recipe.clipping)


@dataclass(frozen=True, kw_only=True)
class Quote(Record):
    """What one job would cost its population.

    Attributes:
        epsilon, delta, order: The job alone, once through, and the order that states it.
        noise_multiplier: What the requested epsilon was calibrated to.
        block: Whose units it reads.
        charge: The price of an undisturbed run, at the population's order.
        hold: What is held until it ends, resumes included.
        capacity: What the population's budget holds in all.
        available: What this trainer could still hold in the block.
        budget_share: The charge over the capacity, in thousandths, rounded up.
        fits: Whether the hold fits what is available.
        further: How many such charges would fit in what is available.
        largest_epsilon: The largest epsilon of a job of this shape whose hold fits; absent if none does.
        model: What would be trained.
    """

    epsilon: Epsilon
    delta: Delta
    order: int
    noise_multiplier: Parameter
    block: Block
    charge: Rdp
    hold: Rdp
    capacity: Rdp
    available: Rdp
    budget_share: Parameter
    fits: bool
    further: int
    largest_epsilon: Epsilon | None = None
    model: QuotedModel | None = None


def quote(plan: Plan, standing: Standing, permitted: Share) -> Quote:
    """Quote a plan against a population's standing.

    Args:
        plan: The calibrated plan.
        standing: The account and the trainer's account, read without a lock.
        permitted: The share of the budget that the trainer's grant allows.
    """
    budget = standing.account.population.budget
    uses, holds = plan.uses(), tuple(BlockHold.of(use, budget.order) for use in plan.holds())
    block = holds[0].block
    charge, hold = price(*uses, order=budget.order), by_block(holds)[block]
    available = min(limit.available for limit in limits(standing, {block: hold}, permitted))
    alone = job_epsilon(*uses, delta=budget.delta, near=budget.order)
    return Quote(
        epsilon=alone.epsilon,
        delta=budget.delta,
        order=alone.order,
        noise_multiplier=plan.noise_multiplier,
        block=block,
        charge=charge,
        hold=hold,
        capacity=budget.capacity,
        available=available,
        budget_share=_share(charge, budget.capacity),
        fits=hold <= available,
        further=int(EXACT.divide(available.value, charge.value).to_integral_value(ROUND_FLOOR)),
        largest_epsilon=largest_epsilon_of(plan, available, budget.order),
        model=QuotedModel.of(plan),
    )


def largest_epsilon_of(plan: Plan, available: Rdp, order: int) -> Epsilon | None:
    """The largest epsilon of a job of this plan's shape whose hold fits `available`; none if no job does."""
    return largest_epsilon(shape(plan), held_shape(plan), available, order, plan.delta)


def _share(charge: Rdp, capacity: Rdp) -> Parameter:
    return Parameter(EXACT.divide(charge.value, capacity.value).quantize(_PER_MILLE, rounding=ROUND_CEILING))
