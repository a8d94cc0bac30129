"""The plan of a tuning: one try in full, what differs between candidates, and how many tries there may be.

Rules
-----
1. A try draws a candidate, trains it on the train block, and scores it on the holdout block. Who trains and who scores
   are different people, so each block pays for its own part of a try and for nothing else.
2. Candidates differ in figures that the price does not depend on. Every try costs the same and takes as long.
3. As many tries as there may be are run, and all but the drawn number are thrown away: duration does not tell it.
4. A selection that is interrupted is made anew, whole and with fresh randomness; the hold covers `1 + repeats`.

Form: docs/formats/job-spec.md, "Tuning".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import ClassVar

from kernel.amounts import Epsilon
from kernel.checks import whole
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.accounting.calibration import calibrate
from privacy.accounting.mechanisms import Gaussian, MechanismUse, PrivateSelection
from privacy.accounting.rdp import job_epsilon
from privacy.accounting.tries import Tries
from privacy.budget.reservations import Block, BlockUse
from privacy.graph.check import CheckedGraph
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.head import JobKind
from privacy.jobs.labels import Target
from privacy.jobs.plan_head import REPEATS, PlanHead, head_of
from privacy.jobs.search import Search
from privacy.jobs.training_plan import MOST_WORK, TrainingPlan, plan_training, scored_work, training_work
from privacy.jobs.tuning_spec import TuningSpec
from privacy.schema import TableSchema

_ROUND_UP = Context(prec=34, rounding=ROUND_CEILING)


@dataclass(frozen=True, kw_only=True)
class TuningPlan(PlanHead):
    """A private selection among candidates.

    Attributes:
        training: One try, with the recipe that candidates change; its epsilon is that of one try alone.
        search: The candidates.
        tries: From what the number of tries is drawn.
        target: What the models predict: one of two classes, or one of several.
        score_noise: Standard deviation of the noise on a candidate's count of right predictions, in units of
            `rows_per_unit`.
        repeats: How many whole selections more, after a worker was lost, the hold covers.
        epsilon, delta: What the selection was calibrated to, for people who train.
        score_epsilon: The same for people held out.
    """

    kind: ClassVar[JobKind] = JobKind.TUNING

    training: TrainingPlan
    search: Search
    tries: Tries
    target: Target
    score_noise: Parameter
    repeats: int
    score_epsilon: Epsilon

    def __post_init__(self) -> None:
        whole(0, 100, repeats=self.repeats)
        training = self.training
        same = (training.request, training.order, training.delta) == (self.request, self.order, self.delta)
        if not same or training.resumes or training.savepoint_interval != training.recipe.steps:
            raise InvalidError("a try belongs to its request and runs through without savepoints", field="training")
        if self.target is Target.REAL:
            raise InvalidError("only models that predict a class can be scored", field="target")
        self.search.check(training.recipe)
        super().__post_init__()

    @property
    def noise_multiplier(self) -> Parameter:
        """Of each try's training."""
        return self.training.noise_multiplier

    @property
    def rows_per_unit(self) -> int:
        """The most rows of one unit."""
        return self.training.rows_per_unit

    @property
    def retries(self) -> int:
        """How many further attempts the hold covers."""
        return self.repeats

    def candidate(self, places: Sequence[int]) -> TrainingPlan:
        """The try of one candidate: the same run by another recipe."""
        return dataclasses.replace(self.training, recipe=self.search.candidate(places, self.training.recipe))

    def uses(self) -> tuple[MechanismUse, ...]:
        """What it composes if it runs once through, in both blocks."""
        return (self._trained(1), self._scored(1))

    def blocks_apart(self) -> tuple[tuple[MechanismUse, ...], ...]:
        """The same for people who train and for people held out."""
        return ((self._trained(1),), (self._scored(1),))

    def holds(self) -> tuple[BlockUse, ...]:
        """What must be held before it starts, repetitions included."""
        count = 1 + self.repeats
        return (
            BlockUse(block=Block.TRAIN, mechanism=self._trained(count)),
            BlockUse(block=Block.HOLDOUT, mechanism=self._scored(count)),
        )

    def with_noise(self, noise_multiplier: Parameter) -> TuningPlan:
        """The same tuning with other noise in training, for calibration; its epsilons are then no statements."""
        return dataclasses.replace(self, training=self.training.with_noise(noise_multiplier))

    def _trained(self, count: int) -> PrivateSelection:
        (one,) = self.training.uses()
        return PrivateSelection(base=one, tries=self.tries, count=count)

    def _scored(self, count: int) -> PrivateSelection:
        return scoring(self.score_noise, self.tries, count)


def scoring(noise: Parameter, tries: Tries, count: int = 1) -> PrivateSelection:
    """What scoring costs people held out: one noisy count for each try."""
    return PrivateSelection(base=Gaussian(noise_multiplier=noise, count=1), tries=tries, count=count)


def score_deviation(plan: TuningPlan) -> Decimal:
    """Standard deviation of the noise on a count of right predictions."""
    return _ROUND_UP.multiply(plan.score_noise.number, Decimal(plan.rows_per_unit))


def plan_tuning(spec: TuningSpec, schema: TableSchema, facts: DeclaredFacts) -> TuningPlan:
    """Calibrate a tuning request.

    Raises:
        InvalidError: The request does not fit the schema, nobody is held out, or no noise reaches its epsilon.
        TooLargeError: The model or the work of all tries is too large.
    """
    if not facts.holdout_share.value:
        raise InvalidError("tuning scores candidates on people held out, and this population has none", field="dataset")
    one = dataclasses.replace(
        plan_training(spec.training, schema, facts),
        request=spec.digest,
        savepoint_interval=spec.training.recipe.steps,
        resumes=0,
    )
    _check_work(one, spec.model_graph(schema), spec.tries, facts)
    plan = TuningPlan(
        **head_of(spec, facts),
        training=one,
        search=spec.search,
        tries=spec.tries,
        target=spec.features.label.target,
        score_noise=calibrate(lambda z: (scoring(z, spec.tries),), spec.score_epsilon, facts.delta),
        repeats=REPEATS,
        score_epsilon=spec.score_epsilon,
    ).calibrated()
    alone = job_epsilon(*plan.training.uses(), delta=facts.delta, near=facts.order).epsilon
    return dataclasses.replace(plan, training=dataclasses.replace(plan.training, epsilon=alone))


def _check_work(one: TrainingPlan, model: CheckedGraph, tries: Tries, facts: DeclaredFacts) -> None:
    """All tries that there may be are run, whatever number is drawn."""
    if tries.most * (training_work(one, model) + scored_work(one, model, facts.public_size)) > MOST_WORK:
        raise TooLargeError("so many tries are too much work: lower `most` of `tries`, or `steps`", field="tries")
