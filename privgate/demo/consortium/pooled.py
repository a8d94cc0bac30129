"""The fit that nobody could make: all hospitals' rows in one place, by another program. For measuring alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Row = Mapping[str, str]


def pooled_fit(schema: Mapping[str, Any], model: Mapping[str, Any], rows: Iterable[Row]) -> dict[str, float]:
    """Coefficients in the columns' own units, by the names that a released table has.

    Args:
        schema: As declared: bounds, categories, fills.
        model: Which columns are predictors, and which one is the outcome.
        rows: Of all hospitals.
    """
    declared = {column["name"]: column for column in schema["columns"]}
    every = [{name: _filled(declared[name], row[name]) for name in declared} for row in rows]
    names, columns = [], []
    for name in model["predictors"]:
        for term, numbers in _terms(declared[name], [row[name] for row in every]):
            names.append(term)
            columns.append(numbers)
    design = np.column_stack(columns)
    outcome = np.array([row[model["outcome"]] == "true" for row in every])
    middle, spread = design.mean(axis=0), design.std(axis=0)
    # In units of its own it converges; then back.
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit((design - middle) / spread, outcome)
    slopes = fit.coef_[0] / spread
    return {"(intercept)": float(fit.intercept_[0] - slopes @ middle)} | dict(
        zip(names, map(float, slopes), strict=True)
    )


def distance(table: Iterable[Mapping[str, Any]], pooled: Mapping[str, float]) -> float:
    """The largest difference between two tables of the same terms."""
    found = {line["term"]: float(line["coefficient"]) for line in table}
    if set(found) != set(pooled):
        raise ValueError("the tables have other terms")
    return max(abs(found[term] - pooled[term]) for term in pooled)


def _filled(column: Mapping[str, Any], value: str) -> str:
    return str(column["fill"]) if value in column.get("missing", []) else value


def _terms(column: Mapping[str, Any], values: list[str]) -> list[tuple[str, NDArray[np.float64]]]:
    name = str(column["name"])
    if column["kind"] == "numeric":
        numbers = np.clip(np.array(values, dtype=np.float64), float(column["low"]), float(column["high"]))
        return [(name, numbers)]
    return [
        (f"{name}={category}", np.array([value == category for value in values], dtype=np.float64))
        for category in column["categories"][1:]
    ]
