"""How far the noise of a query will reach, from plan and declared sizes: told before anything is spent. Pure.

Rules
-----
1. No row is looked at. A mean's reach depends on how many are in a cell: it is told for the declared size, spread
   evenly over the cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kernel.events import Parameter
from privacy.jobs.queries import Per, Query, QueryKind
from privacy.statistics.deviations import of_mean, short
from privacy.statistics.intervals import QUANTILE, reach


def title_of(query: Query) -> str:
    """The query in a few words."""
    named = [axis.column for axis in query.axes]
    of = "" if query.summed is None else f" of {query.summed.column}"
    by = f" by {', '.join(named)}" if named else ""
    return f"{query.kind}{of}{by}, per {query.per}"


def reached(query: Query, noises: Sequence[Parameter], people: int) -> str:
    """Plus or minus what its noise reaches at 95 %, in words.

    Args:
        query: In its final form.
        noises: The deviation of the noise on each number of each of its measurements.
        people: How many are counted, as declared.
    """
    noun = "rows" if query.per is Per.ROW else "units"
    far = reach(float(noises[0].number))
    if query.summed is None:
        return f"{far} {noun}" + (", in each cell" if query.axes else "")
    if query.kind is QueryKind.SUM:
        return f"{Parameter(far * query.summed.quantum.number)}"
    of_sum, of_count = (float(noise.number) for noise in noises)
    each = max(1, people // math.prod(axis.cells for axis in query.axes))
    # At the bound noise in the count moves a mean most.
    most = of_mean(query.summed, each * query.summed.centred_bound, each, of_sum, of_count)
    if most is None:
        return f"more than its bounds, of {each} {noun}: too few"
    return f"{short(QUANTILE * most)} at most, of {each} {noun}"
