"""What a tuning job searches: values of a recipe's figures, each combination of which is a candidate.

Rules
-----
1. Only figures that change neither the price nor the work of a run are searched: whoever is drawn costs the same, and
   takes as long.
2. A candidate is drawn at random, each value of a figure alike and each figure by itself: it depends on nothing else.
3. A range is written out as values when the request is completed; the final form holds nothing but values.

Form: docs/formats/job-spec.md, "Tuning".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from enum import StrEnum
from typing import Any, Final

from kernel.checks import positive, whole
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from privacy.jobs.recipe import Recipe
from privacy.jobs.strict import members_of, number_of

MOST_VALUES = 64
_FACTORS: Final = tuple(Decimal(factor) for factor in ("0.25", "0.5", "1", "2", "4"))
_LARGEST_RATE = Decimal(10_000)
_ROUNDED = Context(prec=3, rounding=ROUND_HALF_EVEN)
_EXACT = Context(prec=40, rounding=ROUND_HALF_EVEN)


class Figure(StrEnum):
    """The figures of a recipe that may be searched."""

    CLIP = "clip"
    LEARNING_RATE = "learning_rate"
    MOMENTUM = "momentum"
    WEIGHT_DECAY = "weight_decay"


@dataclass(frozen=True, kw_only=True)
class Searched(Record):
    """One figure and the values that it may take."""

    figure: Figure
    values: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        whole(1, MOST_VALUES, **{self.figure.value: len(self.values)})
        if len(set(self.values)) != len(self.values):
            raise InvalidError(f"`{self.figure}` names a value twice", field=self.figure.value)


@dataclass(frozen=True, kw_only=True)
class Search(Record):
    """All figures that are searched, in the order of their names."""

    figures: tuple[Searched, ...]

    def __post_init__(self) -> None:
        names = [searched.figure for searched in self.figures]
        if not names or names != sorted(set(names)):
            raise InvalidError("`search` names at least one figure, each once, in order", field="search")

    @property
    def candidates(self) -> int:
        """How many combinations there are."""
        count = 1
        for searched in self.figures:
            count *= len(searched.values)
        return count

    def candidate(self, places: Sequence[int], recipe: Recipe) -> Recipe:
        """The recipe with the values at these places, one for each figure.

        Raises:
            InvalidError: Not one place for each figure, or one that it does not have.
        """
        if not isinstance(places, (list, tuple)) or len(places) != len(self.figures):
            raise InvalidError("a candidate has one place for each figure", field="candidate")
        chosen = {
            searched.figure.value: searched.values[whole(0, len(searched.values) - 1, candidate=place)]
            for searched, place in zip(self.figures, places, strict=True)
        }
        return dataclasses.replace(recipe, **chosen)  # type: ignore[arg-type]  # all figures are parameters

    def check(self, recipe: Recipe) -> None:
        """Raise `InvalidError` unless every value is one that such a recipe may have."""
        for searched in self.figures:
            for value in searched.values:
                dataclasses.replace(recipe, **{searched.figure.value: value})  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""
        return {searched.figure.value: [str(value) for value in searched.values] for searched in self.figures}

    @classmethod
    def from_json(cls, body: Any) -> Search:
        """Read the final form, or one with ranges; raise `InvalidError` otherwise."""
        known = [figure.value for figure in Figure]
        if not isinstance(body, Mapping) or not set(body) <= set(known):
            raise InvalidError("`search` may have " + ", ".join(known), field="search")
        return cls(figures=tuple(Searched(figure=Figure(n), values=_values(body[n], n)) for n in known if n in body))


def default_search(recipe: Recipe) -> Search:
    """Learning rates from a quarter of the recipe's to four times it: what the noise of private training moves most."""
    rate = recipe.learning_rate.number
    values = dict.fromkeys(Parameter(min(_ROUNDED.multiply(rate, factor), _LARGEST_RATE)) for factor in _FACTORS)
    return Search(figures=(Searched(figure=Figure.LEARNING_RATE, values=tuple(v for v in values if v.number > 0)),))


def _values(written: Any, name: str) -> tuple[Parameter, ...]:
    if isinstance(written, Mapping):
        return _spread(written, name)
    if not isinstance(written, (list, tuple)):
        raise InvalidError(f"`{name}` must be a list of values, or a range `low`, `high`, `values`", field=name)
    return tuple(_number(value, name) for value in written)


def _spread(written: Mapping[str, Any], name: str) -> tuple[Parameter, ...]:
    """Values from `low` to `high`, each the same factor above the one before, to three digits."""
    members = members_of(written, name, ("low", "high", "values"))
    low, high = positive(low=_number(members["low"], "low").number), _number(members["high"], "high").number
    count = whole(2, MOST_VALUES, values=members["values"])
    if high <= low:
        raise InvalidError(f"`high` of `{name}` must be above `low`", field=name)
    with localcontext(_EXACT):
        step = (high / low).ln() / (count - 1)
        inner = [_ROUNDED.plus(low * (step * place).exp()) for place in range(1, count - 1)]
    return tuple(dict.fromkeys(Parameter(value) for value in (low, *inner, high)))


def _number(value: Any, name: str) -> Parameter:
    number = number_of(value, name)
    if number is None:
        raise InvalidError(f"`{name}` must be decimal text", field=name)
    return number
