"""Survival as a discrete-time hazard: one row for each person and period at risk, made on an owner's own machine.

Rules
-----
1. Periods are cut at declared times, never at anybody's own: a row says in which period a person was at risk and
   whether the event came in it. A person's rows end with the event, or with the last period that was watched whole.
2. Who is censored within a period has no row for it: whether the event would have come in it is not known.
3. The person is the unit, with at most as many rows as there are periods; whoever is asked for a model lets every row
   count, because how many rows a person has depends on the event.

Reference: Singer and Willett 1993; Tutz and Schmid 2016, chapter 3.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.units import LARGEST_ROWS_PER_UNIT

Row: TypeAlias = Mapping[str, Any]
_YES, _NO = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})


def person_periods(
    people: Iterator[Row] | Sequence[Row],
    *,
    time: str,
    event: str,
    ends: Sequence[float],
    period: str = "period",
) -> Iterator[dict[str, Any]]:
    """Turn one row for each person into one for each person and period.

    Args:
        people: Rows with a time and whether it ended with the event; their other columns are repeated in each period.
        time: The column of the time that a person was watched, from 0 on.
        event: The column that says whether it ended with the event; it then says so of each period.
        ends: Where periods end, in order; what comes after the last is not looked at.
        period: The name of the new column: the number of the period, from 0.

    Raises:
        InvalidError: Times or ends that are none; the row's number is named, and no value.
    """
    whole(1, LARGEST_ROWS_PER_UNIT, ends=len(ends))
    if any(not math.isfinite(end) or end <= begin for begin, end in zip((0.0, *ends), ends, strict=False)):
        raise InvalidError("periods end one after the other, the first after 0", field="ends")
    for number, row in enumerate(people, start=1):
        lasted, came = _time(row.get(time), number, time), _yes(row.get(event), number, event)
        # A time on the end of a period lies in it: an event at 30 of periods that end at 30 and 60 is one of the first.
        last = bisect.bisect_left(ends, lasted) if came else bisect.bisect_right(ends, lasted) - 1
        kept = {name: value for name, value in row.items() if name not in (time, event)}
        for place in range(min(last + 1, len(ends))):
            yield kept | {period: place, event: came and place == last}


def period_column(ends: Sequence[float], period: str = "period") -> dict[str, Any]:
    """The declaration of the new column."""
    return {"name": period, "kind": "numeric", "low": "0", "high": str(max(len(ends) - 1, 1))}


def baseline(periods: int, at_most: int = 8, period: str = "period") -> dict[str, Any]:
    """The predictor that lets the hazard differ between periods: `at_most` bins of periods, of about one width."""
    whole(2, LARGEST_ROWS_PER_UNIT, periods=periods)
    bins = min(periods, at_most)
    edges = sorted({round(periods * place / bins) for place in range(1, bins)})
    return {"column": period, "transform": "bins", "edges": [str(edge) for edge in edges]}


def _time(value: object, number: int, name: str) -> float:
    try:
        time = float(str(value))
    except ValueError:
        time = math.nan
    if not (math.isfinite(time) and time >= 0):
        raise InvalidError(f"row {number}: `{name}` must be a time from 0 on", field=name)
    return time


def _yes(value: object, number: int, name: str) -> bool:
    text = str(value).strip().lower()
    if text not in _YES | _NO:
        raise InvalidError(f"row {number}: `{name}` must be yes or no", field=name)
    return text in _YES
