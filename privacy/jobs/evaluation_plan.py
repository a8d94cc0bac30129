"""The plan of an evaluation: what is counted, with which noise.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from typing import Final

from kernel.amounts import Delta, Epsilon, Share
from kernel.canonical import Digest, digest_of
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from kernel.ids import ReleaseId
from privacy.accounting.calibration import NOISE_QUANTUM, calibrate
from privacy.accounting.mechanisms import Gaussian, MechanismUse
from privacy.budget.reservations import Block, BlockUse
from privacy.jobs.evaluation_spec import EvaluationSpec
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.labels import Target
from privacy.units import LARGEST_ROWS_PER_UNIT

REPEATS = 1
_ROUND_UP = Context(prec=34, rounding=ROUND_CEILING)
_START: Final = Parameter(1)


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan(Record):
    """A priced evaluation: two vectors of counts with discrete Gaussian noise.

    Attributes:
        request: Digest of the request that it belongs to.
        release: The model that is evaluated.
        target: What it predicts: one of two classes, or one of several.
        bins: Cells per class of the histogram.
        accuracy_share: The part of the privacy that the correct and wrong counts get.
        noise_multiplier: Of both together; see `accuracy_noise` and `histogram_noise`.
        rows_per_unit: The most rows of one unit: the sensitivity of each vector, reached when they all fall in one
            cell.
        repeats: How many repetitions, after a worker was lost, the hold covers.
        order: The population's order of prices.
        epsilon, delta: What the job alone was calibrated to.
    """

    request: Digest
    release: ReleaseId
    target: Target
    bins: int
    accuracy_share: Share
    noise_multiplier: Parameter
    rows_per_unit: int
    repeats: int
    order: int
    epsilon: Epsilon
    delta: Delta

    def __post_init__(self) -> None:
        if self.target is Target.REAL:
            raise InvalidError("only a model that predicts a class can be evaluated", field="release")
        whole(1, LARGEST_ROWS_PER_UNIT, rows_per_unit=self.rows_per_unit)
        whole(0, 100, repeats=self.repeats)
        self.uses()

    @property
    def digest(self) -> Digest:
        """What identifies it in the child."""
        return digest_of("evaluation-plan/v1", self.to_fields())

    @property
    def retries(self) -> int:
        """How many further attempts the hold covers."""
        return self.repeats

    @property
    def accuracy_noise(self) -> Parameter:
        """Noise multiplier of the counts: their share of rho = 1/(2 z^2)."""
        return self._part(self.accuracy_share.value)

    @property
    def histogram_noise(self) -> Parameter:
        """Noise multiplier of the histogram: the rest of rho."""
        return self._part(_ROUND_UP.subtract(Decimal(1), self.accuracy_share.value))

    def uses(self) -> tuple[MechanismUse, ...]:
        """What it composes if it runs once through."""
        return self._uses(1)

    def holds(self) -> tuple[BlockUse, ...]:
        """What must be held before it starts, repetitions included."""
        return tuple(BlockUse(block=Block.HOLDOUT, mechanism=use) for use in self._uses(1 + self.repeats))

    def with_noise(self, noise_multiplier: Parameter) -> EvaluationPlan:
        """The same evaluation with other noise, for calibration; its `epsilon` is then no statement."""
        return dataclasses.replace(self, noise_multiplier=noise_multiplier)

    def _part(self, share: Decimal) -> Parameter:
        exact = _ROUND_UP.divide(self.noise_multiplier.number, _ROUND_UP.sqrt(share))
        return Parameter(_ROUND_UP.quantize(exact, NOISE_QUANTUM))

    def _uses(self, count: int) -> tuple[MechanismUse, ...]:
        return tuple(Gaussian(noise_multiplier=z, count=count) for z in (self.accuracy_noise, self.histogram_noise))


def plan_evaluation(spec: EvaluationSpec, facts: DeclaredFacts, target: Target = Target.BINARY) -> EvaluationPlan:
    """Calibrate the evaluation of a model of such a target.

    Raises:
        InvalidError: The model predicts no class, or no noise reaches the requested epsilon.
    """
    plan = EvaluationPlan(
        request=spec.digest,
        release=spec.release,
        target=target,
        bins=spec.bins,
        accuracy_share=spec.accuracy_share,
        noise_multiplier=_START,
        rows_per_unit=facts.rows_per_unit,
        repeats=REPEATS,
        order=facts.order,
        epsilon=spec.epsilon,
        delta=facts.delta,
    )
    return plan.with_noise(calibrate(lambda noise: plan.with_noise(noise).uses(), spec.epsilon, facts.delta))
