"""Quotes: what a job would cost and whether it fits, from declared facts alone; nothing is held.

Rules
-----
1. "Remaining" is never epsilon minus a sum: what fits is said as the largest job of this very shape (RULES 6).
2. What is shown does not depend on rows: only on declared sizes, the plan and the ledger.
3. What epsilon means is said in odds, of the job alone and of the whole budget once it is spent; whether the job can
   succeed is said in a word.
4. The hold is shown beside the charge: a resume may repeat work, so more is held than an undisturbed run costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from kernel.amounts import Delta, Epsilon, Rdp, Share
from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from kernel.ids import Slug
from privacy.accounting.calibration import largest_epsilon
from privacy.accounting.mechanisms import MechanismUse
from privacy.accounting.odds import odds
from privacy.accounting.price import EXACT, Way, price
from privacy.accounting.rdp import job_epsilon
from privacy.budget.balances import Standing
from privacy.budget.choice import Alternative
from privacy.budget.ledger import limits
from privacy.budget.reservations import Block, BlockHold, by_block
from privacy.events.budget import Limit
from privacy.jobs.engines import EngineName
from privacy.jobs.feasibility import Feasibility, feasibility, scoring_word, training_word
from privacy.jobs.plan import Plan, TrainingPlan, TuningPlan, held_shape, shape
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
        if isinstance(plan, TuningPlan):
            plan = plan.training
        if not isinstance(plan, TrainingPlan):
            return None
        return cls(graph=plan.graph, size=plan.size, engine=plan.engine, clipping=plan.recipe.clipping)


@dataclass(frozen=True, kw_only=True)
class QuotedSelection(Record):
    """What a tuning would do: many tries of which one leaves, and what both ways of pricing them give.

    Attributes:
        candidates: How many there are to draw from.
        most_tries, mean_tries: How many tries there may be, and are on average.
        one_try: The price of one try, at the population's order.
        composed, selected: The price of all by composition and by selection; absent if it is beyond every budget.
        taken: The cheaper of them, which is the price.
        score_epsilon: What scoring costs people held out, alone.
        score_charge, score_hold, score_available: The same figures for them as the quote has for people who train.
        try_feasibility, score_feasibility: What to expect of one try, and of the counts that choose between tries: the
            worse of them is the quote's.
    """

    candidates: int
    most_tries: int
    mean_tries: Parameter
    one_try: Rdp
    composed: Rdp | None = None
    selected: Rdp | None = None
    taken: Way
    score_epsilon: Epsilon
    score_charge: Rdp
    score_hold: Rdp
    score_available: Rdp
    try_feasibility: Feasibility
    score_feasibility: Feasibility


@dataclass(frozen=True, kw_only=True)
class Quote(Record):
    """What one job would cost its population.

    Attributes:
        epsilon, delta, order: The job alone, once through, and the order that states it.
        unit: What to call one of the units.
        odds: How often in 100 an attacker who knows everything else is right about one unit at most, from this job.
        budget_odds: The same from everything that ever leaves, once all is spent; absent if an exact result left.
        feasibility: Whether the job can succeed, from declared sizes; absent where there is no rule.
        noise_multiplier: What the requested epsilon was calibrated to.
        steps: How often noise is added, once through; of a tuning, in one try.
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
        selection: What a tuning would select from.
    """

    epsilon: Epsilon
    delta: Delta
    order: int
    unit: Slug
    odds: int
    budget_odds: int | None = None
    feasibility: Feasibility | None = None
    noise_multiplier: Parameter
    steps: int
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
    selection: QuotedSelection | None = None


def quote(plan: Plan, standing: Standing, permitted: Share, home: int = 1, *, alone: bool = False) -> Quote:
    """Quote a plan against a population's standing.

    Args:
        plan: The calibrated plan.
        standing: The account and the trainer's account, read without a lock.
        permitted: The share of the budget that the trainer's grant allows.
        home: The home block that was open when the rows were sealed.
        alone: Whether the job sees the units alone that are at home there.
    """
    account, population = standing.account, standing.account.population
    budget = population.budget
    uses, holds = plan.uses(), tuple(BlockHold.of(use.placed(home, alone=alone), budget.order) for use in plan.holds())
    block = holds[0].block
    apart, held = plan.blocks_apart(), by_block(holds)
    charge, hold = price(*apart[0], order=budget.order), held[block]
    size = account.size(home) if alone else population.public_size
    met = limits(standing, held, permitted)
    available = min(limit.available for limit in met if limit.block is block)
    stated = max(
        (job_epsilon(*part, delta=budget.delta, near=budget.order) for part in apart), key=lambda part: part.epsilon
    )
    return Quote(
        epsilon=stated.epsilon,
        delta=budget.delta,
        order=stated.order,
        unit=population.unit_noun,
        odds=max(odds(*part) for part in apart),
        budget_odds=None if account.uncovered_since is not None else Alternative.of(budget).odds,
        feasibility=feasibility(plan, size, population.holdout_share),
        noise_multiplier=plan.noise_multiplier,
        steps=sum(use.times for use in (plan.training.uses() if isinstance(plan, TuningPlan) else uses)),
        block=block,
        charge=charge,
        hold=hold,
        capacity=budget.capacity,
        available=available,
        budget_share=_share(charge, budget.capacity),
        fits=not any(limit.short for limit in met),
        further=int(EXACT.divide(available.value, charge.value).to_integral_value(ROUND_FLOOR)),
        largest_epsilon=largest_epsilon_of(plan, available, budget.order),
        model=QuotedModel.of(plan),
        selection=(
            _selection(plan, holds, met, scoring_word(plan, size, population.holdout_share))
            if isinstance(plan, TuningPlan)
            else None
        ),
    )


def _selection(
    plan: TuningPlan, holds: Sequence[BlockHold], met: Sequence[Limit], scored_as: Feasibility
) -> QuotedSelection:
    (trained,), (scored,) = plan.blocks_apart()
    ways = {way: _priced(trained, plan.order, way) for way in (Way.COMPOSITION, Way.SELECTION)}
    block, mean = holds[1].block, plan.tries.mean
    return QuotedSelection(
        candidates=plan.search.candidates,
        most_tries=plan.tries.most,
        mean_tries=Parameter(EXACT.divide(mean.numerator, mean.denominator).quantize(_PER_MILLE)),
        one_try=price(*plan.training.uses(), order=plan.order),
        composed=ways[Way.COMPOSITION],
        selected=ways[Way.SELECTION],
        taken=next(way for way in ways if ways[way] == price(trained, order=plan.order)),
        score_epsilon=job_epsilon(scored, delta=plan.delta).epsilon,
        score_charge=price(scored, order=plan.order),
        score_hold=by_block(holds)[block],
        score_available=min(limit.available for limit in met if limit.block is block),
        try_feasibility=training_word(plan.training),
        score_feasibility=scored_as,
    )


def _priced(use: MechanismUse, order: int, way: Way) -> Rdp | None:
    try:
        return price(use, order=order, way=way)
    except InvalidError:
        return None


def largest_epsilon_of(plan: Plan, available: Rdp, order: int) -> Epsilon | None:
    """The largest epsilon of a job of this plan's shape whose hold fits `available`; none if no job does."""
    return largest_epsilon(shape(plan), held_shape(plan), available, order, plan.delta)


def _share(charge: Rdp, capacity: Rdp) -> Parameter:
    return Parameter(EXACT.divide(charge.value, capacity.value).quantize(_PER_MILLE, rounding=ROUND_CEILING))
