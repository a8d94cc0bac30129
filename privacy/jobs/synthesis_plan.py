"""The plan of a synthetic table: counts of columns, a private choice of pairs, counts of those; one price for all.

Rules
-----
1. Of the price, rho = 1 / (2 z^2) for the plan's noise multiplier z, columns get `COLUMNS`, choices `CHOICES` and pairs
   `PAIRS`. Within a part every histogram, and every choice, gets the same.
2. A histogram moves by at most d in Euclidean norm with one unit, d being the rows of a unit that count, and so does a
   score of a choice in absolute value: n histograms with the part s of the price get discrete Gaussian noise of
   deviation d z sqrt(n / s), rounded up; n choices the steepness sqrt(s / n) / (d z), rounded down.
3. What is chosen depends on earlier noisy counts and choices alone: adaptive composition, in which rho adds up. That
   all parts together cost no more than is held is checked in exact fractions before a child has a key.

References: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), theorem 4, for the noise; `privacy.synthesis.choosing`
for the choices; Bun and Steinke 2016, lemma 2.3, for composition. Form: docs/formats/job-spec.md, "Synthetic table".
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import ClassVar, Final

from kernel.checks import whole
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.accounting.mechanisms import MechanismUse, ZeroConcentrated
from privacy.budget.reservations import Block, BlockUse
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.head import JobKind
from privacy.jobs.plan_head import RepeatedPlan, repeated_head
from privacy.jobs.queries import MOST_CELLS, Per, Side
from privacy.jobs.statistics_plan import ROW_WORK
from privacy.jobs.synthesis_spec import LEAST_COLUMNS, MOST_COLUMNS, SynthesisSpec
from privacy.jobs.training_plan import MOST_WORK

COLUMNS: Final = Decimal("0.3")
CHOICES: Final = Decimal("0.2")
PAIRS: Final = Decimal("0.5")
RHO_QUANTUM: Final = Decimal("1e-15")
_UP: Final = Context(prec=34, rounding=ROUND_CEILING)
_DOWN: Final = Context(prec=34, rounding=ROUND_FLOOR)
_DIGITS: Final = Decimal("1e-12")


@dataclass(frozen=True, kw_only=True)
class SynthesisPlan(RepeatedPlan):
    """The priced counts from which a synthetic table is drawn.

    Attributes:
        block: Whose rows are read.
        per: Which rows of a unit count.
        slices: How many cells the column has around which the table is drawn, or 1.
        cells: How many each other column has.
        noise_multiplier: Of a Gaussian that costs as much as all parts together.
    """

    kind: ClassVar[JobKind] = JobKind.SYNTHESIS

    block: Side
    per: Per
    slices: int
    cells: tuple[int, ...]

    def __post_init__(self) -> None:
        whole(LEAST_COLUMNS, MOST_COLUMNS, cells=len(self.cells))
        whole(1, MOST_CELLS, slices=self.slices)
        for number in self.cells:
            whole(1, MOST_CELLS, cells=number)
        super().__post_init__()

    @property
    def sensitivity(self) -> int:
        """The most that one unit can move a histogram, or a score."""
        return self.rows_per_unit if self.per is Per.ROW else 1

    @property
    def edges(self) -> int:
        """How many pairs are chosen: what a tree has that spans all columns."""
        return len(self.cells) - 1

    @property
    def column_deviation(self) -> Parameter:
        """The standard deviation of the noise on each count of a column."""
        return self._deviation(len(self.cells), COLUMNS)

    @property
    def pair_deviation(self) -> Parameter:
        """The standard deviation of the noise on each count of a pair."""
        return self._deviation(self.edges, PAIRS)

    @property
    def steepness(self) -> Parameter:
        """Of each choice: by so much per row a better pair is likelier, in the exponent."""
        root = _DOWN.sqrt(_DOWN.divide(CHOICES, Decimal(self.edges)))
        below = _DOWN.divide(root, _UP.multiply(self.noise_multiplier.number, Decimal(self.sensitivity)))
        return Parameter(_DOWN.quantize(below, _DIGITS))

    @property
    def rho(self) -> Parameter:
        """What all parts together cost, as zCDP."""
        square = _DOWN.multiply(self.noise_multiplier.number, self.noise_multiplier.number)
        return Parameter(_UP.quantize(_UP.divide(Decimal("0.5"), square), RHO_QUANTUM))

    def require_price(self) -> None:
        """Return if all parts together cost no more than is held; exact, in fractions.

        Raises:
            InvalidError: They cost more.
        """
        moved = Fraction(self.sensitivity)
        columns = len(self.cells) * (moved / Fraction(self.column_deviation.number)) ** 2 / 2
        pairs = self.edges * (moved / Fraction(self.pair_deviation.number)) ** 2 / 2
        choices = self.edges * (moved * Fraction(self.steepness.number)) ** 2 / 2
        if columns + pairs + choices > Fraction(self.rho.number):
            raise InvalidError("this table costs more than its plan", field="noise_multiplier")

    def uses(self) -> tuple[MechanismUse, ...]:
        """What it composes if it runs once through."""
        return (self._use(1),)

    def holds(self) -> tuple[BlockUse, ...]:
        """What must be held before it starts, repetitions included."""
        return (BlockUse(block=Block(self.block.value), mechanism=self._use(1 + self.repeats)),)

    def _use(self, count: int) -> MechanismUse:
        return ZeroConcentrated(rho=self.rho, count=count)

    def _deviation(self, histograms: int, share: Decimal) -> Parameter:
        root = _UP.sqrt(_UP.divide(Decimal(histograms), share))
        exact = _UP.multiply(_UP.multiply(self.noise_multiplier.number, root), Decimal(self.sensitivity))
        return Parameter(_UP.quantize(exact, _DIGITS))


def plan_synthesis(spec: SynthesisSpec, facts: DeclaredFacts) -> SynthesisPlan:
    """Calibrate a request for a synthetic table.

    Raises:
        InvalidError: No noise reaches the requested epsilon.
        TooLargeError: The expected work is too much.
    """
    counted = len(spec.singles) + len(spec.pairs)
    if facts.public_size * facts.rows_per_unit * ROW_WORK * counted > MOST_WORK:
        raise TooLargeError("these are too many columns for so many declared rows: name fewer", field="columns")
    plan = SynthesisPlan(
        **repeated_head(spec, facts),
        block=spec.block,
        per=spec.per,
        slices=spec.slices,
        cells=tuple(axis.cells for axis in spec.columns),
    )
    return plan.calibrated()


def require_own(plan: SynthesisPlan, spec: SynthesisSpec) -> None:
    """Raise `InvalidError` unless a plan is this request's and its price covers what the request counts."""
    if plan.request != spec.digest or plan.block is not spec.block or plan.epsilon != spec.epsilon:
        raise InvalidError("the plan belongs to another request", field="plan")
    if (plan.per, plan.slices, plan.cells) != (spec.per, spec.slices, tuple(axis.cells for axis in spec.columns)):
        raise InvalidError("the plan prices other counts than the request asks for", field="plan")
    plan.require_price()
