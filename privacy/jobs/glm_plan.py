"""The plan of a generalised linear model: vectors summed over all units, with discrete Gaussian noise, as one Gaussian.

Rules
-----
1. Measurement m has the share s_m of rho and so the noise multiplier z / sqrt(s_m), rounded up. By their
   rho = s_m / (2 z^2) all together cost at most 1 / (2 z^2): that of one Gaussian of multiplier z, which is what is
   held, charged and certified. Later measurements depend on earlier noisy ones, which adaptive composition allows.
2. A unit moves each measurement by at most 1 grid of `privacy.glm.schedule`, however many rows it has: they are
   weighted so that they count as one.
3. What a trainer chooses moves no noise from the price.

Reference: Bun and Steinke 2016, lemma 2.3, for adaptive composition of zCDP. Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import ClassVar

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.accounting.calibration import NOISE_QUANTUM
from privacy.accounting.mechanisms import Gaussian, MechanismUse
from privacy.budget.reservations import Block, BlockUse
from privacy.glm.design import MOST_TERMS, Design
from privacy.glm.families import Family
from privacy.glm.matrices import packed_size
from privacy.glm.places import counted
from privacy.glm.schedule import STEPS, schedule, shares_of
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.glm_spec import Counted, GlmSpec
from privacy.jobs.head import JobKind
from privacy.jobs.plan_head import RepeatedPlan, repeated_head
from privacy.jobs.training_plan import MOST_NUMBERS_IN_MEMORY, MOST_WORK
from privacy.schema import TableSchema

ROW_WORK = 500
_ROUND_UP = Context(prec=34, rounding=ROUND_CEILING)
_ROUND_DOWN = Context(prec=34, rounding=ROUND_FLOOR)


@dataclass(frozen=True, kw_only=True)
class GlmPlan(RepeatedPlan):
    """A priced generalised linear model.

    Attributes:
        features: Digest of its feature spec.
        family: Which model.
        terms: How many coefficients beside the intercept.
        counted: Whether every unit counts the same, or every row.
        noise_multiplier: Of all measurements together; see `multipliers`.
    """

    kind: ClassVar[JobKind] = JobKind.GLM

    features: Digest
    family: Family
    terms: int
    counted: Counted

    def __post_init__(self) -> None:
        whole(1, MOST_TERMS, terms=self.terms)
        if sum(shares_of(self.family)) != 1:
            raise InvalidError("the measurements' shares do not add up to one", field="family")
        super().__post_init__()

    def multipliers(self, design: Design) -> dict[str, Parameter]:
        """The noise multiplier of each measurement, by name."""
        return multipliers_of(design, self.noise_multiplier)

    def require_price(self, design: Design) -> None:
        """Return if all measurements together cost no more than the plan's one Gaussian; exact, in fractions.

        Raises:
            InvalidError: They cost more.
        """
        noises = [Fraction(noise.number) for noise in self.multipliers(design).values()]
        together = sum((1 / noise**2 for noise in noises), Fraction(0))
        if len(noises) != len(shares_of(self.family)) or together > 1 / Fraction(self.noise_multiplier.number) ** 2:
            raise InvalidError("these measurements cost more than their plan", field="noise_multiplier")

    def uses(self) -> tuple[MechanismUse, ...]:
        """What it composes if it runs once through."""
        return (Gaussian(noise_multiplier=self.noise_multiplier, count=1),)

    def holds(self) -> tuple[BlockUse, ...]:
        """What must be held before it starts, repetitions included."""
        use = Gaussian(noise_multiplier=self.noise_multiplier, count=1 + self.repeats)
        return (BlockUse(block=Block.TRAIN, mechanism=use),)


def multipliers_of(design: Design, noise_multiplier: Parameter) -> dict[str, Parameter]:
    """The noise multiplier of each measurement of a design, by name: its share of rho = 1 / (2 z^2)."""
    return {one.name: _part(noise_multiplier, one.share) for one in schedule(design)}


def plan_glm(spec: GlmSpec, schema: TableSchema, facts: DeclaredFacts) -> GlmPlan:
    """Calibrate a request.

    Raises:
        InvalidError: The request does not fit the schema, or no noise reaches its epsilon.
        TooLargeError: Too many terms for so many declared people.
    """
    design = spec.design(schema)
    plan = GlmPlan(
        **repeated_head(spec, facts),
        features=spec.features.digest,
        family=spec.family,
        terms=len(design.terms),
        counted=spec.counted,
    )
    _check_rows(design, spec.features.width(schema), facts)
    return plan.calibrated()


def _check_rows(design: Design, width: int, facts: DeclaredFacts) -> None:
    """Refuse, by declared sizes, what a child might not hold in memory or add up in time."""
    rows = facts.public_size * facts.rows_per_unit
    if rows * (width + 2 * design.size) > MOST_NUMBERS_IN_MEMORY:
        raise TooLargeError("too many terms for so many people: choose fewer predictors", field="predictors")
    work = STEPS[design.family] * (ROW_WORK + 20 * packed_size(design.size)) + 40 * counted(design)
    if rows * work > MOST_WORK:
        raise TooLargeError("too much work on so many people: choose fewer predictors", field="predictors")


def _part(noise_multiplier: Parameter, share: Decimal) -> Parameter:
    # A square root is rounded to the nearest number in every context: the one before it is surely no larger.
    root = _ROUND_DOWN.next_minus(_ROUND_DOWN.sqrt(share))
    exact = _ROUND_UP.divide(noise_multiplier.number, root)
    return Parameter(_ROUND_UP.quantize(exact, NOISE_QUANTUM))
