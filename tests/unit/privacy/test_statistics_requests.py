"""Requests for statistics and their plans: every bound is in the request, and one price covers every query."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from kernel import canonical
from kernel.errors import InvalidError, PrivgateError, TooLargeError
from kernel.events import Parameter
from privacy.accounting.mechanisms import Gaussian
from privacy.accounting.price import price
from privacy.jobs.measurements import layout
from privacy.jobs.plan import StatisticsPlan, read_plan
from privacy.jobs.queries import Per, QueryKind, Side
from privacy.jobs.spec import StatisticsSpec, complete_statistics, read_spec
from privacy.jobs.statistics_assignment import require_own
from privacy.schema import TableSchema
from tests.support import jobs, statistics

WIDE = TableSchema.from_json(
    {
        "columns": [
            {"name": "id", "kind": "identifier"},
            *({"name": f"c{n}", "kind": "categorical", "categories": [f"v{v}" for v in range(20)]} for n in range(8)),
            {"name": "income", "kind": "numeric", "low": "-1000000", "high": "1000000"},
        ]
    }
)


def test_the_final_form_leaves_nothing_open_and_reads_back() -> None:
    """Cells, bounds and grid are in it; two writings of one request are one request."""
    spec = statistics.spec()
    body = canonical.decode(canonical.encode(spec.to_json()), limit=2**20)
    assert read_spec(body) == spec
    assert complete_statistics(spec.to_json(), jobs.SCHEMA) == spec
    again = statistics.spec([query | {"weight": query.get("weight", 1)} for query in statistics.QUERIES])
    assert again.digest == spec.digest
    summed = spec.queries[5].summed
    assert summed is not None
    assert (summed.low, summed.high, summed.quantum) == ("18", "90", "0.001")
    assert spec.queries[3].axes[0].limits == ("0", "18", "40", "65", "100")


def test_a_profile_is_a_histogram_of_every_column_that_has_cells() -> None:
    """Identifiers have none."""
    spec = statistics.spec([{"kind": "profile", "bins": 4}])
    assert [query.axes[0].column for query in spec.queries] == ["age", "dose", "ward", "stage", "smoker", "ill"]
    assert {query.kind for query in spec.queries} == {QueryKind.HISTOGRAM}
    assert spec.queries[0].axes[0].edges == ("25", "50", "75")
    assert spec.queries[1].axes[0].edges == ("-2.5", "0", "2.5")


def test_what_is_refused_names_its_field() -> None:
    """And repeats no value."""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"kind": "median"}, "kind"),
        ({"kind": "count", "columns": ["age"]}, "query"),
        ({"kind": "count", "per": "person"}, "per"),
        ({"kind": "count", "weight": 0}, "weight"),
        ({"kind": "count", "weight": True}, "weight"),
        ({"kind": "histogram", "columns": []}, "axes"),
        ({"kind": "histogram", "columns": ["ward", "ward"]}, "axes"),
        ({"kind": "histogram", "columns": ["nobody"]}, "columns"),
        ({"kind": "histogram", "columns": ["patient"]}, "patient"),
        ({"kind": "histogram", "columns": ["age"], "bins": 0}, "bins"),
        ({"kind": "histogram", "columns": ["age"], "edges": ["5", "5"]}, "age"),
        ({"kind": "histogram", "columns": ["age"], "edges": ["-1"]}, "age"),
        ({"kind": "histogram", "columns": ["age"], "edges": [5]}, "edges"),
        ({"kind": "sum", "column": "ward"}, "ward"),
        ({"kind": "sum", "column": "age", "low": "-1"}, "age"),
        ({"kind": "sum", "column": "age", "quantum": "0"}, "quantum"),
        ({"kind": "sum", "column": "age", "quantum": "0.00000001"}, "quantum"),
        ({"kind": "mean", "column": "age", "low": "50", "high": "50"}, "age"),
        ({"kind": "mean", "column": "age", "sql": "drop"}, "query"),
        ({"kind": "quantiles", "column": "ward"}, "axes"),
        ({"kind": "quantiles", "column": "age", "at": ["0.5", "0.5"]}, "at"),
        ({"kind": "quantiles", "column": "age", "at": ["1"]}, "at"),
        ({"kind": "profile", "columns": ["patient"]}, "patient"),
    ]
    for query, field in wrong:
        with pytest.raises(PrivgateError) as error:
            statistics.spec([query])
        assert error.value.field == field, query


def test_an_axis_that_is_not_the_schemas_is_refused() -> None:
    """Neither fewer categories, nor others, nor other bounds: the child would count into other cells."""
    body = statistics.spec([{"kind": "histogram", "columns": ["ward", "age"]}]).to_json()
    ward, age = body["queries"][0]["axes"]
    for axes in ([ward | {"texts": ["a", "b"]}, age], [ward, age | {"low": "-5"}], [age | {"column": "dose"}, ward]):
        changed = body | {"queries": [body["queries"][0] | {"axes": axes}]}
        with pytest.raises(InvalidError):
            complete_statistics(changed, jobs.SCHEMA)


def test_thousands_of_queries_and_of_cells_are_refused_by_name() -> None:
    """Before anything is laid out: what a request may cost in work is bounded by its form."""
    with pytest.raises(InvalidError) as error:
        statistics.spec([{"kind": "count"}] * 513)
    assert error.value.field == "queries"
    with pytest.raises(InvalidError) as error:
        statistics.spec([{"kind": "profile"}] * 400)
    assert error.value.field == "queries"
    cube = {"kind": "histogram", "columns": ["c0", "c1", "c2", "c3"]}
    with pytest.raises(TooLargeError) as too_large:
        statistics.spec([cube], WIDE)
    assert too_large.value.field == "axes"
    with pytest.raises(InvalidError):
        statistics.spec([cube | {"columns": [f"c{n}" for n in range(5)]}], WIDE)
    cubes = [
        {"kind": "histogram", "columns": [f"c{n}", f"c{m}", f"c{k}"]}
        for n in range(4)
        for m in range(4, 6)
        for k in (6, 7)
    ]
    with pytest.raises(TooLargeError) as too_large:
        statistics.spec(cubes, WIDE)
    assert too_large.value.field == "queries"


def test_work_is_bounded_by_declared_sizes() -> None:
    """Never by the number of rows that are there."""
    with pytest.raises(TooLargeError) as error:
        statistics.plan(declared=jobs.facts(public_size=1_000_000_000))
    assert error.value.field == "queries"


@pytest.mark.parametrize("rows_per_unit", [1, 7])
@pytest.mark.parametrize("epsilon", ["0.1", "1", "8"])
def test_all_queries_together_cost_one_gaussian(epsilon: str, rows_per_unit: int) -> None:
    """The sum of rho over the measurements is at most the plan's, in exact fractions, and hardly below it."""
    plan = statistics.plan(declared=jobs.facts(rows_per_unit=rows_per_unit), epsilon=epsilon)
    assert plan.uses() == (Gaussian(noise_multiplier=plan.noise_multiplier, count=1),)
    assert [hold.mechanism.times for hold in plan.holds()] == [2]
    rho = sum((Fraction(plan.sensitivity(m)) / Fraction(plan.deviation(m).number)) ** 2 / 2 for m in plan.measurements)
    whole = 1 / (2 * Fraction(plan.noise_multiplier.number) ** 2)
    assert whole * Fraction(99, 100) < rho <= whole
    ours = price(*plan.uses(), order=plan.order)
    assert Fraction(ours.value) >= plan.order * rho


def test_a_plan_that_costs_more_than_it_says_is_refused() -> None:
    """By whoever holds request and plan together: child, gateway, verifier."""
    spec, plan = statistics.spec(), statistics.plan()
    require_own(plan, spec)
    less = Parameter(plan.noise_multiplier.number * Decimal("0.9"))
    # A plan by itself is consistent with any noise; the charge holds it to its own.
    require_own(plan.with_noise(less), spec)
    for changed in (
        dataclasses.replace(plan, measurements=plan.measurements[:-1]),
        dataclasses.replace(
            plan, measurements=(dataclasses.replace(plan.measurements[0], row_bound=2), *plan.measurements[1:])
        ),
        dataclasses.replace(plan, block=Side.HOLDOUT),
    ):
        with pytest.raises(InvalidError):
            require_own(changed, spec)


def test_queries_share_what_they_have_in_common() -> None:
    """Two means over the same cells count the rows once, and the shared count gets both weights."""
    spec = statistics.spec(
        [{"kind": "mean", "column": "age"}, {"kind": "mean", "column": "dose", "weight": 3}, {"kind": "count"}]
    )
    laid = layout(spec.queries)
    assert laid.sources == ((0, 1), (2, 1), (1,))
    assert [m.weight for m in laid.measurements] == [1, 1 + 3 + 2, 3]
    same = layout(statistics.spec([{"kind": "count"}] * 5).queries)
    assert len(same.measurements) == 1


def test_weights_move_noise_and_not_the_price() -> None:
    """Whatever the weights, the job costs the same."""
    queries = [{"kind": "count"}, {"kind": "histogram", "columns": ["ward"]}]
    even, skewed = statistics.plan(queries), statistics.plan([queries[0] | {"weight": 100}, queries[1]])
    assert even.noise_multiplier == skewed.noise_multiplier
    same = even.deviation(even.measurements[0]).number
    first, second = (skewed.deviation(measurement).number for measurement in skewed.measurements)
    assert first < same < second


def test_a_unit_that_counts_once_moves_less() -> None:
    """`per: unit` has the sensitivity of one row."""
    plan = statistics.plan([{"kind": "count"}, {"kind": "count", "per": "unit"}], jobs.facts(rows_per_unit=40))
    assert [plan.sensitivity(m) for m in plan.measurements] == [40, 1]
    assert [m.per for m in plan.measurements] == [Per.ROW, Per.UNIT]


def test_a_stored_plan_reads_back() -> None:
    """As the gateway stores it."""
    plan = statistics.plan()
    body = canonical.decode(canonical.encode(plan.to_fields()), limit=2**20)
    assert read_plan("statistics", body) == plan
    assert isinstance(plan, StatisticsPlan)
    assert StatisticsSpec.from_json(statistics.spec().to_json()).used_release is None
