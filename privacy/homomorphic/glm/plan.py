"""The plan of a federated model: what each site sums, on which grid, and how large it can be. Pure.

Rules
-----
1. A row is x = (CONSTANT, its terms), every number of it in [-1, 1] by declared ranges. It moves each sum by at most
   the sum's bound, a power of two, and is rounded to a multiple of bound / GRID.
2. A site has at most MOST_ROWS rows, so its number is a whole number of size at most MOST_ROWS x GRID = 2^60.
3. The linear predictor is cut at `LOWEST` and `highest`; rows that are cut are counted, and a fit in which the last
   round cut any says so: it then is not the pooled one.

How far rounding moves a fit
----------------------------
Rounding moves a sum over n rows by at most n x bound / 2^41, so a coefficient in unit ranges by about that over the
least eigenvalue of the curvature, which grows with n as well: for a logistic model with an average curvature of at
least c, by less than 2^-39 sqrt(coefficients) / c. Where values fill a thousandth of a declared range, c is a millionth
of what it would be. Convergence (`STILL`) leaves about the square of 2^-16 of a standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self

from kernel.checks import whole, within
from kernel.events import Parameter
from privacy.accounting.mechanisms import MechanismUse
from privacy.glm.design import Design, design_of
from privacy.glm.families import Family
from privacy.glm.matrices import packed_size
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import Addition
from privacy.homomorphic.profiles import Profile
from privacy.jobs.features import FeatureSpec
from privacy.jobs.strict import members_of, one_of, text_of
from privacy.schema import TableSchema

GRID: Final = 2**40
MOST_ROWS: Final = 2**20
MOST_ROUNDS: Final = 10
NO_RIDGE: Final = Parameter("0")
MOST_RIDGE: Final = Decimal(10**6)
LOWEST: Final = -30.0
BEYOND: Final = 2.0
"""How far above the logarithm of the largest declared count a linear predictor of counts may lie."""
PSEUDO: Final = 0.1
"""What is added to a count to start from it, as its logarithm."""


class Kind(StrEnum):
    """What is summed over rows."""

    ROWS = "rows"
    CUT = "cut"
    FIT = "fit"
    PULL = "pull"
    CURVATURE = "curvature"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactGlm:
    """A federated model without noise.

    Attributes:
        family: Which model.
        features: Predictors and outcome, the same at every site.
        schema: Their declared columns: ranges, categories, and what stands in for a missing value, at every site alike.
        ridge: The penalty is ridge / 2 times the sum of squared coefficients in unit ranges, but the intercept's.
        most_rounds: After which it ends unfinished.
        design: What follows from family, features and schema.
    """

    family: Family
    features: FeatureSpec
    schema: TableSchema
    ridge: Parameter = NO_RIDGE
    most_rounds: int = MOST_ROUNDS
    design: Design = field(init=False)

    def __post_init__(self) -> None:
        whole(1, MOST_ROUNDS, most_rounds=self.most_rounds)
        within(Decimal(0), MOST_RIDGE, ridge=self.ridge.number)
        object.__setattr__(self, "design", design_of(self.family, self.features, self.schema))

    @property
    def noise(self) -> None:
        """None."""
        return

    @property
    def rounds(self) -> int:
        """The most results that may be decrypted."""
        return self.most_rounds

    def uses(self) -> tuple[MechanismUse, ...]:
        """Nothing: an exact result has no price."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """What every party computes by."""
        return {
            "family": self.family.value,
            "features": self.features.to_json(),
            "most_rounds": self.most_rounds,
            "ridge": str(self.ridge),
            "schema": self.schema.to_json(),
        }

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        members = members_of(body, "plan", ("family", "features", "most_rounds", "ridge", "schema"))
        return cls(
            family=one_of(Family, members["family"], "family"),
            features=FeatureSpec.from_json(members["features"]),
            schema=TableSchema.from_json(members["schema"]),
            ridge=Parameter.of(text_of(members["ridge"], "ridge"), "ridge"),
            most_rounds=members["most_rounds"],
        )

    @property
    def penalty(self) -> list[float]:
        """Of each coefficient."""
        return [0.0] + [float(self.ridge.number)] * len(self.design.terms)

    @property
    def highest(self) -> float:
        """The largest linear predictor."""
        return math.log(self.design.highest) + BEYOND if self.design.family is Family.POISSON else -LOWEST

    def bound(self, kind: Kind, first: bool) -> int:
        """The most that one row adds to a sum of this kind: a power of two, at least 1.

        Args:
            kind: Of the sum.
            first: Whether it is the first round, which has no point yet.
        """
        match self.design.family, kind:
            case Family.POISSON, Kind.FIT | Kind.PULL | Kind.CURVATURE:
                return _power(self._of_counts(kind, first))
            case _, Kind.FIT:
                return _power(1.0 if first else math.log(2) - LOWEST)
            case _:
                return 1

    def _of_counts(self, kind: Kind, first: bool) -> float:
        count, expected = float(self.design.highest), math.exp(self.highest)
        if first:
            weight = count + PSEUDO
            return weight if kind is Kind.CURVATURE else weight * max(math.log(weight), 1 - math.log(PSEUDO))
        return {Kind.FIT: count * max(self.highest, -LOWEST) + expected, Kind.PULL: max(count, expected)}.get(
            kind, expected
        )

    def kinds(self) -> tuple[tuple[Kind, int], ...]:
        """What a site sums in every round, in order, and how many numbers each has."""
        size = self.design.size
        return (
            (Kind.ROWS, 1),
            (Kind.CUT, 1),
            (Kind.FIT, 1),
            (Kind.PULL, size),
            (Kind.CURVATURE, packed_size(size)),
        )

    @property
    def values(self) -> int:
        """How many numbers a site gives in every round."""
        return sum(size for _, size in self.kinds())

    def additions(self, number: int) -> tuple[Addition, ...]:  # noqa: ARG002 - of no round
        """None."""
        return ()

    def layout(self, profile: Profile, sites: int) -> Layout:
        """Where a site's numbers lie; raise `InvalidError` if the profile cannot add so many sites' sums."""
        return Layout(profile=profile, values=self.values, bound=MOST_ROWS * GRID, summands=sites)


def _power(number: float) -> int:
    """The least power of two that is not below a number, and at least 1."""
    return 1 << max(0, math.ceil(math.log2(number))) if number > 1 else 1
