"""Cards of datasets as a gateway shows them, for what a trainer does on its own machine."""

from __future__ import annotations

from typing import Any, cast

from privacy.schema import TableSchema
from privgate.sdk.datasets import Dataset
from privgate.sdk.gateway import Gateway

ID = "dst_" + "a" * 26
NOBODY = cast(Gateway, None)
RECORD = {"kind": "record", "noun": "patient"}
PATIENTS = {"kind": "column", "column": "patient", "noun": "patient", "rows_per_unit": 4}
EVERYTHING = TableSchema.from_json(
    {
        "columns": [
            {"name": "patient", "kind": "identifier"},
            {"name": "visit", "kind": "identifier"},
            {"name": "age", "kind": "numeric", "low": "0", "high": "120", "missing": ["n/a"], "fill": "40"},
            {"name": "dose", "kind": "numeric", "low": "-0.5", "high": "0.25", "clamp": True},
            {"name": "cost", "kind": "numeric", "low": "0", "high": "100000"},
            {"name": "ward", "kind": "categorical", "categories": ["a", "b b", "c,d"], "missing": ["?"], "fill": "a"},
            {"name": "stage", "kind": "ordinal", "categories": ["i", "ii", "iii"]},
            {"name": "smoker", "kind": "boolean", "fill": "false"},
            {"name": "scan", "kind": "tensor", "shape": [2, 3], "low": "0", "high": "255"},
            {"name": "trace", "kind": "tensor", "shape": [2], "low": "-1.5", "high": "1.5", "fill": "0"},
            {"name": "ill", "kind": "categorical", "categories": ["no", "yes"]},
        ]
    }
)
"""A column of every kind, with and without values that may be missing."""


def card(schema: TableSchema = EVERYTHING, unit: Any = RECORD, **changes: Any) -> Dataset:
    """A card; by default of some 2,000 patients, a fifth of them held out."""
    body: dict[str, Any] = {
        "dataset": ID, "title": "A table", "description": "", "owner": "prn_" + "a" * 26,
        "population": "pop_" + "a" * 26, "unit_noun": "patient", "public_size": 2000, "state": "sealed",
        "sensitivity": "confidential", "purposes": ["research"], "legal_basis": "gdpr-6-1-e-public-task",
        "retention_until": "2099-01-01T00:00:00Z", "table": schema.to_json(), "unit": unit, "home_size": 2000,
        "holdout_share": "0.2", "delta": "0.000001", "order": 8,
    }  # fmt: skip
    return Dataset.read(body | changes, gateway=NOBODY)
