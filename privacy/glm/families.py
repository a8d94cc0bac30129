"""The families of models, their outcomes, and why others are refused.

Rules
-----
1. A family is one of three. A name that people will try and that cannot be done soundly gets its reason in a sentence.
2. What an outcome must look like follows from the family and is checked against the declared label.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from kernel.errors import InvalidError
from privacy.jobs.labels import Encoding, Label, Target
from privacy.schema import Column

MOST_COUNT = 1000


class Family(StrEnum):
    """How the expected outcome follows from the linear predictor."""

    LINEAR = "linear"
    LOGISTIC = "logistic"
    POISSON = "poisson"


_NEIGHBOURS = "its parameters are the training rows themselves, so that no bound on one person's influence exists"
_TREES = (
    "its splits are sought in all rows, again and again, and leaves hold a few rows each; train the template `gam`, "
    "whose shapes over declared bins answer the same question"
)
_REFUSED: Final[Mapping[str, str]] = {
    "cox": (
        "the partial likelihood ranks each person against all who are still at risk, so one person changes every later "
        "term and no sum over persons exists to add noise to; fit a discrete-time `hazard` instead"
    ),
    "knn": _NEIGHBOURS,
    "k-nn": _NEIGHBOURS,
    "kernel": _NEIGHBOURS,
    "gaussian-process": _NEIGHBOURS,
    "random-forest": _TREES,
    "gradient-boosting": _TREES,
    "svm": "its support vectors are training rows; train a linear model with a training job instead",
    "kaplan-meier": "the curve steps at each person's own time; count events in declared periods instead",
    "quantile": "its interval needs the density of the residuals at the quantile, which noisy sums do not give",
    "median": "its interval needs the density of the residuals at the median, which noisy sums do not give",
    "gamma": "a gamma outcome has no public bound on one row's share; take the logarithm and fit `linear` instead",
    "tweedie": "its variance power would have to be estimated from rows; fit `poisson`, whose intervals are robust",
    "negative-binomial": "`poisson` here has robust standard errors, which hold under overdispersion: fit that instead",
    "probit": "only canonical links are offered; `logistic` says the same with coefficients about 1.7 times as large",
    "multinomial": "only one outcome at a time is offered; fit `logistic` for each category against the rest",
    "ordinal": "only one threshold at a time is offered; fit `logistic` for each threshold",
    "mixed": "effects of persons are their own parameters; declare the person as the unit: errors are then clustered",
}
_ALIASES: Final[Mapping[str, str]] = {
    "gaussian": "linear",
    "ols": "linear",
    "normal": "linear",
    "binomial": "logistic",
    "logit": "logistic",
    "coxph": "cox",
    "proportional-hazards": "cox",
    "xgboost": "gradient-boosting",
    "lightgbm": "gradient-boosting",
    "boosting": "gradient-boosting",
    "nearest-neighbours": "knn",
    "nearest-neighbors": "knn",
    "random-effects": "mixed",
    "negbin": "negative-binomial",
}


_HAZARDS: Final = frozenset({"hazard", "discrete-time-hazard", "discrete-hazard"})


def is_hazard(name: object) -> bool:
    """Whether a name asks for a discrete-time hazard: a logistic model of persons' periods, in which rows count."""
    return _plain(name) in _HAZARDS


def read_family(name: object) -> Family:
    """Read a family's name; raise `InvalidError` with the reason where it cannot be done."""
    if is_hazard(name):
        return Family.LOGISTIC
    written = _ALIASES.get(_plain(name), _plain(name))
    if written in list(Family):
        return Family(written)
    if written in _REFUSED:
        raise InvalidError(f"`family` {written} is not offered: {_REFUSED[written]}", field="family")
    raise InvalidError("`family` must be one of " + ", ".join((*Family, "hazard")), field="family")


def _plain(name: object) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-") if isinstance(name, str) else ""


def check_outcome(family: Family, label: Label, column: Column) -> None:
    """Hold an outcome to its family; raise `InvalidError` that says what it must be."""
    match family:
        case Family.LOGISTIC if label.target is not Target.BINARY:
            raise InvalidError("a logistic model needs an outcome of two values", field="outcome")
        case Family.LINEAR if label.encoding is not Encoding.SCALED:
            raise InvalidError("a linear model needs a numeric outcome with declared bounds", field="outcome")
        case Family.POISSON:
            _check_count(label, column)
        case _:
            return


def _check_count(label: Label, column: Column) -> None:
    low, high = label.low or column.low, label.high or column.high
    if label.encoding is not Encoding.SCALED or low is None or high is None:
        raise InvalidError("a Poisson model needs a numeric outcome: a count with declared bounds", field="outcome")
    if low.number != 0 or high.number % 1 or not 1 <= high.number <= MOST_COUNT:
        raise InvalidError(f"a count has `low` 0 and a whole `high` of at most {MOST_COUNT}", field="outcome")
