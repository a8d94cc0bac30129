"""Where predictors lie: found within ranges that are declared far too wide, and nothing is moved by noise alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from kernel.amounts import Delta, Share
from privacy.glm.course import Settings
from privacy.glm.design import Design, Term
from privacy.glm.families import Family
from privacy.glm.measure import measure
from privacy.glm.places import CELLS, Place, counted, found, most, moved, placed
from privacy.glm.report import glm_bytes, read_glm
from privacy.glm.sums import Cases, _read  # how rows are read is what is tested
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.glm_plan import plan_glm
from privacy.jobs.glm_spec import complete_glm
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder
from privacy.training.units import UnitTable

PEOPLE = 1200
DESIGN = Design(
    family=Family.LOGISTIC,
    terms=(
        Term(name="age", middle=60.0, half=60.0),
        Term(name="ward=b", middle=0.5, half=1.0, column=1, category=True),
        Term(name="ward=c", middle=0.5, half=1.0, column=1, category=True),
    ),
    radius=1.2,
)
DECLARED = (Place(),) * 3


def counts(values: NDArray[np.float64], place: Place, b: float = 300, c: float = 60) -> list[float]:
    """Cells of a number, then how many are in each category."""
    cells = np.searchsorted(np.asarray(place.edges[1:-1]), values, side="right")
    return [*np.bincount(cells, minlength=CELLS).astype(float), b, c]


def test_the_second_look_is_closer() -> None:
    """Values in a twentieth of the range: first within a cell or two, then within some tenths of their spread."""
    values = np.random.default_rng(1).normal(-0.83, 0.02, PEOPLE)
    first = found(DESIGN, DECLARED, counts(values, DECLARED[0]), 1.0, PEOPLE)
    assert first[0].half <= 0.13
    second = found(DESIGN, first, counts(values, first[0]), 1.0, PEOPLE)
    assert second[0].middle == pytest.approx(-0.83, abs=0.02)
    assert 1.3 * 0.02 < second[0].half < 3 * 0.02
    assert [place.middle for place in second[1:]] == pytest.approx([300 / PEOPLE - 0.5, 60 / PEOPLE - 0.5])


def test_noise_alone_moves_no_number() -> None:
    """Where nobody stands out, the scale stays the declared one, or is wide still: never a narrow place in the air."""
    source = np.random.default_rng(2)
    for _ in range(200):
        numbers = [*source.normal(0, 50, CELLS), 0.0, 0.0]
        (place, *_) = found(DESIGN, DECLARED, numbers, 50.0, 0.0)
        assert place == Place() or place.half >= 1 / CELLS
    (place, *_) = found(DESIGN, DECLARED, [0.0] * counted(DESIGN), 50.0, 0.0)
    assert place == Place()


def test_a_predictor_is_the_same_on_another_place() -> None:
    """Coefficients follow the scale: what is predicted for a row does not change, nor what is printed."""
    source = np.random.default_rng(3)
    rows = np.concatenate([np.full((50, 1), 0.5), source.uniform(-1, 1, (50, 3))], axis=1)
    before, after = DECLARED, (Place(-0.4, 0.1), Place(0.2, 0.65), Place(-0.4, 0.65))
    coefficients = (0.7, -1.0, 2.0, 0.3)
    then = moved(coefficients, before, after)
    assert _read(rows, after) @ np.asarray(then) == pytest.approx(_read(rows, before) @ np.asarray(coefficients))
    own = [np.asarray(placed(DESIGN, places).own_units()[0]) for places in (before, after)]
    assert own[0] @ np.asarray(coefficients) == pytest.approx(own[1] @ np.asarray(then))


def test_the_bound_on_counts_is_one_for_each_column() -> None:
    """Two columns, however many terms."""
    assert most(DESIGN) == math.sqrt(2)
    settings = Settings(coefficients=(0.0,) * 4, places=DECLARED, bound=0.5, level=0.5)
    assert settings.bounds(DESIGN)["places"] == most(DESIGN)


def told(epsilon: str, runs: int) -> int:
    """How many of some runs gave a table: age and a skewed laboratory value, declared as wide as people do."""
    columns: list[dict[str, Any]] = [
        {"name": "age", "kind": "numeric", "low": "0", "high": "120"},
        {"name": "crp", "kind": "numeric", "low": "0", "high": "500", "clamp": True},
        {"name": "readmitted", "kind": "boolean"},
    ]
    schema = TableSchema.from_json({"columns": columns})
    asked = {"kind": "glm", "dataset": "dst_" + "a" * 26, "purpose": "research", "family": "logistic"}
    asked |= {"outcome": "readmitted", "predictors": ["age", "crp"], "epsilon": epsilon}
    spec = complete_glm(asked, schema)
    facts = DeclaredFacts(
        public_size=1500, holdout_share=Share.parse("0.2"), rows_per_unit=1, order=4, delta=Delta.parse("0.000001")
    )
    plan, design, encoder = plan_glm(spec, schema, facts), spec.design(schema), RowEncoder(spec.features, schema)
    source, tables = np.random.default_rng(4), 0
    for _ in range(runs):
        age = source.integers(18, 96, PEOPLE).astype(float)
        crp = np.minimum(400, source.exponential(20 + age / 2))
        chance = 1 / (1 + np.exp(-(0.05 * (age - 60) + 0.02 * (crp - 50))))
        table = pa.table({"age": age, "crp": crp, "readmitted": source.random(PEOPLE) < chance})
        cases = Cases.of(design, UnitTable.of_records(encoder.encode(table)), per_row=False)
        sums = measure(design, plan.multipliers(design), cases)
        tables += read_glm(glm_bytes(plan, "readmitted", design, sums))["table"] is not None
    return tables


def test_wide_ranges_do_not_drown_a_model() -> None:
    """1,200 people and two predictors: read over their declared ranges, 12 of 60 were drowned at 4 and 48 at 1."""
    assert told("4", 20) == 20
    assert told("1", 20) >= 17
