"""The profile of a real table at epsilon 1: what a trainer gets to see, held to what is true."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kernel.errors import NotFoundError
from privacy.jobs.measurements import layout
from privacy.jobs.plan import plan_statistics
from privacy.schema import ColumnKind, TableSchema
from privacy.statistics.measuring import add_rows
from privacy.statistics.rehearsal import empty_totals
from privacy.statistics.report import statistics_bytes
from privacy.statistics.runner import add_noise
from privgate.demo.tables import Declared, declared, write_table
from privgate.statistics import Statistics
from tests.support import jobs, statistics

QUERIES = [
    {"kind": "profile", "bins": 10},
    {"kind": "mean", "column": "age", "by": "income", "weight": 4},
    {"kind": "quantiles", "column": "hours_per_week", "at": ["0.5"], "bins": 100},
]


def _table(of: Declared, schema: TableSchema, rows: list[list[str]]) -> pa.Table:
    columns: dict[str, Any] = {}
    for column, values in zip(schema.columns, zip(*rows, strict=True), strict=True):
        filled = [column.fill if value in column.missing else value for value in values]
        columns[column.name] = pa.array([float(v) for v in filled]) if column.kind is ColumnKind.NUMERIC else filled
    return pa.table(columns)


def test_a_profile_of_adult_is_near_the_table(tmp_path: Path) -> None:
    """26,000 people at epsilon 1: cells lie within their interval, and figures are good for designing."""
    of = declared("adult")
    try:
        write_table(of, tmp_path / "adult.csv")
    except NotFoundError as error:
        pytest.skip(error.message)
    with (tmp_path / "adult.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    schema = TableSchema.from_json(of.schema)
    table = _table(of, schema, rows)
    known = {name.replace("-", "_"): name for name in table.column_names}
    queries = [
        {key: known.get(value, value) if key in ("column", "by") else value for key, value in query.items()}
        for query in QUERIES
    ]
    spec = statistics.spec(queries, schema)
    plan = plan_statistics(spec, jobs.facts(public_size=of.population["public_size"]))
    measured = layout(spec.queries).measurements
    exact = empty_totals(measured)
    for batch in table.to_batches(8192):
        add_rows(exact, batch, measured)
    told = Statistics.read(statistics_bytes(spec, plan, add_noise(plan, exact)))
    truth = Statistics.read(statistics_bytes(spec, plan, tuple(tuple(v.tolist()) for v in exact)))

    cells = [(a, b) for x, y in zip(told, truth, strict=True) for a, b in zip(x, y, strict=True)]
    inside = [Decimal(a.low) <= Decimal(b.value or 0) <= Decimal(a.high) for a, b in cells]
    assert len(cells) > 100
    assert sum(inside) > 0.85 * len(inside)
    means, medians = list(told)[-2], list(told)[-1]
    for found, exactly in zip(means, list(truth)[-2], strict=True):
        assert abs(Decimal(found.value or 0) - Decimal(exactly.value or 0)) < Decimal("0.5")
    assert 35 < Decimal(next(iter(medians)).value or 0) < 45
