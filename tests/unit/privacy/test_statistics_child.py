"""The statistics child: a real confined process, from sealed rows to a file that anybody computes again."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel import canonical
from kernel.errors import InvalidError
from privacy.jobs.assignment import StatisticsAssignment
from privacy.sandbox.endings import Ending
from privacy.statistics import measuring, runner
from privacy.statistics.report import open_statistics
from tests.support import jobs, statistics


def test_a_confined_child_measures_sealed_rows(tmp_path: Path) -> None:
    """What it sends: that it rehearsed, that it starts, the result. The noise is small here, so that rows show."""
    sealed = jobs.seal([jobs.people(300, rows_each=2), jobs.people(300, seed=8, rows_each=1)], tmp_path)
    assignment = statistics.assignment(sealed, unit=jobs.PATIENT, epsilon="90")
    seen = jobs.converse(assignment, sealed.key.reveal(), sealed.paths)
    assert seen.ending is Ending.FINISHED
    assert [header for header, _ in seen.frames] == [
        {"m": "rehearsed"},
        {"m": "need", "upto": 1},
        {"m": "result", "steps": 1},
    ]
    assert seen.artifact is not None
    found = open_statistics(seen.artifact)
    assert (found.spec, found.plan) == (assignment.spec, assignment.plan)
    rows, units = (found.body["answers"][number] for number in (0, 1))
    assert abs(int(Decimal(rows["values"][0])) - 900) < 60
    assert abs(int(Decimal(units["values"][0])) - 300) < 20


def test_the_runner_flushes_denormals_where_it_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the thread that touches rows a product too small for a normal number is 0, and only there."""
    products = []

    def watched(*arguments: Any) -> Any:
        products.append((np.array([1e-200] * 9) * 1e-120).max())
        return measuring.measure(*arguments)

    monkeypatch.setattr(runner, "measure", watched)
    sealed = jobs.seal([jobs.people(10)], tmp_path)
    jobs.converse_here(statistics.assignment(sealed, unit=jobs.PATIENT), sealed.key.reveal())
    assert products == [0.0]
    assert (np.array([1e-200] * 9) * 1e-120).max() > 0


def _odd_tables() -> dict[str, pa.Table]:
    usual = jobs.people(40, rows_each=2)
    numbers = [math.nan, math.inf, -math.inf, 1e308, 5e-324]
    broken = pa.table({**jobs.columns_of(usual.slice(0, 5)), "age": pa.array(numbers), "dose": pa.array(numbers)})
    nothing = pa.table({name: pa.nulls(5, usual.schema.field(name).type) for name in usual.column_names})
    one = usual.slice(0, 1)
    return {
        "usual": usual,
        "nobody": usual.slice(0, 0),
        "broken": broken.select(usual.column_names),
        "nothing": nothing,
        "one unit of two thousand rows": pa.concat_tables([one] * 2000),
    }


@pytest.mark.parametrize("name", sorted(_odd_tables()))
def test_what_leaves_has_one_form_whatever_the_rows_are(tmp_path: Path, name: str) -> None:
    """RULES 11: the same frames and the same ending; the result differs in digits alone, never in form."""
    sealed = jobs.seal([_odd_tables()[name]], tmp_path)
    assignment = statistics.assignment(sealed, unit=jobs.PATIENT)
    seen = jobs.converse_here(assignment, sealed.key.reveal())
    assert (seen.ending, [header["m"] for header, _ in seen.frames]) == (
        Ending.FINISHED,
        ["rehearsed", "need", "result"],
    )
    assert seen.artifact is not None
    body = open_statistics(seen.artifact).body
    sizes = [len(vector) for vector in body["noisy"]]
    assert sizes == [measurement.cells for measurement in assignment.plan.measurements]
    if name == "one unit of two thousand rows":
        # Three of its rows count, whatever else the file holds; the noise on the count has a deviation of some 50.
        assert abs(body["noisy"][0][0]) < 1000


def test_a_child_that_is_told_to_stop_says_nothing_more(tmp_path: Path) -> None:
    """A cancelled job has no result."""
    sealed = jobs.seal([jobs.people(10)], tmp_path)
    seen = jobs.converse_here(statistics.assignment(sealed), sealed.key.reveal(), lambda _: jobs.STOP)
    assert (seen.artifact, seen.ending) == (None, Ending.FINISHED)


def test_an_assignment_is_consistent_or_cannot_be_built(tmp_path: Path) -> None:
    """Plan, request, schema and unit belong together."""
    whole = statistics.assignment(jobs.seal([], tmp_path), unit=jobs.PATIENT)
    assert StatisticsAssignment.from_bytes(whole.to_bytes()) == whole
    other = statistics.assignment(jobs.seal([], tmp_path), [{"kind": "count"}], unit=jobs.PATIENT)
    narrower = dataclasses.replace(jobs.SCHEMA, columns=jobs.SCHEMA.columns[:4])
    for change in ({"plan": other.plan}, {"spec": other.spec}, {"unit": jobs.RECORD}, {"schema": narrower}):
        with pytest.raises(InvalidError):
            dataclasses.replace(whole, **change)
    body = canonical.decode(whole.to_bytes(), limit=2**24)
    for broken in (body | {"role": "evaluate"}, body | {"v": 2}, body | {"seed": 7}, body | {"parts": "x"}):
        with pytest.raises(InvalidError):
            StatisticsAssignment.from_bytes(canonical.encode(broken))
