"""Builders for statistics: requests, plans, rows, assignments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from kernel.ids import JobId
from privacy.jobs.assignment import StatisticsAssignment
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.plan import StatisticsPlan, plan_statistics
from privacy.jobs.spec import StatisticsSpec, complete_statistics
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit
from tests.support import jobs

QUERIES: tuple[Mapping[str, Any], ...] = (
    {"kind": "count"},
    {"kind": "count", "per": "unit"},
    {"kind": "histogram", "columns": ["ward", "smoker"]},
    {"kind": "histogram", "columns": ["age"], "edges": ["18", "40", "65"], "weight": 3},
    {"kind": "sum", "column": "dose"},
    {"kind": "mean", "column": "age", "by": ["ward"], "low": "18", "high": "90"},
    {"kind": "mean", "column": "dose", "by": ["ward"], "per": "unit"},
    {"kind": "quantiles", "column": "age", "at": ["0.25", "0.5", "0.9"], "bins": 20},
)


def request(queries: Sequence[Mapping[str, Any]] = QUERIES, **changes: Any) -> dict[str, Any]:
    """What a trainer sends."""
    body = {
        "kind": "statistics",
        "dataset": str(jobs.DATASET),
        "purpose": "research",
        "epsilon": "1",
        "queries": [dict(query) for query in queries],
    }
    return body | changes


def spec(
    queries: Sequence[Mapping[str, Any]] = QUERIES, schema: TableSchema = jobs.SCHEMA, **changes: Any
) -> StatisticsSpec:
    """A request in its final form."""
    return complete_statistics(request(queries, **changes), schema)


def plan(
    queries: Sequence[Mapping[str, Any]] = QUERIES, declared: DeclaredFacts | None = None, **changes: Any
) -> StatisticsPlan:
    """A calibrated plan on `jobs.SCHEMA`."""
    return plan_statistics(spec(queries, **changes), declared or jobs.facts())


def assignment(
    sealed: jobs.Sealed,
    queries: Sequence[Mapping[str, Any]] = QUERIES,
    unit: PrivacyUnit = jobs.RECORD,
    schema: TableSchema = jobs.SCHEMA,
    **changes: Any,
) -> StatisticsAssignment:
    """An assignment to measure sealed parts."""
    asked = spec(queries, schema, **changes)
    return StatisticsAssignment(
        tenant=jobs.TENANT,
        job=JobId.new(os.urandom),
        plan=plan_statistics(asked, jobs.facts(rows_per_unit=unit.rows_per_unit)),
        spec=asked,
        schema=schema,
        unit=unit,
        parts=sealed.parts,
    )
