"""The statistics that are released: request, plan, noisy numbers, and the answers that follow from them. Pure.

Rules
-----
1. The file is whole: with nothing but its request, its plan and its noisy numbers anybody computes every answer again.
2. It is written in one way. What is not written so, or does not follow, is refused.

Form: docs/formats/job-child.md, "Result of statistics".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kernel import canonical
from kernel.canonical import LARGEST_INTEGER
from kernel.errors import InvalidError
from privacy.jobs.measurements import layout
from privacy.jobs.statistics_assignment import require_own
from privacy.jobs.statistics_plan import StatisticsPlan
from privacy.jobs.statistics_spec import StatisticsSpec
from privacy.statistics.answers import answer
from privacy.statistics.intervals import CONFIDENCE

FORMAT = "privgate/statistics/v1"
LIMIT = 64 * 2**20

Noisy: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """A released file that was computed again."""

    spec: StatisticsSpec
    plan: StatisticsPlan
    body: Mapping[str, Any]


def kept(number: int) -> int:
    """A noisy number within what canonical JSON can write; none comes near it but by very large noise."""
    return min(max(number, -LARGEST_INTEGER), LARGEST_INTEGER)


def statistics_json(spec: StatisticsSpec, plan: StatisticsPlan, noisy: Noisy) -> dict[str, Any]:
    """The released statement."""
    deviations = [plan.deviation(measurement) for measurement in plan.measurements]
    answers = [
        answer(query, [noisy[place] for place in places], [deviations[place] for place in places])
        for query, places in zip(spec.queries, layout(spec.queries).sources, strict=True)
    ]
    return {
        "v": 1,
        "format": FORMAT,
        "request": spec.to_json(),
        "plan": plan.to_fields(),
        "noisy": [list(numbers) for numbers in noisy],
        "deviations": [str(deviation) for deviation in deviations],
        "confidence": CONFIDENCE,
        "answers": answers,
    }


def statistics_bytes(spec: StatisticsSpec, plan: StatisticsPlan, noisy: Noisy) -> bytes:
    """The released file."""
    return canonical.encode(statistics_json(spec, plan, noisy))


def read_statistics(spec: StatisticsSpec, plan: StatisticsPlan, data: bytes) -> Statistics:
    """Read a released file of this request and plan and compute it again; raise `InvalidError` if it differs."""
    found = open_statistics(data)
    if found.plan != plan or found.spec != spec:
        raise InvalidError("these are statistics of another request or plan")
    return found


def open_statistics(data: bytes) -> Statistics:
    """Read a released file and compute it again from its own request, plan and noisy numbers.

    Raises:
        InvalidError: It is not written so, or something in it does not follow.
        TooLargeError: It is longer than any such file.
    """
    body = canonical.decode(data, limit=LIMIT, canonical=True)
    try:
        spec, plan = StatisticsSpec.from_json(body["request"]), StatisticsPlan.from_fields(body["plan"])
        vectors = body["noisy"]
        sizes = [measurement.cells for measurement in plan.measurements]
        noisy = tuple(_cells(vector, size) for vector, size in zip(vectors, sizes, strict=True))
    except (KeyError, TypeError, ValueError):
        raise InvalidError("not statistics: a member is missing or of the wrong kind") from None
    require_own(plan, spec)
    if statistics_bytes(spec, plan, noisy) != data:
        raise InvalidError("the answers do not follow from the noisy numbers and the plan")
    return Statistics(spec, plan, body)


def _cells(values: Any, size: int) -> tuple[int, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != size:
        raise TypeError
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise TypeError
    return tuple(values)
