"""The four hospitals of the heart study: the model that nobody could fit in one place, against two oracles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from kernel.errors import NotFoundError
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.glm.report import glm_bytes, read_glm
from privacy.homomorphic.glm.steps import Fit
from privacy.homomorphic.glm.sums import cases_of
from privacy.homomorphic.glm.table import table_of
from privacy.jobs.glm_spec import complete_glm
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder
from privgate.demo.hospitals import rows_of, study
from tests.support.federated import WIDE, Floats, pooled, run

_READ: dict[str, Callable[[str], Any]] = {"numeric": float, "boolean": lambda text: text == "true"}


def hospital_table(name: str) -> pa.Table:
    """A hospital's rows as its agent reads them: declared values stand in for missing ones."""
    declared = study()
    schema = TableSchema.from_json(declared.schema)
    (hospital,) = [one for one in declared.hospitals if one.name == name]
    try:
        rows = list(rows_of(hospital))
    except NotFoundError as error:
        pytest.skip(str(error))
    columns: dict[str, list[Any]] = {}
    for column in schema.columns:
        texts = [column.fill if row[column.name] in column.missing else row[column.name] for row in rows]
        read = _READ.get(column.kind.value, str)
        columns[column.name] = [read(str(text)) for text in texts]
    return pa.table(columns)


def test_four_hospitals_fit_the_model_that_nobody_could_make() -> None:
    """The issue's goal: within 1e-5 of the pooled fit, at most 10 rounds, at most 100 KB per site and round."""
    declared = study()
    schema = TableSchema.from_json(declared.schema)
    spec = complete_glm(
        {"kind": "glm", "dataset": "dst_" + "a" * 26, "purpose": "research", "epsilon": "1", **declared.model}, schema
    )
    plan = ExactGlm(family=spec.family, features=spec.features, schema=schema)
    tables = [hospital_table(hospital.name) for hospital in declared.hospitals]
    encoder = RowEncoder(plan.features, plan.schema)
    fit = run(plan, [cases_of(plan, encoder.encode(table)) for table in tables])
    assert isinstance(fit, Fit)
    assert fit.rounds <= 10
    assert fit.cut == 0
    assert fit.rows == sum(table.num_rows for table in tables) == 920
    assert plan.layout(WIDE, 4).upload_bytes <= 100_000
    together = pa.concat_tables(tables)
    columns: list[Floats] = []
    for column in schema.columns[:-1]:
        values = together.column(column.name).to_pylist()
        if column.low is not None and column.high is not None:
            columns.append(np.clip(values, float(column.low.number), float(column.high.number)))
        columns += [np.array([value == one for value in values], float) for one in column.categories[1:]]
    rows, ill = np.column_stack(columns), np.array(together.column("ill").to_pylist(), float)
    printed = [float(line["coefficient"]) for line in read_glm(glm_bytes(plan, fit, 4))["table"]]
    expected, errors = pooled(rows, ill, "logistic")
    assert np.abs(printed - expected).max() < 1e-6
    assert np.abs([line.error for line in table_of(plan, fit)] - errors).max() < 1e-6
    # The second oracle converges in units of its own: standardised columns, then back.
    middle, spread = rows.mean(axis=0), rows.std(axis=0)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit((rows - middle) / spread, ill)
    slopes = model.coef_[0] / spread
    assert np.abs(printed - np.array([model.intercept_[0] - slopes @ middle, *slopes])).max() < 1e-5
