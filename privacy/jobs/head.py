"""What requests of every kind share: version, kind, dataset, purpose, epsilon.

Rules
-----
1. A kind of job is one member here; what is particular to it is said in modules of its own (`privacy.jobs.kinds`).
2. Every message names the field and what to write instead, and repeats no value.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from kernel.amounts import Epsilon
from kernel.errors import InvalidError
from kernel.ids import DatasetId, Slug
from privacy.jobs.strict import one_of

VERSION = 1
LIMIT = 8 * 2**20
LARGEST_EPSILON = Decimal(100)
COMMON: Final = ("dataset", "purpose", "epsilon")


class JobKind(StrEnum):
    """What kinds of job there are."""

    TRAINING = "training"
    EVALUATION = "evaluation"
    STATISTICS = "statistics"
    GLM = "glm"
    TUNING = "tuning"


class RowChoice(StrEnum):
    """Which units of a sealed version a job sees: all, or those whose home block is the version's own."""

    ALL = "all"
    HOME = "home"


def sees_home_alone(request: Mapping[str, Any]) -> bool:
    """Whether a request, in any form, asks for home units alone."""
    return request.get("rows") == RowChoice.HOME.value


def rows_of(members: Mapping[str, Any]) -> RowChoice:
    """Which units a request asks for: all, if it does not say."""
    chosen: RowChoice = one_of(RowChoice, members.get("rows", RowChoice.ALL.value), "rows")
    return chosen


def with_rows(body: dict[str, Any], rows: RowChoice) -> dict[str, Any]:
    """A request's final form with its choice of units, which is written only where it is not all of them."""
    return body if rows is RowChoice.ALL else body | {"rows": rows.value}


def check_epsilon(epsilon: Epsilon) -> None:
    """Raise `InvalidError` unless a job may ask for so much."""
    if not 0 < epsilon.value <= LARGEST_EPSILON:
        raise InvalidError(f"`epsilon` must be above 0 and at most {LARGEST_EPSILON}", field="epsilon")


def check_head(members: Mapping[str, Any], kind: JobKind) -> None:
    """Raise `InvalidError` unless the request is of this version and kind."""
    if members["v"] != VERSION or isinstance(members["v"], bool):
        raise InvalidError("this version reads requests with `v` 1", field="v")
    if members["kind"] != kind.value:
        raise InvalidError(f"`kind` must be {kind}", field="kind")


def common_of(members: Mapping[str, Any]) -> dict[str, Any]:
    """What every request says: on what, why, for how much."""
    return {
        "dataset": DatasetId(members["dataset"]),
        "purpose": Slug(members["purpose"]),
        "epsilon": Epsilon.parse(members["epsilon"]),
    }


def members_of_request(body: Any, needed: tuple[str, ...], optional: tuple[str, ...]) -> Mapping[str, Any]:
    """Return a request that has exactly what it needs and what it may have."""
    if not isinstance(body, Mapping) or not set(needed) <= set(body) <= {*needed, *optional}:
        also = f" and may have {', '.join(optional)}" if optional else ""
        raise InvalidError(f"a request needs {', '.join(needed)}{also}, nothing else", field="request")
    return body
