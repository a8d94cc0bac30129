"""The evaluation that is released: noisy numbers, their noise, and the figures that follow from them. Pure.

Rules
-----
1. Whoever reads a file computes every figure again from the numbers in it; a file that differs in one byte is refused.
2. Shares have four places; counts and figures in the label's unit have six significant digits.

Form: docs/formats/job-child.md, "Result of an evaluation".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, TypeAlias

from kernel import canonical
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.evaluation.calibration import Histograms, brier_score, calibration_error, reliability
from privacy.evaluation.confusion import Confusion
from privacy.evaluation.counts import estimate_accuracy, estimate_auc
from privacy.evaluation.design import Design, Vector
from privacy.evaluation.estimates import CONFIDENCE, Estimate
from privacy.evaluation.regression import ErrorSums, mean_absolute_error, r_squared, root_mean_squared_error
from privacy.evaluation.subgroups import Group, gaps, groups
from privacy.jobs.evaluation_measures import Part
from privacy.jobs.labels import Target

FORMAT = "privgate/evaluation/v1"
LIMIT = 2**22
_FOUR_PLACES = Decimal("0.0001")
_WIDE = Context(prec=34, rounding=ROUND_HALF_EVEN)
_SIX_DIGITS = Context(prec=6, rounding=ROUND_HALF_EVEN)
_AREA: Final = {Target.BINARY: "auc", Target.CLASSES: "confidence_auc"}

Numbers: TypeAlias = Sequence[Sequence[int]]
"""The noisy whole numbers of every vector, in the order of the design: what leaves the child; possibly negative."""


def evaluation_json(design: Design, numbers: Numbers) -> dict[str, Any]:
    """The released statement."""
    body = {"v": 1, "format": FORMAT, "confidence": str(CONFIDENCE)} | design.to_json(numbers)
    by_group: list[dict[str, Any]] = []
    for vector, own in zip(design.vectors, numbers, strict=True):
        if vector.part is Part.SUBGROUPS:
            by_group.append(_subgroups(design, vector, own))
        else:
            body |= _FIGURES[vector.part](design, vector, own)
    return body | {"subgroups": by_group} if by_group else body


def evaluation_bytes(design: Design, numbers: Numbers) -> bytes:
    """The released file."""
    return canonical.encode(evaluation_json(design, numbers))


def read_evaluation(data: bytes, design: Design | None = None) -> tuple[Design, dict[str, Any]]:
    """Read a released file and compute it again from its own numbers.

    Args:
        data: The file.
        design: What it must be an evaluation of; whoever has no plan at hand leaves it out.

    Returns:
        What was measured, and the whole statement.

    Raises:
        InvalidError: A figure does not follow from the numbers, or it is an evaluation of something else.
        TooLargeError: It is larger than an evaluation is.
    """
    body = canonical.decode(data, limit=LIMIT, canonical=True)
    if not isinstance(body, dict):
        raise InvalidError("not an evaluation: an object is expected")
    told, numbers = Design.from_json(body)
    if design is not None and told != design:
        raise InvalidError("this is an evaluation of another plan", field="plan")
    try:
        expected = evaluation_bytes(told, numbers)
    except (ArithmeticError, ValueError):
        raise InvalidError("no evaluation follows from such numbers and such noise") from None
    if expected != data:
        raise InvalidError("the evaluation does not follow from its numbers and its plan")
    return told, body


def _outcomes(design: Design, vector: Vector, numbers: Sequence[int]) -> dict[str, Any]:
    right, wrong = numbers
    return {"accuracy": _share(estimate_accuracy(right, wrong, vector.deviation, design.rows_per_unit))}


def _confusion(design: Design, vector: Vector, numbers: Sequence[int]) -> dict[str, Any]:
    table = Confusion(
        cells=numbers,
        classes=len(design.classes),
        deviation=vector.deviation,
        rows_per_unit=design.rows_per_unit,
    )
    by_class = [
        {"class": name} | {figure: _share(ratio.estimate()) for figure, ratio in table.figures(place).items()}
        for place, name in enumerate(design.classes)
    ]
    return {"accuracy": _share(table.accuracy().estimate()), "by_class": by_class}


def _scores(design: Design, vector: Vector, numbers: Sequence[int]) -> dict[str, Any]:
    bins = vector.cells // 2
    of = Histograms(
        first=numbers[:bins],
        second=numbers[bins:],
        deviation=vector.deviation,
        rows_per_unit=design.rows_per_unit,
    )
    cells = reliability(of, design.least_group)
    calibration: dict[str, Any] = {
        "error": _share(calibration_error(of)),
        "cells": [None if cell is None else _share(cell) for cell in cells],
    }
    if design.target is Target.BINARY:
        calibration["brier"] = _share(brier_score(of))
    auc = estimate_auc(of.first, of.second, of.deviation, design.rows_per_unit)
    body: dict[str, Any] = {"calibration": calibration}
    return body if auc is None else body | {_AREA[design.target]: _share(auc.estimate) | {"clipped": auc.clipped}}


def _errors(design: Design, vector: Vector, numbers: Sequence[int]) -> dict[str, Any]:
    sums = ErrorSums.of(numbers, vector.deviation, design.bound, design.rows_per_unit)
    errors = {
        "mean_absolute_error": _amount(mean_absolute_error(sums, design.span)),
        "root_mean_squared_error": _amount(root_mean_squared_error(sums, design.span)),
    }
    squared = r_squared(sums)
    return {"errors": errors if squared is None else errors | {"r_squared": _share(squared)}}


_FIGURES: Final[Mapping[Part, Callable[[Design, Vector, Sequence[int]], dict[str, Any]]]] = {
    Part.OUTCOMES: _outcomes,
    Part.CONFUSION: _confusion,
    Part.SCORES: _scores,
    Part.ERRORS: _errors,
}


def _subgroups(design: Design, vector: Vector, numbers: Sequence[int]) -> dict[str, Any]:
    found = groups(vector.groups, numbers, design.target, vector.deviation, design.rows_per_unit, design.least_group)
    return {
        "column": vector.column,
        "groups": [_group(design, group) for group in found],
        "gaps": {name: _figure(design, estimate) for name, estimate in gaps(found).items()},
    }


def _group(design: Design, group: Group) -> dict[str, Any]:
    body: dict[str, Any] = {"group": group.name, "rows": _amount(group.rows), "suppressed": group.figures is None}
    return body | {name: _figure(design, one.estimate()) for name, one in (group.figures or {}).items()}


def _figure(design: Design, estimate: Estimate) -> dict[str, str]:
    """A share, or an error in the label's unit."""
    real = design.target is Target.REAL
    return _amount(estimate.scaled(design.bound * design.span)) if real else _share(estimate)


def _share(estimate: Estimate) -> dict[str, str]:
    return _told(estimate, lambda value: Decimal(value).quantize(_FOUR_PLACES, context=_WIDE))


def _amount(estimate: Estimate) -> dict[str, str]:
    return _told(estimate, lambda value: _SIX_DIGITS.create_decimal(Decimal(value)))


def _told(estimate: Estimate, written: Callable[[float], Decimal]) -> dict[str, str]:
    named = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: str(Parameter(written(value))) for name, value in named.items()}
