"""The plan of an evaluation: what is counted, with which noise.

Rules
-----
1. Every measure is one Gaussian use of its own. Its multiplier is the job's over the root of its share, so that the
   uses together cost what one of the job's multiplier costs, or a hair less.
2. The noise's deviation is multiplier x rows per unit x what one row adds; the price is that of the multiplier.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import ClassVar

from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import ReleaseId
from privacy.accounting.calibration import NOISE_QUANTUM
from privacy.accounting.mechanisms import Gaussian, MechanismUse
from privacy.budget.reservations import Block, BlockUse
from privacy.jobs.evaluation_measures import Measure, groups_of, measures, sensitivity
from privacy.jobs.evaluation_spec import LARGEST_LEAST_GROUP, EvaluationSpec, classes_of
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec
from privacy.jobs.head import JobKind
from privacy.jobs.labels import Target
from privacy.jobs.plan_head import RepeatedPlan, repeated_head
from privacy.schema import TableSchema

_ROUND_UP = Context(prec=34, rounding=ROUND_CEILING)
_ROUND_DOWN = Context(prec=34, rounding=ROUND_FLOOR)


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan(RepeatedPlan):
    """A priced evaluation: vectors of whole numbers with discrete Gaussian noise.

    Attributes:
        release: The model that is evaluated.
        target: What it predicts: one of two classes, one of several, or a number.
        measures: The vectors, in order, each with its share of the privacy.
        least_group: Groups and cells whose noisy count lies below are not shown.
        error_bound: Of a number: the part of the label's range that an error counts at most.
        noise_multiplier: Of all measures together.
    """

    kind: ClassVar[JobKind] = JobKind.EVALUATION

    release: ReleaseId
    target: Target
    measures: tuple[Measure, ...]
    least_group: int
    error_bound: Parameter | None = None

    def __post_init__(self) -> None:
        whole(0, LARGEST_LEAST_GROUP, least_group=self.least_group)
        if not self.measures or sum(measure.share.value for measure in self.measures) > 1:
            raise InvalidError("the measures of a plan share at most all of its privacy", field="measures")
        if any(measure.sensitivity != sensitivity(measure.part, self.target) for measure in self.measures):
            raise InvalidError("a measure has another sensitivity than one row gives it", field="measures")
        if (self.error_bound is not None) != (self.target is Target.REAL):
            raise InvalidError("an error bound is for a number", field="error_bound")
        super().__post_init__()

    @property
    def columns(self) -> tuple[int, ...]:
        """Places in the schema of the columns of subgroups, in order."""
        return tuple(measure.column for measure in self.measures if measure.column is not None)

    def noise_of(self, place: int) -> Parameter:
        """The noise multiplier of a measure: its share of rho = 1 / (2 z^2)."""
        share = self.measures[place].share.value
        exact = _ROUND_UP.divide(self.noise_multiplier.number, _ROUND_DOWN.sqrt(share))
        return Parameter(_ROUND_UP.quantize(exact, NOISE_QUANTUM))

    def deviation(self, place: int) -> Parameter:
        """The standard deviation of the noise on each number of a measure, exactly."""
        bound = Decimal(self.rows_per_unit * self.measures[place].sensitivity)
        return Parameter(_ROUND_UP.multiply(self.noise_of(place).number, bound))

    def uses(self) -> tuple[MechanismUse, ...]:
        """What it composes if it runs once through."""
        return self._uses(1)

    def holds(self) -> tuple[BlockUse, ...]:
        """What must be held before it starts, repetitions included."""
        return tuple(BlockUse(block=Block.HOLDOUT, mechanism=use) for use in self._uses(1 + self.repeats))

    def _uses(self, count: int) -> tuple[MechanismUse, ...]:
        return tuple(
            Gaussian(noise_multiplier=self.noise_of(place), count=count) for place in range(len(self.measures))
        )


def plan_evaluation(
    spec: EvaluationSpec, features: FeatureSpec, schema: TableSchema, facts: DeclaredFacts
) -> EvaluationPlan:
    """Calibrate an evaluation.

    Args:
        spec: The request in its final form.
        features: Those of the model.
        schema: The dataset's declared schema.
        facts: The population's declared facts.

    Raises:
        InvalidError: The model has no such parts, or no noise reaches the requested epsilon.
    """
    target = features.label.target
    plan = EvaluationPlan(
        **repeated_head(spec, facts),
        release=spec.release,
        target=target,
        measures=measures_of(spec, features, schema),
        least_group=spec.least_group,
        error_bound=spec.error_bound,
    )
    return plan.calibrated()


def measures_of(spec: EvaluationSpec, features: FeatureSpec, schema: TableSchema) -> tuple[Measure, ...]:
    """The vectors of a request; raise `InvalidError` if the model or the schema does not have them."""
    names = [column.name for column in schema.columns]
    groups = [(names.index(column), len(groups_of(schema.column(column, "subgroups")))) for column in spec.subgroups]
    return measures(spec.shares, features.label.target, classes_of(features, schema), spec.bins, groups)
