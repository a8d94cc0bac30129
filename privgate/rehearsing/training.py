"""A training rehearsed from a declaration, a request and rows: the one door to what needs the extra `train`.

Form: docs/formats/rehearsal.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN
from typing import Any, Final, TypeAlias

import numpy as np

from kernel.errors import InvalidError
from privacy.graph.weights import NamedArrays
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.plan import TrainingPlan
from privacy.jobs.spec import TrainingSpec
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder
from privacy.units import PrivacyUnit
from privgate.dummy import dummy_rows
from privgate.models import Model
from privgate.rehearsing.own_rows import AsDeclared, OwnRows, encoded
from privgate.rehearsing.running import Progress, Ran, most_memory, run

FORMAT: Final = "privgate/rehearsal/v1"
"""What stands in the head of a rehearsed model's file; a release's reader takes no such file."""
_LEAST_DUMMIES, _MOST_DUMMIES, _DUMMY_CELLS = 64, 4096, 2**20

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a rehearsal found.

    Attributes:
        ran: The run.
        model: What it made, with the declared schema.
        units: How many units there were to learn from.
        units_declared: Under how many numbers they were met.
        kept_back: Rows that were kept back to judge the model on; none of dummy rows.
        units_named: Whether a column told the units.
        seconds_per_row: To encode one.
        memory_bytes: The most that this process has had in memory; absent where the system does not say.
    """

    ran: Ran
    model: Model
    units: int
    units_declared: int
    kept_back: Sequence[Row]
    units_named: bool
    seconds_per_row: float
    memory_bytes: int | None


def try_training(
    spec: TrainingSpec,
    plan: TrainingPlan,
    schema: TableSchema,
    unit: PrivacyUnit,
    facts: DeclaredFacts,
    *,
    rows: Sequence[Row] | None,
    test: Sequence[Row] | None,
    steps: int,
    seed: int,
    on_progress: Progress | None,
) -> Tried:
    """Run a planned training on own rows, or on dummy rows if there are none.

    Args:
        spec: The request in its final form.
        plan: What was made of it.
        schema: The declared columns.
        unit: Who is protected.
        facts: What is declared of the people.
        rows: The trainer's own.
        test: Rows to judge the model on; by default a fifth of the units is kept back.
        steps: How many steps to run.
        seed: Of dummy rows.
        on_progress: Called before each tenth of the steps, and at the end.
    """
    encoder = RowEncoder(spec.features, schema)
    given = list(_dummies(schema, unit, encoder.needs, seed)) if rows is None else rows
    known = OwnRows.of(given, schema, unit)
    numbers = encoded(known, encoder, schema)
    if test is not None:
        encoded(OwnRows.of(test, schema, unit), encoder, schema)  # a broken row is told before anything runs
    back = known.kept_back if rows is not None and test is None else None
    table = numbers.table(unit.rows_per_unit, back)
    if not len(table):
        raise InvalidError("there are no rows to learn from", field="rows")
    declared = int(facts.training_units.to_integral_value(ROUND_HALF_EVEN))
    ran = run(spec, plan, schema, unit, AsDeclared(table, max(1, declared)), steps, on_progress)
    return Tried(
        ran=ran,
        model=Model.open(ran.weights, spec.to_json(), schema),
        units=len(table),
        units_declared=declared,
        kept_back=test if test is not None else known.where(back) if back is not None else (),
        units_named=known.named or unit.column is None,
        seconds_per_row=numbers.seconds_per_row,
        memory_bytes=most_memory(),
    )


def labelled(model: Model) -> bytes:
    """A rehearsed model as a file that says what it is."""
    shapes = {weight.name: weight.shape for weight in model.graph.graph.weights}
    arrays = {name: np.asarray(v, dtype=np.float32).reshape(shapes[name]) for name, v in model.weights.items()}
    return NamedArrays(arrays=arrays, texts={"format": FORMAT, "graph": str(model.graph.graph.digest)}).to_bytes()


def _dummies(schema: TableSchema, unit: PrivacyUnit, needs: Sequence[str], seed: int) -> Any:
    cells = sum(schema.column(name).elements for name in needs)
    return dummy_rows(schema, unit, max(_LEAST_DUMMIES, min(_MOST_DUMMIES, _DUMMY_CELLS // cells)), seed)
