"""The plan of a training: what will run, in one frozen value from which the price is derived.

Rules
-----
1. The normaliser is the expected batch, declared; it is never a number of rows.
2. The engine clips to `clip x (1 - 2^-8)`; the price is that of `clip`. The margin pays for floating-point error and
   for rounding sums to a grid (`privacy.training.noise`).
3. How fast it runs is another type, `Performance`: no value of it can change what is released or what it costs.
4. The model's size is part of the plan, so that whoever approves reads it and the child is held to it.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import ClassVar

from kernel.canonical import Digest
from kernel.checks import positive, whole
from kernel.errors import TooLargeError
from kernel.events import Parameter, Record
from privacy.accounting.mechanisms import MechanismUse, PoissonSampledGaussian
from privacy.budget.reservations import Block, BlockUse, steps_covered
from privacy.graph.check import CheckedGraph
from privacy.jobs.engines import EngineName, engine_for
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.head import JobKind
from privacy.jobs.plan_head import NoisedPlan, noised_head
from privacy.jobs.recipe import Clipping, Recipe
from privacy.jobs.size import NUMBERS_AT_ONCE, ModelSize, numbers_per_unit, row_work, scoring_work
from privacy.jobs.training_spec import Loss, TrainingSpec
from privacy.schema import TableSchema

RESUMES = 2
MOST_CHUNKS = 10
MOST_WORK = 5 * 10**11
_ROW_WORK, _BATCH_WORK, _STEP_WORK, _WEIGHT_WORK, _NODE_WORK = 200, 75_000, 150_000, 20, 20_000
COUNT_NOISE_SHARE = Decimal("0.05")
LARGEST_UNIT_GRADIENT = 2**24
MOST_UNITS_AT_ONCE = 8192
MOST_NUMBERS_IN_MEMORY = 2**29
CLIP_MARGIN = Decimal(255) / 256
_ROUND_UP = Context(prec=34, rounding=ROUND_CEILING)
_ROUND_DOWN = Context(prec=34, rounding=ROUND_FLOOR)


@dataclass(frozen=True, kw_only=True)
class TrainingPlan(NoisedPlan):
    """A private training run.

    Attributes:
        graph, features: Digests of the model graph and of the feature spec.
        size: What the model takes.
        loss: Of one row.
        recipe: Sampling rate, steps, clip, learning rate and the rest, as requested.
        engine: What computes the clipped sums.
        noise_multiplier: Standard deviation of the noise on the sum, in units of `recipe.clip`.
        normaliser: What the noisy sum is divided by: the expected batch.
        rows_per_unit: The most rows of one unit; they are summed before clipping.
        savepoint_interval: Steps from one savepoint to the next.
        resumes: How many resumes the hold covers.
    """

    kind: ClassVar[JobKind] = JobKind.TRAINING

    graph: Digest
    features: Digest
    size: ModelSize
    loss: Loss
    recipe: Recipe
    engine: EngineName
    normaliser: Parameter
    savepoint_interval: int
    resumes: int

    def __post_init__(self) -> None:
        positive(normaliser=self.normaliser.number)
        whole(1, self.recipe.steps, savepoint_interval=self.savepoint_interval)
        whole(0, 100, resumes=self.resumes)
        super().__post_init__()

    @property
    def retries(self) -> int:
        """How many further attempts the hold covers."""
        return self.resumes

    @property
    def sigma(self) -> Decimal:
        """The noise's standard deviation in every coordinate of the sum of gradients."""
        return _ROUND_UP.multiply(self.noise_multiplier.number, self.recipe.clip.number)

    @property
    def count_noise(self) -> Decimal:
        """Under adaptive clipping: the deviation of the noise on the count of units that stayed below the clip.

        A twentieth of the expected batch, or 2 z where that is more, so that the count takes at most a sixteenth of
        the privacy.
        """
        share = _ROUND_UP.multiply(self.normaliser.number, COUNT_NOISE_SHARE)
        return max(share, _ROUND_UP.multiply(Decimal(2), self.noise_multiplier.number))

    @property
    def gradient_noise(self) -> Decimal:
        """The noise on the sum of gradients, in units of the step's clip: the multiplier, or a hair more.

        Under adaptive clipping the count of units, each as +1/2 or -1/2, is released beside the sum. Sum over clip and
        count over 1/2 are one Gaussian vector; with z^-2 = g^-2 + (2 s)^-2, g the sum's noise and s the count's, the
        pair costs exactly what the multiplier z costs.

        Reference: Andrew et al. 2021 (arXiv 1905.03871), theorem 1.
        """
        z = self.noise_multiplier.number
        if self.recipe.clipping is not Clipping.ADAPTIVE:
            return z
        part = _ROUND_UP.divide(z, _ROUND_DOWN.multiply(Decimal(2), self.count_noise))
        left = _ROUND_DOWN.subtract(Decimal(1), _ROUND_UP.multiply(part, part))
        return _ROUND_UP.divide(z, _ROUND_DOWN.sqrt(left))

    @property
    def engine_clip(self) -> Decimal:
        """What the engine clips to: a hair below the clip that is priced."""
        return _ROUND_DOWN.multiply(self.recipe.clip.number, CLIP_MARGIN)

    def uses(self) -> tuple[MechanismUse, ...]:
        """What it composes if it runs once through."""
        return (self._use(self.recipe.steps),)

    def holds(self) -> tuple[BlockUse, ...]:
        """What must be held before it starts, replays included."""
        recipe = self.recipe
        steps = steps_covered(recipe.steps, resumes=self.resumes, savepoint_interval=self.savepoint_interval)
        return (BlockUse(block=Block.TRAIN, mechanism=self._use(steps)),)

    def _use(self, steps: int) -> PoissonSampledGaussian:
        return PoissonSampledGaussian(
            sampling_rate=self.recipe.sampling_rate, noise_multiplier=self.noise_multiplier, steps=steps
        )


@dataclass(frozen=True, kw_only=True)
class Performance(Record):
    """How the work is cut. It follows from declared constants and changes neither the release nor its price.

    Attributes:
        units_at_once: Units in one micro-batch; missing ones are padded with rows of weight zero.
        least_micro_batches: Micro-batches in a step; a larger sample takes a whole multiple of them.
    """

    units_at_once: int
    least_micro_batches: int

    def __post_init__(self) -> None:
        whole(1, MOST_UNITS_AT_ONCE, units_at_once=self.units_at_once)
        whole(1, 10**9, least_micro_batches=self.least_micro_batches)


def plan_training(spec: TrainingSpec, schema: TableSchema, facts: DeclaredFacts) -> TrainingPlan:
    """Calibrate a training request.

    Raises:
        InvalidError: The request does not fit the schema, or no noise reaches its epsilon.
        TooLargeError: The model, one unit's gradients or the expected work are too large.
    """
    model = spec.model_graph(schema)
    plan = TrainingPlan(
        **noised_head(spec, facts),
        graph=model.graph.digest,
        features=spec.features.digest,
        size=ModelSize.of(model),
        loss=spec.loss,
        recipe=spec.recipe,
        engine=engine_for(spec.recipe.engine, model),
        normaliser=facts.expected_batch(spec.recipe.sampling_rate),
        savepoint_interval=math.ceil(spec.recipe.steps / MOST_CHUNKS),
        resumes=RESUMES,
    )
    _check_work(plan, model)
    _check_rows(plan, model, spec, facts)
    return plan.calibrated()


def performance_of(plan: TrainingPlan, model: CheckedGraph) -> Performance:
    """Cut the work so that a micro-batch fits into memory and most steps need the least number of them.

    A sample exceeds expected + 6 sqrt(expected) + 10 units less than once in 10^8 steps if no more units are there than
    are declared. It then takes a whole multiple, which shows in the step's duration and is named in docs/LIMITS. A
    sample of exactly so many units is rarer still, below 10^-9: then one unit more would move everybody else to other
    places (`privacy.training.slots`). Four deviations would leave that once in 500,000 steps for 3 % less padding at a
    batch of 4096.
    """
    expected = float(plan.normaliser.number)
    usual = math.ceil(expected + 6 * math.sqrt(expected) + 10)
    most = max(1, min(MOST_UNITS_AT_ONCE, NUMBERS_AT_ONCE // numbers_per_unit(plan.engine, plan.rows_per_unit, model)))
    batches = math.ceil(usual / most)
    return Performance(units_at_once=math.ceil(usual / batches), least_micro_batches=batches)


def _check_work(plan: TrainingPlan, model: CheckedGraph) -> None:
    if plan.rows_per_unit * model.graph.weight_elements > LARGEST_UNIT_GRADIENT:
        raise TooLargeError(
            f"rows per unit x weights may be at most {LARGEST_UNIT_GRADIENT}: make the model smaller", field="model"
        )
    if training_work(plan, model) > MOST_WORK:
        raise TooLargeError(
            "this is too much work: lower `steps`, `sampling_rate` or the size of the model", field="steps"
        )


def training_work(plan: TrainingPlan, model: CheckedGraph) -> int:
    """The work of all steps of one run."""
    return plan.recipe.steps * _step_work(plan, model)


def scored_work(plan: TrainingPlan, model: CheckedGraph, units: int) -> int:
    """The work of scoring so many units once."""
    return units * plan.rows_per_unit * (scoring_work(model) + _ROW_WORK)


def _step_work(plan: TrainingPlan, model: CheckedGraph) -> int:
    """A step's work, padding included, with what a row, a micro-batch, a node, a weight and a step cost besides.

    Measured on one slow core, 1.5 x 10^8 units of it take a second. `MOST_WORK` is an hour of that: a quarter of what a
    child may use by default, so that no plan is ended by the clock, near which the true number of rows would decide.
    """
    cut = performance_of(plan, model)
    rows = cut.units_at_once * plan.rows_per_unit
    per_batch = (
        rows * (row_work(plan.engine, model, plan.rows_per_unit) + _ROW_WORK)
        + _BATCH_WORK
        + plan.size.nodes * _NODE_WORK
    )
    return cut.least_micro_batches * per_batch + model.graph.weight_elements * _WEIGHT_WORK + _STEP_WORK


def _check_rows(plan: TrainingPlan, model: CheckedGraph, spec: TrainingSpec, facts: DeclaredFacts) -> None:
    """Refuse, by declared sizes, what a child might not hold in memory or score in time, an evaluation's included.

    Otherwise a trainer could choose a width at which the job dies or lives by the true number of rows.
    """
    rows = facts.public_size * plan.rows_per_unit
    if rows * model.width > MOST_NUMBERS_IN_MEMORY:
        raise TooLargeError(
            f"public size x rows per unit x features may be at most {MOST_NUMBERS_IN_MEMORY}: use fewer features",
            field="features",
        )
    extractor = spec.features.extractor
    extracted = 0 if extractor is None else extractor.cost_per_row
    if rows * extracted > MOST_WORK:
        raise TooLargeError("this extractor is too much work on so many units: make it smaller", field="extractor")
    if rows * (scoring_work(model) + extracted + _ROW_WORK) > 2 * MOST_WORK:
        raise TooLargeError("this model is too much work to evaluate on so many units: make it smaller", field="model")
