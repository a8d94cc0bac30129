"""Builders for synthetic tables: requests, plans, exact counts, assignments."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel.ids import JobId
from privacy.jobs.assignment import SynthesisAssignment
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.plan import SynthesisPlan, plan_synthesis
from privacy.jobs.spec import SynthesisSpec, complete_synthesis
from privacy.schema import TableSchema
from privacy.statistics.measuring import add_rows
from privacy.statistics.rehearsal import empty_totals
from privacy.synthesis.report import synthesis_bytes
from privacy.synthesis.runner import counted, measured
from privacy.units import PrivacyUnit
from tests.support import jobs


def request(**changes: Any) -> dict[str, Any]:
    """What a trainer sends."""
    body: dict[str, Any] = {
        "kind": "synthesis",
        "dataset": str(jobs.DATASET),
        "purpose": "research",
        "epsilon": "1",
        "columns": ["age", "dose", "ward", "smoker", "ill"],
        "bins": 6,
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def spec(schema: TableSchema = jobs.SCHEMA, **changes: Any) -> SynthesisSpec:
    """A request in its final form."""
    return complete_synthesis(request(**changes), schema)


def plan(declared: DeclaredFacts | None = None, **changes: Any) -> SynthesisPlan:
    """A calibrated plan on `jobs.SCHEMA`."""
    return plan_synthesis(spec(**changes), declared or jobs.facts())


def exact(of: SynthesisSpec, rows: Any) -> list[NDArray[np.int64]]:
    """What a request counts in an Arrow table whose rows are units."""
    measurements = measured(of)
    totals = empty_totals(measurements)
    for batch in rows.to_batches():
        add_rows(totals, batch, measurements)
    return totals


def released(rows: Any, declared: DeclaredFacts | None = None, **changes: Any) -> bytes:
    """What a job would release about an Arrow table whose rows are units."""
    asked = spec(**changes)
    planned = plan_synthesis(asked, declared or jobs.facts(public_size=rows.num_rows))
    return synthesis_bytes(asked, planned, counted(asked, planned, exact(asked, rows)))


def assignment(
    sealed: jobs.Sealed, unit: PrivacyUnit = jobs.RECORD, schema: TableSchema = jobs.SCHEMA, **changes: Any
) -> SynthesisAssignment:
    """An assignment to count sealed parts."""
    asked = spec(schema, **changes)
    return SynthesisAssignment(
        tenant=jobs.TENANT,
        job=JobId.new(os.urandom),
        plan=plan_synthesis(asked, jobs.facts(rows_per_unit=unit.rows_per_unit)),
        spec=asked,
        schema=schema,
        unit=unit,
        parts=sealed.parts,
    )
