"""Survival as a discrete-time hazard, from times and events to a released table; the person is the unit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel.errors import InvalidError
from kernel.ids import JobId
from privacy.glm.course import Settings
from privacy.glm.places import Place
from privacy.glm.report import read_glm
from privacy.glm.schedule import GRID, Statistic
from privacy.glm.sums import Cases, sum_first, sum_step
from privacy.jobs.assignment import GlmAssignment, Table
from privacy.jobs.glm_plan import plan_glm
from privacy.jobs.glm_spec import Counted, complete_glm
from privacy.sandbox.endings import Ending
from privacy.schema import TableSchema
from privacy.training.rows import Rows
from privacy.training.units import UnitTable
from privacy.units import PrivacyUnit, UnitKind
from privgate.survival import baseline, period_column, person_periods
from tests.support import jobs

PEOPLE, PERIODS = 4000, 12
ENDS = tuple(30.0 * (place + 1) for place in range(PERIODS))
PATIENT = PrivacyUnit(kind=UnitKind.COLUMN, noun="patient", column="patient", rows_per_unit=PERIODS)
TRUTH = {"(intercept)": -3.9, "age": 0.03, "treated=true": -0.6, "period from 4": 0.3, "period from 8": 0.5}
SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "patient", "kind": "identifier"},
            {"name": "age", "kind": "numeric", "low": "0", "high": "120"},
            {"name": "treated", "kind": "boolean"},
            period_column(ENDS),
            {"name": "died", "kind": "boolean"},
        ]
    }
)


def asked(**changes: Any) -> dict[str, Any]:
    """A hazard of death."""
    body: dict[str, Any] = {"kind": "glm", "dataset": str(jobs.DATASET), "purpose": "research", "epsilon": "3"}
    body |= {"family": "hazard", "outcome": "died", "predictors": ["age", "treated", baseline(PERIODS, 3)]}
    return body | changes


def followed_up(source: np.random.Generator) -> list[dict[str, Any]]:
    """One row for each person: how long they were watched, and whether they died then. Some leave before."""
    people = []
    for number in range(PEOPLE):
        age, treated = source.uniform(30, 90), bool(source.random() < 0.5)
        leaves, day, died = source.exponential(600), 0.0, False
        for place in range(PERIODS):
            odds = TRUTH["(intercept)"] + TRUTH["age"] * age + TRUTH["treated=true"] * treated
            odds += TRUTH["period from 4"] * (4 <= place < 8) + TRUTH["period from 8"] * (place >= 8)
            died = bool(source.random() < 1 / (1 + np.exp(-odds)))
            day = 30.0 * place + (source.uniform(1, 30) if died else 30.0)
            if died or day >= leaves:
                break
        died = died and day <= leaves
        people.append({"patient": f"p{number}", "age": age, "treated": treated, "days": min(day, leaves), "died": died})
    return people


def test_hazards_come_back_from_times_and_events(tmp_path: Path) -> None:
    """Times to periods, sealed, fitted in a confined child: coefficients within their errors, and errors of use."""
    rows = list(person_periods(followed_up(np.random.default_rng(5)), time="days", event="died", ends=ENDS))
    names = [column.name for column in SCHEMA.columns]
    table = pa.table({name: [row[name] for row in rows] for name in names})
    table = table.set_column(3, "period", table.column("period").cast(pa.float64()))
    each = np.unique(table.column("patient").to_numpy(zero_copy_only=False), return_counts=True)[1]
    assert (each.min(), each.max()) == (1, PERIODS)
    sealed = jobs.seal([table], tmp_path)
    spec = complete_glm(asked(), SCHEMA)
    facts = jobs.facts(public_size=PEOPLE, rows_per_unit=PERIODS)
    assignment = GlmAssignment(
        tenant=jobs.TENANT,
        job=JobId.new(os.urandom),
        plan=plan_glm(spec, SCHEMA, facts),
        table=Table(features=spec.features, schema=SCHEMA, unit=PATIENT, parts=sealed.parts),
    )
    seen = jobs.converse(assignment, sealed.key.reveal(), sealed.paths)  # type: ignore[arg-type]
    assert seen.ending is Ending.FINISHED
    assert seen.artifact is not None
    body = read_glm(seen.artifact)
    assert body["counted"] == "row"
    found = {line["term"]: (float(line["coefficient"]), float(line["standard_error"])) for line in body["table"]}
    assert found.keys() == TRUTH.keys()
    for term, (value, error) in found.items():
        assert abs(value - TRUTH[term]) < 4.5 * error, term
    # Told from nothing, noise included.
    assert found["age"][0] > 3 * found["age"][1]
    assert found["treated=true"][0] < -3 * found["treated=true"][1]


@pytest.mark.parametrize("many", [1, 5, PERIODS, 40])
def test_a_person_moves_each_sum_by_at_most_what_is_priced(many: int) -> None:
    """In whole numbers: with the person's rows or without, however many there are and whatever stands in them."""
    design = complete_glm(asked(), SCHEMA).design(SCHEMA)
    source = np.random.default_rng(many)
    wanted = (Statistic.PLACES, Statistic.SCORES, Statistic.CURVATURE, Statistic.PRODUCTS)
    places = tuple(Place(-0.2, 0.65) if term.category else Place(-0.3, 0.02) for term in design.terms)
    for _ in range(20):
        sizes = [*source.integers(1, PERIODS + 1, 9), many]
        count = int(np.sum(sizes))
        rows = Rows(
            features=source.choice([-1, 0, 1], (count, 5)).astype(np.float32),
            targets=source.integers(0, 2, count).astype(np.float32),
            alive=np.ones(count, dtype=np.bool_),
        )
        rows.features[-many:] = rows.features[-1]
        rows.targets[-many:] = rows.targets[-1]
        people = np.repeat(np.arange(10), sizes)
        settings = Settings(
            coefficients=tuple(source.uniform(-12, 12, design.size)), places=places, bound=0.5, level=0.4
        )
        with_person, without = (
            Cases.of(design, UnitTable.by_unit(_first(rows, n), people[:n], PERIODS), per_row=True)
            for n in (count, count - many)
        )
        for of in (lambda cases: sum_step(design, settings, cases, wanted), lambda cases: sum_first(design, cases)):  # noqa: B023 - called at once
            more, less = of(with_person), of(without)
            for statistic in more:
                moved = [int(a) - int(b) for a, b in zip(more[statistic], less[statistic], strict=True)]
                assert sum(number**2 for number in moved) <= GRID**2, statistic


def _first(rows: Rows, count: int) -> Rows:
    return Rows(features=rows.features[:count], targets=rows.targets[:count], alive=rows.alive[:count])


def test_of_a_hazard_every_row_counts() -> None:
    """How many rows a person has depends on the event: one person, one vote would bend the hazard."""
    assert complete_glm(asked(), SCHEMA).counted is Counted.ROW
    assert complete_glm(asked(counted="row"), SCHEMA) == complete_glm(asked(), SCHEMA)
    with pytest.raises(InvalidError, match="every row counts") as caught:
        complete_glm(asked(counted="unit"), SCHEMA)
    assert caught.value.field == "counted"


def test_cox_is_refused_and_told_of_the_hazard() -> None:
    """The reason, and what to do instead."""
    with pytest.raises(InvalidError, match=r"partial likelihood.*`hazard`"):
        complete_glm(asked(family="cox"), SCHEMA)
