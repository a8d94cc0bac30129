"""Figures by the groups of a declared column, and the gaps between them. Pure.

Rules
-----
1. A group whose *noisy* count lies below the declared minimum has no figures and enters no gap. Only noisy counts
   decide: a rule on true counts would itself be an answer about people, and a free one.
2. Gaps are differences between the groups that are shown: of the rate of positive predictions (demographic parity), of
   the true positive rate (equal opportunity), of accuracy, of the mean absolute error.
3. No row is in two groups, so that the noise of groups is independent. One person with rows in several groups is
   allowed for: all of a unit's rows together are at most `rows_per_unit`, and so is what they add to a difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from privacy.evaluation.confusion import Confusion
from privacy.evaluation.estimates import CONFIDENCE, Estimate, Estimated, Ratio, gap, quantile
from privacy.evaluation.regression import group_error
from privacy.jobs.evaluation_measures import GROUP_CELLS, GROUP_SCALES
from privacy.jobs.labels import Target

GAPS: Final = {
    "positive_rate": "demographic_parity_difference",
    "true_positive_rate": "equal_opportunity_difference",
    "accuracy": "accuracy_difference",
    "mean_absolute_error": "mean_absolute_error_difference",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One group.

    Attributes:
        name: The category.
        rows: About how many rows it has: the noisy count, with an interval for its noise alone.
        figures: Nothing if it is suppressed.
    """

    name: str
    rows: Estimate
    figures: Mapping[str, Estimated] | None


def groups(
    names: Sequence[str], numbers: Sequence[int], target: Target, deviation: float, rows_per_unit: int, least: int
) -> list[Group]:
    """Read a measure group by group.

    Args:
        names: The column's categories.
        numbers: The noisy numbers of all groups, side by side.
        target: What the model predicts.
        deviation: Of the noise on each number.
        rows_per_unit: The most rows of one unit.
        least: The smallest noisy count that is shown.
    """
    cells, found = GROUP_CELLS[target], []
    for place, name in enumerate(names):
        own = numbers[cells * place : cells * (place + 1)]
        rows = _rows(own, target, deviation)
        figures = _figures(own, target, deviation, rows_per_unit) if rows.value >= least else None
        found.append(Group(name=name, rows=rows, figures=figures))
    return found


def gaps(of: Sequence[Group]) -> dict[str, Estimate]:
    """The gap of each figure that at least two groups show."""
    shown = [group.figures for group in of if group.figures is not None]
    found = {GAPS[name]: gap([figures[name] for figures in shown]) for name in GAPS if shown and name in shown[0]}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _rows(numbers: Sequence[int], target: Target, deviation: float) -> Estimate:
    if target is Target.REAL:
        count, noise = numbers[0] / GROUP_SCALES[0], deviation / GROUP_SCALES[0]
    else:
        count, noise = float(sum(numbers)), deviation * math.sqrt(len(numbers))
    reach = quantile(CONFIDENCE) * noise
    return Estimate(value=count, low=min(count, max(0.0, count - reach)), high=max(0.0, count + reach))


def _figures(numbers: Sequence[int], target: Target, deviation: float, rows_per_unit: int) -> dict[str, Estimated]:
    if target is Target.REAL:
        return {"mean_absolute_error": group_error(numbers, deviation, rows_per_unit)}
    if target is Target.CLASSES:
        wrong, right = numbers
        noise = deviation**2
        return {
            "accuracy": Ratio(
                above=right, beside=wrong, above_noise=noise, beside_noise=noise, rows_per_unit=rows_per_unit
            )
        }
    table = Confusion(cells=numbers, classes=2, deviation=deviation, rows_per_unit=rows_per_unit)
    positive = table.figures(1)
    return {
        "accuracy": table.accuracy(),
        "positive_rate": table.predicted(1),
        "true_positive_rate": positive["recall"],
        "true_negative_rate": positive["specificity"],
    }
