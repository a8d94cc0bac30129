"""Answers: they follow from the noisy numbers alone, and their intervals hold what they say."""

from __future__ import annotations

import math
import os
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.errors import InvalidError, PrivgateError
from kernel.events import Parameter
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.jobs.measurements import layout
from privacy.statistics.answers import answer
from privacy.statistics.intervals import QUANTILE, ratio, reach
from privacy.statistics.report import kept, open_statistics, read_statistics, statistics_bytes
from privacy.statistics.runner import add_noise
from tests.support import jobs, statistics

SOURCE = ExactSource(os.urandom)
ROUNDS = 250
LEAST = 0.95 - 5 * math.sqrt(0.95 * 0.05 / ROUNDS)
"""Five deviations below 95 %, for that many independent intervals: a false alarm in three million."""
PATIENTS = jobs.facts(rows_per_unit=3)


def noisy(exact: Any, deviation: str) -> list[int]:
    """Numbers with noise of their own."""
    variance = Fraction(Decimal(deviation)) ** 2
    return [int(number) + drawn for number, drawn in zip(exact, SOURCE.gaussians(len(exact), variance), strict=True)]


def held(query: Any, exact: Any, truth: Any, deviation: str) -> float:
    """How often the interval of a query's one cell holds what the answer is without noise."""
    found = 0
    for _ in range(ROUNDS):
        told = answer(query, [noisy(vector, deviation) for vector in exact], [Parameter(deviation)] * len(exact))
        cell = told["quantiles"][0] if "quantiles" in told else {name: told[name][0] for name in ("low", "high")}
        found += Decimal(cell["low"]) <= truth <= Decimal(cell["high"])
    return found / ROUNDS


@pytest.mark.parametrize("deviation", ["0.3", "0.5", "2", "37.25"])
def test_intervals_of_counts_hold_the_exact_count(deviation: str) -> None:
    """At any deviation: where noise is nearly always 0, 1.96 deviations would not reach the next whole number."""
    (query,) = statistics.spec([{"kind": "count"}]).queries
    assert held(query, [[412]], 412, deviation) >= LEAST
    inside = sum(abs(drawn) <= reach(float(deviation)) for drawn in noisy([0] * 4000, deviation)) / 4000
    assert inside >= 0.95 - 5 * math.sqrt(0.95 * 0.05 / 4000)


def test_the_reach_is_the_least_that_is_enough() -> None:
    """One step less holds noise less often than 95 times in 100."""
    for deviation in (0.4, 1.0, 3.0, 11.0, 19.9):
        points = np.arange(-400, 401)
        weights = np.exp(-(points**2) / (2 * deviation**2))
        share = [weights[np.abs(points) <= reach(deviation) - less].sum() / weights.sum() for less in (0, 1)]
        assert share[0] >= 0.95 > share[1]
    assert reach(50.0) == math.ceil(QUANTILE * 50)


@pytest.mark.parametrize("deviation", ["0.6", "9"])
def test_intervals_of_sums_and_means_hold_the_exact_ones(deviation: str) -> None:
    """A mean's is that of a ratio of two noisy numbers, also where the count is little more than noise."""
    total, mean = statistics.spec([{"kind": "sum", "column": "dose"}, {"kind": "mean", "column": "age"}]).queries
    assert held(total, [[-1234]], -1234 * total.summed.quantum.number, deviation) >= LEAST
    quantum = mean.summed.quantum.number
    for count in (12, 400):
        steps = 70 * count
        assert held(mean, [[steps], [count]], 50 + 70 * quantum, deviation) >= LEAST, count


def test_a_mean_of_nobody_says_nothing() -> None:
    """No value, and the bounds for an interval; nothing is divided by a count that may be 0."""
    (mean,) = statistics.spec([{"kind": "mean", "column": "age"}]).queries
    for sums, counts in (([5], [0]), ([-900000], [3]), ([10], [-4])):
        told = answer(mean, [sums, counts], [Parameter("20"), Parameter("20")])
        assert told == {"values": [None], "low": ["0"], "high": ["100"]}
    assert ratio(100, 10, 1.0, 1.0) is not None
    assert ratio(100, 1, 1.0, 1.0) is None


@pytest.mark.parametrize(("at", "deviation"), [("0.05", "12"), ("0.5", "0.7"), ("0.95", "12")])
def test_intervals_of_quantiles_hold_the_exact_one(at: str, deviation: str) -> None:
    """The cell that the exact counts give, whatever the noise."""
    (query,) = statistics.spec([{"kind": "quantiles", "column": "age", "bins": 20, "at": [at]}]).queries
    exact = [int(400 * math.exp(-((cell - 8) ** 2) / 20)) for cell in range(20)]
    truth = Decimal(answer(query, [exact], [Parameter("0.000001")])["quantiles"][0]["value"])
    assert held(query, [exact], truth, deviation) >= LEAST


def test_quantiles_of_nobody_say_nothing() -> None:
    """Where the counts are noise alone there is no value, and the interval is the column's bounds."""
    (query,) = statistics.spec([{"kind": "quantiles", "column": "age", "at": ["0.5"]}]).queries
    told = answer(query, [[1, -2] * 32], [Parameter("5")])
    assert told["quantiles"] == [{"at": "0.5", "value": None, "low": "0", "high": "100"}]


def test_a_histogram_has_no_negative_cell_and_keeps_its_sum() -> None:
    """The intervals are those of the noisy numbers, and never below 0."""
    (query,) = statistics.spec([{"kind": "histogram", "columns": ["ward"]}]).queries
    told = answer(query, [[100, -6, 4]], [Parameter("3")])
    values = [Decimal(value) for value in told["values"]]
    assert min(values) >= 0
    assert abs(sum(values) - 98) <= Decimal("0.2")
    assert (told["low"], told["high"]) == (["94", "0", "0"], ["106", "0", "10"])


def _released(epsilon: str = "1") -> tuple[Any, Any, bytes]:
    spec, plan = statistics.spec(epsilon=epsilon), statistics.plan(declared=PATIENTS, epsilon=epsilon)
    # Far above their noise: of two negative counts the answers are the same, and both files are in order.
    exact = [10_000 + 10 * np.arange(m.size.cells, dtype=np.int64) for m in layout(spec.queries).measurements]
    return spec, plan, statistics_bytes(spec, plan, add_noise(plan, exact))


def test_a_released_file_is_computed_again_and_not_a_digit_may_differ() -> None:
    """By whoever has it: request, plan and noisy numbers are in it."""
    spec, plan, data = _released()
    found = read_statistics(spec, plan, data)
    assert (found.spec, found.plan) == (spec, plan)
    body = canonical.decode(data, limit=2**24)
    assert len(body["answers"]) == len(statistics.QUERIES)
    assert body["deviations"] == [str(plan.deviation(measurement)) for measurement in plan.measurements]

    changes: list[tuple[Any, ...]] = [
        ("answers", 0, "values", 0),
        ("answers", 5, "high", 1),
        ("answers", 7, "quantiles", 0, "value"),
        ("deviations", 0),
        ("plan", "noise_multiplier"),
        ("plan", "measurements", 0, "weight"),
        ("plan", "rows_per_unit"),
        ("request", "epsilon"),
        ("request", "queries", 1, "weight"),
        ("noisy", 0, 0),
        ("noisy", 2),
        ("confidence",),
    ]
    for path in changes:
        changed = canonical.decode(data, limit=2**24)
        place = changed
        for step in path[:-1]:
            place = place[step]
        value = place[path[-1]]
        place[path[-1]] = (
            value[:-1] if isinstance(value, list) else value + 1 if isinstance(value, int) else f"{value}1"
        )
        with pytest.raises(PrivgateError):
            open_statistics(canonical.encode(changed))
    for broken in (data + b"\n", data[:-1], b"[]", b"{}", canonical.encode({**body, "rows": []})):
        with pytest.raises(PrivgateError):
            open_statistics(broken)


def test_statistics_of_another_request_are_refused() -> None:
    """A child that answers another question than was paid for has no result."""
    spec, plan, _ = _released()
    _, _, other = _released("2")
    with pytest.raises(InvalidError):
        read_statistics(spec, plan, other)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**62), 2**62), min_size=64, max_size=64), st.floats(0.05, 1e12))
def test_no_noisy_number_makes_an_answer_fail(numbers: list[int], deviation: float) -> None:
    """Nothing is raised because of a value: every answer can be written, whatever the noise was."""
    written = Parameter(format(Decimal(repr(deviation)), "f"))
    queries = statistics.spec(
        [
            {"kind": "count"},
            {"kind": "histogram", "columns": ["age"], "bins": 64},
            {"kind": "sum", "column": "dose"},
            {"kind": "mean", "column": "age"},
            {"kind": "quantiles", "column": "age"},
        ]
    ).queries
    drawn = [kept(number) for number in numbers]
    for query in queries:
        cells = drawn[: query.cells]
        assert canonical.encode(answer(query, [cells, cells], [written, written]))


def test_noise_is_drawn_anew_and_has_the_deviation_that_is_stated() -> None:
    """Two releases of one table differ, and by what the file says."""
    queries = [{"kind": "histogram", "columns": ["age"], "bins": 1024}]
    plan = statistics.plan(queries, PATIENTS)
    exact = [np.zeros(1024, dtype=np.int64)]
    first, second = add_noise(plan, exact), add_noise(plan, exact)
    assert first != second
    deviation = float(plan.deviation(plan.measurements[0]).number)
    assert abs(np.std([*first[0], *second[0]]) / deviation - 1) < 6 / math.sqrt(2 * 2048)
