"""What an evaluation measures: vectors of whole numbers, each with a share of the privacy and a bound on one row.

Rules
-----
1. A measure is a vector that every row adds to alone. What one row adds has at most the Euclidean norm `sensitivity`,
   so that a unit of m rows moves the vector by at most m times that.
2. How many numbers a measure has follows from declarations alone: classes, categories, `bins`.
3. What follows from one measure is not paid for in another: accuracy follows from the confusion matrix.

Form: docs/formats/job-spec.md, "Evaluation".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from math import isqrt
from typing import Final

from kernel.amounts import Share
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Record
from privacy.jobs.labels import Target
from privacy.schema import Column, ColumnKind

MOST_CELLS = 2**16
MOST_CONFUSED = 32
MOST_GROUPS = 64
MOST_SUBGROUPS = 4
LEAST_SHARE = Decimal("0.01")
_ROUND_DOWN = Context(prec=34, rounding=ROUND_FLOOR)


class Part(StrEnum):
    """What can be measured."""

    OUTCOMES = "outcomes"
    CONFUSION = "confusion"
    SCORES = "scores"
    ERRORS = "errors"
    SUBGROUPS = "subgroups"


ERROR_SCALES: Final = (2**14, 2**15, 2**16, 2**14, 2**14, 2**15)
"""What a row adds at most to: rows; absolute, squared and fourth power of its error; label; squared label.

The squared error is what most figures rest on and the hardest to tell from noise, so that it gets the finest scale. In
all the sensitivity is 1.3 times what the squared error alone would take.
"""
GROUP_SCALES: Final = (2**15, 2**16)
"""What a row adds at most to its group's: rows; absolute error."""
GROUP_CELLS: Final = {Target.BINARY: 4, Target.CLASSES: 2, Target.REAL: 2}
"""Numbers of a group: the 2 x 2 confusion; wrong and right; `GROUP_SCALES`."""
_PRIMARY: Final = {
    Target.BINARY: (Part.OUTCOMES, Part.CONFUSION),
    Target.CLASSES: (Part.OUTCOMES, Part.CONFUSION),
    Target.REAL: (Part.ERRORS,),
}
_GROUPED: Final = frozenset({ColumnKind.CATEGORICAL, ColumnKind.ORDINAL, ColumnKind.BOOLEAN})


@dataclass(frozen=True, kw_only=True)
class Measure(Record):
    """One vector of a plan.

    Attributes:
        part: What it holds.
        share: Its part of the privacy, rounded down.
        cells: How many whole numbers it has.
        sensitivity: What one row adds at most, in Euclidean norm.
        column: Of subgroups: the place of their column in the schema.
    """

    part: Part
    share: Share
    cells: int
    sensitivity: int = 1
    column: int | None = None

    def __post_init__(self) -> None:
        whole(1, MOST_CELLS, cells=self.cells)
        whole(1, 2**20, sensitivity=self.sensitivity)
        if not self.share.value > 0:
            raise InvalidError("every measure needs a share of the privacy above 0", field="shares")
        if (self.part is Part.SUBGROUPS) != (self.column is not None):
            raise InvalidError("subgroups, and nothing else, are of a column", field="subgroups")


def sensitivity(part: Part, target: Target) -> int:
    """What one row adds at most to such a vector, in Euclidean norm: one, or the norm of its scales, rounded up."""
    scales = {Part.ERRORS: ERROR_SCALES, Part.SUBGROUPS: GROUP_SCALES}.get(part) if target is Target.REAL else None
    squares = sum(scale * scale for scale in scales or (1,))
    return isqrt(squares - 1) + 1


def default_shares(target: Target, *, confusion: bool, subgroups: bool) -> dict[Part, Share]:
    """Shares of whoever names none: three quarters for right and wrong, one for the scores; half of it for subgroups.

    Args:
        target: What the model predicts.
        confusion: Whether a confusion matrix is asked for.
        subgroups: Whether subgroups are.
    """
    if target is Target.REAL:
        if confusion:
            raise InvalidError("a confusion matrix is of a model that predicts a class", field="confusion")
        parts = {Part.ERRORS: Decimal(1)}
    else:
        parts = {Part.CONFUSION if confusion else Part.OUTCOMES: Decimal("0.75"), Part.SCORES: Decimal("0.25")}
    if subgroups:
        parts = {part: share / 2 for part, share in parts.items()} | {Part.SUBGROUPS: Decimal("0.5")}
    return {part: Share(share) for part, share in parts.items()}


def check_shares(shares: Mapping[Part, Share]) -> None:
    """Raise `InvalidError` unless the shares add up to 1, of parts that go together, none of them next to nothing."""
    if any(share.value < LEAST_SHARE for share in shares.values()):
        raise InvalidError(f"each of `shares` must be at least {LEAST_SHARE}: leave out a part instead", field="shares")
    if sum(share.value for share in shares.values()) != 1:
        raise InvalidError("`shares` must add up to 1", field="shares")
    primary = [part for part in (Part.OUTCOMES, Part.CONFUSION, Part.ERRORS) if part in shares]
    if len(primary) != 1 or (Part.ERRORS in shares and Part.SCORES in shares):
        raise InvalidError(
            "`shares` needs outcomes or confusion, and may have scores; of a number it needs errors", field="shares"
        )


def check_parts(shares: Mapping[Part, Share], target: Target, classes: int) -> None:
    """Raise `InvalidError` unless a model of such a target has these parts."""
    if not any(part in shares for part in _PRIMARY[target]):
        wanted = " or ".join(_PRIMARY[target])
        raise InvalidError(f"`shares` of a model of this target needs {wanted}", field="shares")
    if Part.CONFUSION in shares and classes > MOST_CONFUSED:
        raise InvalidError(f"a confusion matrix is for at most {MOST_CONFUSED} classes", field="confusion")


def measures(
    shares: Mapping[Part, Share], target: Target, classes: int, bins: int | None, groups: Sequence[tuple[int, int]]
) -> tuple[Measure, ...]:
    """The vectors of an evaluation, in their order.

    Args:
        shares: Which parts, and what of the privacy each gets.
        target: What the model predicts.
        classes: How many classes there are: 2 of a binary target.
        bins: Cells per half of the scores.
        groups: For each column of subgroups: its place in the schema, and how many groups it makes.

    Raises:
        InvalidError: A part that this target does not have, or too many classes.
    """
    check_parts(shares, target, classes)
    lengths = {
        Part.OUTCOMES: 2,
        Part.CONFUSION: classes**2,
        Part.SCORES: 2 * (bins or 1),
        Part.ERRORS: len(ERROR_SCALES),
    }
    made = [
        Measure(part=part, share=shares[part], cells=length, sensitivity=sensitivity(part, target))
        for part, length in lengths.items()
        if part in shares
    ]
    for column, count in groups:
        share = Share.down(_ROUND_DOWN.divide(shares[Part.SUBGROUPS].value, Decimal(len(groups))))
        cells, bound = GROUP_CELLS[target] * count, sensitivity(Part.SUBGROUPS, target)
        made.append(Measure(part=Part.SUBGROUPS, share=share, cells=cells, sensitivity=bound, column=column))
    return tuple(made)


def groups_of(column: Column) -> tuple[str, ...]:
    """The groups that a column makes; raise `InvalidError` if it makes none, or too many."""
    if column.kind not in _GROUPED:
        kinds = "categorical, ordinal and boolean"
        raise InvalidError(f"column `{column.name}`: subgroups are of {kinds} columns", field="subgroups")
    names = ("false", "true") if column.kind is ColumnKind.BOOLEAN else column.categories
    if len(names) > MOST_GROUPS:
        raise InvalidError(f"column `{column.name}`: subgroups are at most {MOST_GROUPS} categories", field="subgroups")
    return names
