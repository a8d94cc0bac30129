"""The released statistics of several sites: what was asked, the sums, and the answers that follow. Pure.

Rules
-----
1. The file is whole: from its plan and its sums anybody computes every answer again. It is written in one way.
2. Exact answers are stated without intervals; noised ones with those of the noise that the sites really added.
3. A covariance is that of the rows counted, divided by their number less one, in the columns' own units.

Form: docs/formats/he-statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from kernel import canonical
from kernel.canonical import LARGEST_INTEGER
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.homomorphic.noise import MOST_SITES, SAYS, units_of
from privacy.homomorphic.statistics.plan import GRID, FederatedStatistics, Vector
from privacy.jobs.measurements import layout
from privacy.jobs.strict import members_of
from privacy.statistics.answers import answer
from privacy.statistics.expected import reached, title_of
from privacy.statistics.intervals import CONFIDENCE

FORMAT = "privgate/he-statistics/v1"
LIMIT = 64 * 2**20
EXACT = "exact: no noise was added, so this result has no differential privacy"
_TEN_DIGITS = Context(prec=10, rounding=ROUND_HALF_EVEN)
_NOTHING = Parameter("0")
_MOST_TEXT = 40


def statistics_bytes(plan: FederatedStatistics, sums: Sequence[int], sites: int) -> bytes:
    """The released file.

    Args:
        plan: What was asked.
        sums: Of all sites, in steps, in the order of `plan.vectors`.
        sites: How many were added.
    """
    whole(3, MOST_SITES, sites=sites)
    if len(sums) != plan.values:
        raise InvalidError("the sums have another number of cells than the plan", field="sums")
    vectors = list(_vectors(plan, sums))
    answers = [_answer(plan, query, places, vectors, sites) for query, places in _asked(plan)]
    first = len(plan.measurements)
    return canonical.encode(
        {
            "v": 1,
            "format": FORMAT,
            "privacy": EXACT if plan.noise is None else SAYS[plan.noise.by],
            "plan": plan.to_json(),
            "sites": sites,
            "sums": [[str(number) for number in vector] for vector in vectors],
            "confidence": None if plan.noise is None else CONFIDENCE,
            "answers": answers,
            "covariances": [
                _covariance(plan, columns, vectors[first + number]) for number, columns in enumerate(plan.covariances)
            ],
        }
    )


def read_statistics(data: bytes) -> dict[str, Any]:
    """Read a released file and compute it again from its plan and sums; raise `InvalidError` if it differs."""
    needed = ("v", "format", "privacy", "plan", "sites", "sums", "confidence", "answers", "covariances")
    body = members_of(canonical.decode(data, limit=LIMIT, canonical=True), "statistics", needed)
    plan = FederatedStatistics.from_json(body["plan"])
    sums = [number for vector, written in _paired(plan, body["sums"]) for number in _numbers(plan, vector, written)]
    if statistics_bytes(plan, sums, body["sites"]) != data:
        raise InvalidError("the answers do not follow from the plan and the sums")
    return dict(body)


def reaches(plan: FederatedStatistics, people: int) -> list[dict[str, str]]:
    """How far the noise of each query will reach at 95 %, all sites being there; covariances have no interval.

    Args:
        plan: What is asked, with noise.
        people: How many the populations have together, as declared.
    """
    sites = 0 if plan.noise is None else plan.noise.sites
    return [
        {
            "query": title_of(query),
            "reach": reached(query, [added_deviation(plan, plan.vectors[place], sites) for place in places], people),
        }
        for query, places in _asked(plan)
    ]


def _asked(plan: FederatedStatistics) -> Iterator[tuple[Any, tuple[int, ...]]]:
    if plan.queries:
        yield from zip(plan.queries, layout(plan.queries).sources, strict=True)


def _vectors(plan: FederatedStatistics, sums: Sequence[int]) -> Iterator[list[int]]:
    """The sums in whole units, vector by vector."""
    place = 0
    for vector in plan.vectors:
        steps = plan.refinement(vector)
        yield [units_of(number, steps) for number in sums[place : place + vector.cells]]
        place += vector.cells


def _answer(
    plan: FederatedStatistics, query: Any, places: Sequence[int], vectors: Sequence[Sequence[int]], sites: int
) -> dict[str, Any]:
    numbers = [[max(-LARGEST_INTEGER, min(LARGEST_INTEGER, number)) for number in vectors[place]] for place in places]
    if plan.noise is None:
        whole_answer = answer(query, numbers, [_NOTHING] * len(places))
        return _without_intervals(whole_answer)
    deviations = [added_deviation(plan, plan.vectors[place], sites) for place in places]
    return answer(query, numbers, deviations)


def added_deviation(plan: FederatedStatistics, vector: Vector, sites: int) -> Parameter:
    """The deviation of the noise that was really added, rounding to whole units included."""
    if plan.noise is None:
        return _NOTHING
    deviation = plan.noise.added(plan.deviation(vector), sites)
    rounding = 0.0 if plan.refinement(vector) == 1 else 1 / 12
    return Parameter(_TEN_DIGITS.create_decimal_from_float(math.sqrt(deviation * deviation + rounding)))


def _without_intervals(found: Mapping[str, Any]) -> dict[str, Any]:
    if "quantiles" in found:
        return {"quantiles": [{"at": one["at"], "value": one["value"]} for one in found["quantiles"]]}
    return {"values": found["values"]}


def _covariance(plan: FederatedStatistics, columns: Sequence[str], vector: Sequence[int]) -> dict[str, Any]:
    size, unit = len(columns), 1 / float(GRID**2)
    rows = vector[0] * unit
    if rows < 2:
        return {"columns": list(columns), "rows": _text(rows), "means": None, "covariance": None}
    middles, halves = zip(*(_range(plan, name) for name in columns), strict=True)
    means = [number * unit / rows for number in vector[1 : 1 + size]]
    numbers = iter(vector[1 + size :])
    matrix = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i, size):
            spread = (next(numbers) * unit / rows - means[i] * means[j]) * rows / (rows - 1)
            matrix[i][j] = matrix[j][i] = spread * halves[i] * halves[j]
    own = [middle + half * mean for middle, half, mean in zip(middles, halves, means, strict=True)]
    return {
        "columns": list(columns),
        "rows": _text(rows),
        "means": [_text(mean) for mean in own],
        "covariance": [[_text(value) for value in row] for row in matrix],
    }


def _range(plan: FederatedStatistics, name: str) -> tuple[float, float]:
    column = plan.schema.column(name)
    if column.low is None or column.high is None:
        raise InvalidError("a covariance is of numeric columns", field="covariances")
    low, high = float(column.low.number), float(column.high.number)
    return (low + high) / 2, (high - low) / 2


def _paired(plan: FederatedStatistics, written: Any) -> Iterator[tuple[Vector, Any]]:
    if not isinstance(written, list) or len(written) != len(plan.vectors):
        raise InvalidError("`sums` has one list for each vector of the plan", field="sums")
    return zip(plan.vectors, written, strict=True)


def _numbers(plan: FederatedStatistics, vector: Vector, written: Any) -> Iterator[int]:
    if not isinstance(written, list) or len(written) != vector.cells:
        raise InvalidError("`sums` has as many numbers as its plan has cells", field="sums")
    for text in written:
        if not isinstance(text, str) or len(text) > _MOST_TEXT or not text.removeprefix("-").isascii():
            raise InvalidError("a sum is decimal text", field="sums")
        if not text.removeprefix("-").isdigit() or str(int(text)) != text:
            raise InvalidError("a sum is decimal text", field="sums")
        yield int(text) * plan.refinement(vector)


def _text(value: float) -> str:
    return format(_TEN_DIGITS.create_decimal(Decimal(value)), "f")
