"""Adult at epsilon 1, trained directly: what the demo's release must reach, without a gateway around it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel.amounts import Delta, Epsilon, Share
from kernel.errors import NotFoundError
from privacy.budget.populations import Budget
from privacy.graph.forward import forward
from privacy.jobs.plan import performance_of, plan_training
from privacy.jobs.spec import complete_training
from privacy.schema import ColumnKind, TableSchema
from privacy.selftest.claims import Claims
from privacy.selftest.witness import Witness
from privacy.training.opacus_engine import OpacusEngine
from privacy.training.plan_runner import first_state, released_weights, run_plan
from privacy.training.rows import RowEncoder
from privacy.training.units import UnitTable
from privgate.demo.tables import Declared, declared, own_rows, write_table
from tests.support import jobs


class _Always:
    """A parent that always says go."""

    def may_start(self, upto: int) -> bool:
        return True

    def save(self, state: Any) -> None:
        """Savepoints are not kept."""


def _table(of: Declared, schema: TableSchema, rows: list[list[str]]) -> pa.Table:
    columns = {}
    for column, values in zip(schema.columns, zip(*rows, strict=True), strict=True):
        filled = [column.fill if value in column.missing else value for value in values]
        columns[column.name] = pa.array([float(v) for v in filled]) if column.kind is ColumnKind.NUMERIC else filled
    return pa.table(columns)


def _auc(scores: Any, positive: Any) -> float:
    """The rank statistic, ties counted one half."""
    values, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    few = positive.sum()
    assert len(values) > 100
    return float((ranks[positive].sum() - few * (few + 1) / 2) / (few * (len(scores) - few)))


@pytest.mark.slow
def test_adult_at_epsilon_1_reaches_090(tmp_path: Path) -> None:
    """The demo's own request, the owner's 80 % as train block, the published test split: AUC at least 0.90."""
    of = declared("adult")
    try:
        write_table(of, tmp_path / "adult.csv")
    except NotFoundError as error:
        pytest.skip(error.message)
    with (tmp_path / "adult.csv").open(encoding="utf-8", newline="") as file:
        owned = list(csv.reader(file))[1:]
    tests = [list(row.values()) for row in own_rows(of) or []]
    schema, people = TableSchema.from_json(of.schema), of.population
    budget = Budget.allot(Epsilon.parse(people["epsilon"]), Delta.parse(people["delta"]))
    about = jobs.facts(
        public_size=people["public_size"],
        holdout_share=Share.parse(people["holdout_share"]),
        order=budget.order,
        delta=budget.delta,
    )
    body = of.training | {"dataset": str(jobs.DATASET), "purpose": "research", "epsilon": "1"}
    wanted = complete_training(body, schema, about)
    plan, model = plan_training(wanted, schema, about), wanted.model_graph(schema)
    order = np.random.default_rng(0).permutation(len(owned))[: len(owned) * 8 // 10]
    encoder = RowEncoder(wanted.features, schema)
    units = UnitTable.of_records(encoder.encode(_table(of, schema, [owned[place] for place in order])))
    engine = OpacusEngine(model, plan.loss)
    state = run_plan(
        plan, performance_of(plan, model), engine, units, _Always(), first_state(model.graph), Witness(Claims.of(plan))
    )
    rows = encoder.encode(_table(of, schema, tests))
    scores = forward(model, released_weights(plan, model.graph, state), rows.features)[:, 0]
    auc = _auc(scores[rows.alive], rows.targets[rows.alive] > 0.5)
    print(f"AUC {auc:.4f}, accuracy {np.mean((scores > 0) == (rows.targets > 0.5)):.4f}")
    assert rows.alive.all()
    assert auc >= 0.90
