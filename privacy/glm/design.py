"""Designs: which terms a model has, their public ranges, and how a fit in unit ranges reads in the columns' own units.

Rules
-----
1. Everything follows from declared columns. A number lies in [-1, 1] over its declared range. A category but the first
   one declared, which is the reference, has a term that is 1 more where the row has it; where the terms of one column
   begin is chosen so that the row is short.
2. A row is x = (CONSTANT, its terms), each read from where its values lie (`privacy.glm.places`). One longer than
   `radius` gets the weight (radius / |x|)^2: it then moves scores by at most radius and curvature by at most radius^2.
   Such a weight depends on the predictors alone, so the estimate stays consistent.
3. Names say the unit of a coefficient: `age` is per one year, `sex=female` against the reference.

Reference: Mallows 1975 for weights that depend on the predictors; Hampel et al. 1986, section 6.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from privacy.glm.families import Family, check_outcome
from privacy.jobs.features import Feature, FeatureSpec, Transform
from privacy.jobs.labels import Label
from privacy.schema import Column, ColumnKind, TableSchema

CONSTANT = 0.5
MOST_TERMS = 32
NARROWEST, FARTHEST = 1e-9, 1e15
"""What half a range may be at least, and how far from zero it may reach: so that no table overflows."""
_FEW = 3
_USUAL_SQUARE = 0.4
"""What a number, read from where its values lie, is expected to add to a row's squared length; not a bound."""
INTERCEPT = "(intercept)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One predictor.

    Attributes:
        name: What the table prints.
        middle, half: It is (value - middle) / half of the value in the column's own unit.
        column: Which predictor it belongs to, from 0.
        category: It says whether a row is in a category; otherwise it is a number in [-1, 1].
        place: Which number of the encoded row it comes from.
        factor, shift: It is factor x that number + shift.
    """

    name: str
    middle: float
    half: float
    column: int = 0
    category: bool = False
    place: int = 0
    factor: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A model's shape.

    Attributes:
        family: Which model.
        terms: The predictors.
        radius: The length from which on a row weighs less.
        middle, half: Of a linear outcome, as for a term; of others 0 and 1.
        highest: Of a count, the largest declared; of others 1.
    """

    family: Family
    terms: tuple[Term, ...]
    radius: float
    middle: float = 0.0
    half: float = 1.0
    highest: int = 1

    @property
    def size(self) -> int:
        """How many coefficients, the intercept included."""
        return 1 + len(self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the coefficients, in order."""
        return (INTERCEPT, *(term.name for term in self.terms))

    @property
    def columns(self) -> int:
        """How many predictors there are."""
        return 1 + max(term.column for term in self.terms)

    def own_units(self) -> tuple[list[list[float]], list[float]]:
        """The linear map from fitted coefficients to those in the columns' own units: a matrix and what is added."""
        rows = [[0.0] * self.size for _ in range(self.size)]
        rows[0][0] = self.half * CONSTANT
        for number, term in enumerate(self.terms, start=1):
            rows[number][number] = self.half / term.half
            rows[0][number] = -self.half * term.middle / term.half
        return rows, [self.middle] + [0.0] * len(self.terms)


def design_of(family: Family, features: FeatureSpec, schema: TableSchema) -> Design:
    """The design of a family on some features.

    Raises:
        InvalidError: A transform or an outcome that the family cannot have.
        TooLargeError: Too many terms.
    """
    features.check(schema)
    if features.extractor is not None or features.row_norm is not None:
        raise InvalidError(
            "a published coefficient needs columns as they are: no extractor, no `row_norm`", field="glm"
        )
    outcome = schema.column(features.label.column, "outcome")
    check_outcome(family, features.label, outcome)
    terms: list[Term] = []
    place, square = 0, CONSTANT**2
    for feature in features.columns:
        column = schema.column(feature.column)
        number = terms[-1].column + 1 if terms else 0
        added = [replace(term, column=number) for term in _terms(feature, column, place)]
        terms += added
        square += _square(feature, len(added))
        place += feature.width(column)
    if not 1 <= len(terms) <= MOST_TERMS:
        raise TooLargeError(f"a model has 1 to {MOST_TERMS} terms: choose predictors", field="predictors")
    design = Design(family=family, terms=tuple(terms), radius=math.sqrt(square))
    if family is not Family.LOGISTIC:
        low, high = _range(features.label, outcome)
        counts = family is Family.POISSON
        wide = {"highest": int(high)} if counts else {"middle": (low + high) / 2, "half": (high - low) / 2}
        design = replace(design, **wide)
    check_ranges(design)
    return design


def check_ranges(design: Design) -> None:
    """Return if every declared range is one that can be computed with; raise `InvalidError` naming it otherwise."""
    ranges = [("outcome", design.middle, design.half), *((term.name, term.middle, term.half) for term in design.terms)]
    for name, middle, half in ranges:
        if not (NARROWEST <= half <= FARTHEST and abs(middle) <= FARTHEST):
            raise InvalidError(f"the range of `{name}` is narrower than 2e-9 or reaches beyond 1e15", field=name)


def _square(feature: Feature, terms: int) -> float:
    """What one column adds to the squared length of a usual row; for categories the most that it can."""
    if feature.transform in (Transform.BOOLEAN, Transform.ONE_HOT, Transform.BINS):
        begin = _beginning(terms)
        return max(terms * begin**2, terms * begin**2 + 1 - 2 * begin)
    return _USUAL_SQUARE


def _beginning(terms: int) -> float:
    """How far below zero the terms of one column of categories begin: 1/2 as long as that makes rows shorter."""
    return 0.5 if terms <= _FEW else 1 / terms


def _terms(feature: Feature, column: Column, place: int) -> Iterator[Term]:
    match feature.transform:
        case Transform.SCALE if column.kind is ColumnKind.NUMERIC:
            low, high = _range(feature, column)
            yield Term(name=column.name, place=place, middle=(low + high) / 2, half=(high - low) / 2)
        case Transform.LOG:
            low, high = _range(feature, column)
            half = math.log1p(high - low) / 2
            shift = "" if low == 0 else f"{-low:+g}"
            yield Term(name=f"log(1+{column.name}{shift})", place=place, middle=half, half=half)
        case Transform.ORDINAL:
            half = max(len(column.categories) - 1, 1) / 2
            yield Term(name=f"{column.name} (per step)", place=place, middle=half, half=half)
        case Transform.BOOLEAN:
            yield Term(name=f"{column.name}=true", place=place, middle=0.5, half=1.0, category=True, factor=0.5)
        case Transform.ONE_HOT:
            yield from _categories([f"{column.name}={category}" for category in column.categories[1:]], place)
        case Transform.BINS:
            yield from _categories([f"{column.name} from {edge}" for edge in feature.edges], place)
        case _:
            raise InvalidError(f"column `{column.name}`: `{feature.transform}` has no coefficient", field=column.name)


def _categories(names: list[str], place: int) -> Iterator[Term]:
    begin = _beginning(len(names)) if names else 0.0
    for number, name in enumerate(names, start=1):
        yield Term(name=name, place=place + number, middle=begin, half=1.0, category=True, shift=-begin)


def _range(chosen: Feature | Label, column: Column) -> tuple[float, float]:
    low, high = chosen.low or column.low, chosen.high or column.high
    if low is None or high is None:
        raise InvalidError(f"column `{column.name}` has no bounds", field=column.name)
    return _float(low), _float(high)


def _float(value: Parameter) -> float:
    return float(value.number)
