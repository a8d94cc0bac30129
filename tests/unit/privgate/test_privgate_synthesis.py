"""Synthetic rows: drawn from a released file alone, alike in columns and in pairs, and nobody's."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from kernel.errors import InvalidError
from privacy.jobs.measurements import layout
from privacy.jobs.plan import plan_statistics
from privacy.statistics.measuring import add_rows
from privacy.statistics.rehearsal import empty_totals
from privacy.statistics.report import statistics_bytes
from privacy.statistics.runner import add_noise
from privgate.cells import out_of_bounds
from privgate.statistics import Statistics, count, histogram, pairs, profile
from privgate.synthesis import synthetic_rows
from tests.support import jobs, statistics

COLUMNS = ("age", "dose", "ward", "smoker", "ill")
PEOPLE = 6000
ROWS = 3000


def told(queries: list[dict[str, Any]], epsilon: str = "2", seed: int = 7) -> Statistics:
    """What a job would release about made-up people."""
    spec = statistics.spec(queries, epsilon=epsilon)
    plan = plan_statistics(spec, jobs.facts(public_size=PEOPLE))
    measured = layout(spec.queries).measurements
    exact = empty_totals(measured)
    for batch in jobs.people(PEOPLE, seed=seed).to_batches():
        add_rows(exact, batch, measured)
    return Statistics.read(statistics_bytes(spec, plan, add_noise(plan, exact)))


@pytest.fixture(scope="module")
def released() -> Statistics:
    """All pairs of five columns, at epsilon 2."""
    return told([pairs(*COLUMNS, bins=6)])


def drawn(of: Statistics, rows: int = ROWS, seed: int = 3) -> list[dict[str, Any]]:
    """Rows drawn from it."""
    return list(synthetic_rows(of, jobs.SCHEMA, rows, seed))


def share(rows: list[dict[str, Any]], chosen: Any, among: Any = lambda _: True) -> float:
    """How many of the rows are chosen, among some."""
    counted = [row for row in rows if among(row)]
    return sum(map(chosen, counted)) / len(counted)


def test_columns_and_pairs_are_alike(released: Statistics) -> None:
    """Each column's distribution, and what age says of illness, within a few hundredths of the table's."""
    true, rows = jobs.people(PEOPLE).to_pylist(), drawn(released)
    for name in ("ward", "smoker", "ill"):
        expected, found = (Counter(row[name] for row in of) for of in (true, rows))
        for value in expected:
            assert abs(expected[value] / PEOPLE - found[value] / ROWS) < 0.05, (name, value)
    for among in (lambda row: row["age"] >= 66, lambda row: row["age"] < 33):
        expected_share, found_share = (share(of, lambda row: row["ill"] == "yes", among) for of in (true, rows))
        assert abs(expected_share - found_share) < 0.1
    assert abs(np.mean([row["age"] for row in rows]) - 50) < 2.5


def test_every_value_is_one_that_the_schema_allows(released: Statistics) -> None:
    """And a name that says that the row is nobody's; columns that were not asked for are left out."""
    rows = drawn(released, 400)
    for row in rows:
        assert list(row) == ["patient", "age", "dose", "ward", "smoker", "ill"]
        drawn_values = {name: value for name, value in row.items() if name != "patient"}
        assert not any(out_of_bounds(jobs.SCHEMA.column(name), value) for name, value in drawn_values.items())
    assert {type(row["smoker"]) for row in rows} == {bool}
    assert len({row["patient"] for row in rows}) == 400


def test_rows_follow_from_file_and_seed_alone(released: Statistics) -> None:
    """Anybody draws the same; more begin with the fewer; another seed or release gives others."""
    rows = drawn(released, 50)
    assert drawn(released, 50) == rows
    assert drawn(released, 80)[:50] == rows
    assert drawn(released, 50, seed=4) != rows
    assert drawn(told([pairs(*COLUMNS, bins=6)]), 50) != rows


def test_without_pairs_columns_are_drawn_apart() -> None:
    """A profile knows nothing of how columns hang together, and the rows claim nothing."""
    rows = drawn(told([profile(*COLUMNS)]))
    ages = (lambda row: row["age"] >= 66, lambda row: row["age"] < 33)
    old, young = (share(rows, lambda row: row["ill"] == "yes", among) for among in ages)
    assert abs(old - young) < 0.1


def test_rows_around_a_column_keep_what_each_other_says_of_it(released: Statistics) -> None:
    """Whoever wants to learn a column gets all pairs with it, not only those of the strongest tree."""
    true = jobs.people(PEOPLE).to_pylist()
    rows = list(synthetic_rows(released, jobs.SCHEMA, ROWS, 3, around="ill"))
    for among in (lambda row: row["age"] >= 66, lambda row: row["dose"] >= 2, lambda row: row["smoker"]):
        expected, found = (share(of, lambda row: row["ill"] == "yes", among) for of in (true, rows))
        assert abs(expected - found) < 0.1
    with pytest.raises(InvalidError) as error:
        synthetic_rows(released, jobs.SCHEMA, 10, around="stage")
    assert error.value.field == "around"


def test_pairs_that_do_not_stand_out_of_their_noise_tie_nothing() -> None:
    """At an epsilon that is noise alone, the tree is empty and the rows are still rows."""
    rows = drawn(told([pairs(*COLUMNS)], epsilon="0.01"), 200)
    assert len(rows) == 200


def test_what_no_table_can_be_drawn_from_is_refused(released: Statistics) -> None:
    """By name of what to ask for."""
    for queries, field in (
        ([count()], "queries"),
        ([histogram("age", bins=4), histogram("age", "ward", bins=5)], "age"),
    ):
        with pytest.raises(InvalidError) as error:
            drawn(told(queries))
        assert error.value.field == field
    for rows, seed in ((0, 1), (10, -1)):
        with pytest.raises(InvalidError):
            drawn(released, rows, seed)


def test_pairs_are_histograms_of_each_two() -> None:
    """As many as there are pairs; one column alone, or too many, are refused."""
    spec = statistics.spec([pairs(*COLUMNS)])
    asked = [tuple(axis.column for axis in query.axes) for query in spec.queries]
    assert asked == list(itertools.combinations(COLUMNS, 2))
    with pytest.raises(InvalidError) as error:
        statistics.spec([pairs("age")])
    assert error.value.field == "columns"
