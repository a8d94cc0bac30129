"""Exact measurements: one unit, whatever its rows hold, moves none of them further than is priced."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.errors import CorruptError
from privacy.jobs.measurements import Measurement, layout
from privacy.jobs.queries import Per
from privacy.schema import TableSchema
from privacy.statistics import rehearsal
from privacy.statistics.measuring import add_rows, counting_rows, measure
from privacy.statistics.rehearsal import empty_totals, rehearse
from tests.support import jobs, statistics

MEASUREMENTS = layout(statistics.spec().queries).measurements
ODD_NUMBERS = st.one_of(
    st.none(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 18.0, 40.0, 90.0, 100.0, -5.0, 5.0, 1e300, -0.0]),
)
ROWS = st.fixed_dictionaries(
    {
        "age": ODD_NUMBERS,
        "dose": ODD_NUMBERS,
        "ward": st.sampled_from(["a", "b", "c", "", "A", None]),
        "smoker": st.sampled_from([True, False, None]),
    }
)
TYPES = pa.schema([("age", pa.float64()), ("dose", pa.float64()), ("ward", pa.string()), ("smoker", pa.bool_())])


def measured(rows: list[dict[str, Any]], units: list[int], rows_per_unit: int) -> list[Any]:
    """The measurements of rows with the numbers of their units; -1 for a row without one."""
    totals = empty_totals(MEASUREMENTS)
    batch = pa.RecordBatch.from_pylist(rows, schema=TYPES)
    numbers = np.array(units, dtype=np.int64)
    add_rows(totals, batch, MEASUREMENTS, counting_rows(numbers, numbers >= 0, rows_per_unit))
    return totals


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    others=st.lists(st.tuples(ROWS, st.integers(0, 3)), max_size=8),
    own=st.lists(st.tuples(ROWS, st.integers(0, 8)), max_size=12),
    rows_per_unit=st.integers(1, 6),
)
def test_adding_a_unit_moves_each_measurement_by_at_most_its_sensitivity(
    others: list[Any], own: list[Any], rows_per_unit: int
) -> None:
    """In Euclidean norm, with any values, in any order of the file, with more rows than are declared.

    And all of them together, each over its noise, by no more than one Gaussian of the plan's multiplier is priced for.
    """
    plan = statistics.plan(declared=jobs.facts(rows_per_unit=rows_per_unit))
    without = [row for row, _ in others], [unit for _, unit in others]
    rows, units = list(without[0]), list(without[1])
    for row, place in own:
        rows.insert(min(place, len(rows)), row)
        units.insert(min(place, len(units)), 99)
    before, after = measured(*without, rows_per_unit), measured(rows, units, rows_per_unit)
    together = Fraction(0)
    for size, a, b in zip(plan.measurements, before, after, strict=True):
        squared = sum(int(moved) ** 2 for moved in b - a)
        assert squared <= plan.sensitivity(size) ** 2
        together += squared / Fraction(plan.deviation(size).number) ** 2
    assert together <= 1 / Fraction(plan.noise_multiplier.number) ** 2


def test_the_bounds_are_reached() -> None:
    """The price is not for more than can happen: a unit of equal rows moves every vector by all of its sensitivity."""
    plan = statistics.plan(declared=jobs.facts(rows_per_unit=3))
    reached = [0] * len(MEASUREMENTS)
    for age, dose in ((100.0, 5.0), (0.0, -5.0)):
        moved = measured([{"age": age, "dose": dose, "ward": "a", "smoker": True}] * 5, [0] * 5, 3)
        reached = [max(r, int(np.abs(m).max())) for r, m in zip(reached, moved, strict=True)]
    assert reached == [plan.sensitivity(size) for size in plan.measurements]


def test_values_that_are_none_count_nowhere() -> None:
    """Not a number, not listed, without a unit."""
    odd = {"age": math.nan, "dose": math.inf, "ward": "nobody", "smoker": None}
    totals = measured([odd, odd], [0, 1], 1)
    named = dict(zip([(m.per, len(m.axes), m.summed is None) for m in MEASUREMENTS], totals, strict=False))
    assert named[Per.ROW, 0, True].tolist() == [2]
    assert sum(int(np.abs(total).sum()) for total in totals) == 2 + 2  # the two counts without axes
    assert all(not total.any() for total in measured([odd], [-1], 1))


def test_a_sum_is_of_whole_steps_within_the_bounds() -> None:
    """Rounded one by one and added exactly: 0.1 + 0.2 is 0.3 here, and a value beyond its bounds is at them."""
    queries = statistics.spec([{"kind": "sum", "column": "dose", "quantum": "0.1"}]).queries
    (measurement,) = layout(queries).measurements
    totals = empty_totals([measurement])
    add_rows(totals, pa.RecordBatch.from_pydict({"dose": [0.1, 0.2, 1e300, -7.0, 2.0]}), [measurement])
    assert totals[0].tolist() == [1 + 2 + 50 - 50 + 20]


@pytest.mark.parametrize("unit", [jobs.RECORD, jobs.PATIENT], ids=["record", "patient"])
def test_sealed_rows_are_measured_as_they_are(tmp_path: Path, unit: Any) -> None:
    """Across parts and batches: the figures are those of the table, with a unit's first rows alone."""
    first, second = jobs.people(50, rows_each=2), jobs.people(50, seed=8, rows_each=4)
    sealed = jobs.seal([first, second], tmp_path)
    table = pa.concat_tables([first, second])
    taken: dict[str, int] = {}
    rows = []
    for row in table.to_pylist():
        taken[row["patient"]] = taken.get(row["patient"], 0) + 1
        if unit is jobs.RECORD or taken[row["patient"]] <= unit.rows_per_unit:
            rows.append(row)
    queries = [
        {"kind": "count"},
        {"kind": "histogram", "columns": ["ward", "smoker"]},
        {"kind": "sum", "column": "age", "quantum": "1"},
    ]
    found = measure(sealed.parts, sealed.key, unit, layout(statistics.spec(queries).queries).measurements)
    cells = [sum(r["ward"] == w and r["smoker"] == s for r in rows) for w in "abc" for s in (False, True)]
    assert found[0].tolist() == [len(rows)]
    assert found[1].tolist() == cells
    assert found[2].tolist() == [sum(int(np.rint(r["age"])) for r in rows)]


def test_a_table_without_rows_is_measured(tmp_path: Path) -> None:
    """An empty block has an answer like any other."""
    for parts in ([jobs.people(0)], []):
        sealed = jobs.seal(parts, tmp_path / str(len(parts)))
        found = measure(sealed.parts, sealed.key, jobs.PATIENT, MEASUREMENTS)
        assert all(not total.any() for total in found)


def test_the_rehearsal_passes_on_every_kind_of_column_and_fails_on_a_bound_that_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is run on what the schema and no schema allows, and is not there for show."""
    rehearse(jobs.SCHEMA, MEASUREMENTS)
    rehearse(jobs.SCHEMA, layout(statistics.spec([{"kind": "profile"}]).queries).measurements)
    rehearse(TableSchema.from_json(jobs.SCHEMA.to_json()), [Measurement(per=Per.ROW)])
    real = add_rows

    def doubled(totals: Any, batch: Any, measurements: Any, used: Any = None) -> None:
        real(totals, batch, measurements, used)
        real(totals, batch, measurements, used)

    monkeypatch.setattr(rehearsal, "add_rows", doubled)
    with pytest.raises(CorruptError):
        rehearse(jobs.SCHEMA, MEASUREMENTS)
