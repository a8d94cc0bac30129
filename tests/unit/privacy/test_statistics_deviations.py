"""The deviation that stands beside a figure is that of its noise, in the figure's unit: against simulated noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from kernel.events import Parameter
from privacy.jobs.measurements import layout
from privacy.jobs.queries import Query, QueryKind
from privacy.statistics.answers import answer
from privacy.statistics.deviations import deviations, short
from privacy.statistics.intervals import QUANTILE
from tests.support import statistics

DRAWS = 1500
CLOSE = 5 / math.sqrt(2 * DRAWS)
"""Five deviations of a deviation that so many draws tell."""
Ints: TypeAlias = npt.NDArray[np.int64]

AGES = [300, 500, 800, 900, 700, 400, 200, 100]
CASES: dict[str, tuple[dict[str, Any], list[list[int]]]] = {
    "count": ({"kind": "count"}, [[5000]]),
    "histogram": ({"kind": "histogram", "columns": ["ward"]}, [[2000, 3000, 1000]]),
    "sum": ({"kind": "sum", "column": "dose"}, [[40_000]]),
    # Means at a bound, off the middle and in it: the count's noise counts by how far off they are.
    "mean": ({"kind": "mean", "column": "age", "by": ["ward"]}, [[-98_000, 60_000, 0], [2000, 3000, 1000]]),
    "quantiles": ({"kind": "quantiles", "column": "age", "bins": 8, "at": ["0.1", "0.5", "0.9"]}, [AGES]),
}


def asked(written: Mapping[str, Any]) -> tuple[Query, list[Parameter]]:
    """A query in its final form, and the deviations of its measurements at epsilon 1."""
    spec, plan = statistics.spec([written]), statistics.plan([written])
    assert len(layout(spec.queries).measurements) == len(plan.measurements)
    return spec.queries[0], [plan.deviation(measurement) for measurement in plan.measurements]


def told(query: Query, noisy: list[list[int]], noises: list[Parameter]) -> list[tuple[Any, ...]]:
    """Value, low, high and deviation of each figure."""
    body = answer(query, noisy, noises)
    if query.kind is QueryKind.QUANTILES:
        figures = [(each["value"], each["low"], each["high"]) for each in body["quantiles"]]
    else:
        figures = list(zip(body["values"], body["low"], body["high"], strict=True))
    of = deviations(query, noisy, noises, [value is not None for value, *_ in figures])
    return [(*figure, each) for figure, each in zip(figures, of, strict=True)]


def drawn(exact: list[list[int]], noises: list[Parameter], rng: np.random.Generator) -> list[list[int]]:
    """Numbers with noise of the stated deviations."""
    return [
        [int(n + round(rng.normal(0, float(noise.number)))) for n in numbers]
        for numbers, noise in zip(exact, noises, strict=True)
    ]


@pytest.mark.parametrize("kind", list(CASES))
def test_it_is_what_the_noise_makes_of_the_figure(kind: str) -> None:
    """Values under simulated noise scatter as much as is said, and the interval holds what they scatter about."""
    written, exact = CASES[kind]
    query, noises = asked(written)
    rng = np.random.default_rng(20_260)
    runs = [told(query, drawn(exact, noises, rng), noises) for _ in range(DRAWS)]
    truth = told(query, exact, noises)
    for place, (value, _, _, said) in enumerate(truth):
        values = np.array([float(run[place][0]) for run in runs])
        assert np.std(values) == pytest.approx(float(said), rel=CLOSE), (kind, place)
        held = np.mean([float(run[place][1]) <= float(value) <= float(run[place][2]) for run in runs])
        assert held > 0.93, (kind, place)


@pytest.mark.parametrize("kind", ["count", "histogram", "sum", "mean"])
def test_the_interval_reaches_about_two_of_them(kind: str) -> None:
    """Both are of one noise: where it is small beside the counts, the interval is 1.96 deviations up and down."""
    written, exact = CASES[kind]
    query, noises = asked(written)
    for place, (value, low, high, said) in enumerate(told(query, exact, noises)):
        ends = [float(value) - float(low), float(high) - float(value)]
        if kind == "mean" and place == 0:
            ends = ends[1:]  # at the bound, where the interval is cut
        for end in ends:
            assert end == pytest.approx(QUANTILE * float(said), rel=0.05, abs=1), (kind, place)


def test_it_is_in_the_unit_of_the_column() -> None:
    """The same noise in a column of half the step is half as much; of a mean it shrinks with the count."""
    for written in ({"kind": "sum", "column": "dose"}, {"kind": "mean", "column": "dose"}):
        query, noises = asked(written | {"quantum": "0.01"})
        finer, _ = asked(written | {"quantum": "0.005"})
        exact = [[0], [5000]][: len(noises)]
        ((_, _, _, coarse),), ((_, _, _, fine),) = told(query, exact, noises), told(finer, exact, noises)
        assert float(coarse) == pytest.approx(2 * float(fine), rel=0.01)
    ((_, _, _, many),) = told(query, [[0], [10_000]], noises)
    assert float(many) == pytest.approx(float(coarse) / 2, rel=0.01)


def test_no_figure_has_no_deviation() -> None:
    """A mean of too few rows, and a quantile of nothing."""
    query, noises = asked({"kind": "mean", "column": "age"})
    assert told(query, [[0], [1]], noises)[0][::3] == (None, None)
    query, noises = asked({"kind": "quantiles", "column": "age", "bins": 8})
    assert {each[::3] for each in told(query, [[0] * 8], noises)} == {(None, None)}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123456, "0.0123"), (12.34567, "12.3"), (123456.0, "123000"), (9.996, "10.00"), (1.0, "1.00")],
)
def test_three_digits_say_enough(value: float, text: str) -> None:
    """Plainly written, whatever the size."""
    assert short(value) == text
