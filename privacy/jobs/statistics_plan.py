"""The plan of statistics: vectors of whole numbers with discrete Gaussian noise, priced together as one Gaussian.

Rules
-----
1. Measurement m gets the noise multiplier z_m = z sqrt(W / w_m), rounded up, w_m its weight and W the sum of all. By
   their rho = 1 / (2 z_m^2) all of them together cost at most rho = 1 / (2 z^2): that of one Gaussian of multiplier z,
   which is what is held, charged and certified, however many queries there are.
2. The deviation of the noise on every number of a measurement is z_m x the most that one unit can move it.
3. What a trainer chooses (cells, bounds, weights) moves noise from one answer to another and never lowers the price.

Reference: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), the multivariate discrete Gaussian: noise of a different
variance in each coordinate. Form: docs/formats/job-spec.md, "What is planned from it".
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import ClassVar

from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.accounting.calibration import NOISE_QUANTUM
from privacy.accounting.mechanisms import Gaussian, MechanismUse
from privacy.budget.reservations import Block, BlockUse
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.head import JobKind
from privacy.jobs.measurements import MeasurementSize, layout
from privacy.jobs.plan_head import RepeatedPlan, repeated_head
from privacy.jobs.queries import Per, Side
from privacy.jobs.statistics_spec import StatisticsSpec
from privacy.jobs.training_plan import MOST_WORK

ROW_WORK = 100
"""A row's share in one measurement, in the units of `MOST_WORK`: two thirds of a microsecond. Measured as a quarter of
one, and what reading its column takes."""
_ROUND_UP = Context(prec=34, rounding=ROUND_CEILING)


@dataclass(frozen=True, kw_only=True)
class StatisticsPlan(RepeatedPlan):
    """Priced statistics of one block.

    Attributes:
        block: Whose rows are read.
        measurements: What is measured, in numbers.
        noise_multiplier: Of all measurements together; see `noise` and `deviation`.
    """

    kind: ClassVar[JobKind] = JobKind.STATISTICS

    block: Side
    measurements: tuple[MeasurementSize, ...]

    def __post_init__(self) -> None:
        if not self.measurements:
            raise InvalidError("a plan of statistics measures something", field="measurements")
        super().__post_init__()

    def sensitivity(self, measurement: MeasurementSize) -> int:
        """The most that one unit can move a measurement, in Euclidean norm."""
        return measurement.row_bound * (self.rows_per_unit if measurement.per is Per.ROW else 1)

    def noise(self, measurement: MeasurementSize) -> Parameter:
        """A measurement's own noise multiplier."""
        total = Decimal(sum(each.weight for each in self.measurements))
        share = _ROUND_UP.sqrt(_ROUND_UP.divide(total, Decimal(measurement.weight)))
        return Parameter(_ROUND_UP.quantize(_ROUND_UP.multiply(self.noise_multiplier.number, share), NOISE_QUANTUM))

    def deviation(self, measurement: MeasurementSize) -> Parameter:
        """The standard deviation of the noise on each number of a measurement."""
        exact = _ROUND_UP.multiply(self.noise(measurement).number, Decimal(self.sensitivity(measurement)))
        return Parameter(_ROUND_UP.plus(exact))

    def require_price(self) -> None:
        """Return if all measurements together cost no more than the plan's one Gaussian; exact, in fractions.

        Raises:
            InvalidError: They cost more.
        """
        together = sum(
            (Fraction(self.sensitivity(each)) / Fraction(self.deviation(each).number)) ** 2
            for each in self.measurements
        )
        if together > 1 / Fraction(self.noise_multiplier.number) ** 2:
            raise InvalidError("these measurements cost more than their plan", field="noise_multiplier")

    def uses(self) -> tuple[MechanismUse, ...]:
        """What it composes if it runs once through."""
        return (self._use(1),)

    def holds(self) -> tuple[BlockUse, ...]:
        """What must be held before it starts, repetitions included."""
        return (BlockUse(block=Block(self.block.value), mechanism=self._use(1 + self.repeats)),)

    def _use(self, count: int) -> MechanismUse:
        return Gaussian(noise_multiplier=self.noise_multiplier, count=count)


def plan_statistics(spec: StatisticsSpec, facts: DeclaredFacts) -> StatisticsPlan:
    """Calibrate a request for statistics.

    Raises:
        InvalidError: No noise reaches the requested epsilon.
        TooLargeError: The expected work is too much.
    """
    measured = layout(spec.queries).measurements
    work = facts.public_size * facts.rows_per_unit * ROW_WORK * len(measured)
    if work > MOST_WORK:
        raise TooLargeError("these are too many queries for so many declared rows: ask fewer at once", field="queries")
    plan = StatisticsPlan(
        **repeated_head(spec, facts),
        block=spec.block,
        measurements=tuple(each.size for each in measured),
    )
    return plan.calibrated()
