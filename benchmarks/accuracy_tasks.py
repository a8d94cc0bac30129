"""The tasks of `make bench-accuracy`: public tables with their published splits, and the requests that train on them.

No setting was chosen on a test split. Adult's features and recipe are the demo's, but for the rate, which follows from
4096 expected rows. The two MNIST recipes were chosen on the last 10,000 images of the training split, training on
the 50,000 before them. The additive models take the template's own bins and Adult's recipe.
"""

from __future__ import annotations

import csv
import gzip
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import accuracy_diabetes
from kernel.errors import NotFoundError
from kernel.ids import DatasetId
from privacy.schema import ColumnKind, TableSchema
from privgate.demo.tables import Declared, declared, own_rows, write_table

SIDE, CLASSES = 28, 10
DELTAS = ("0.00001", "0.000001")
_PIXELS, _HEADER, _LABEL_HEADER = SIDE * SIDE, 16, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is trained on what.

    Attributes:
        name: In the result lines.
        metric: `auc` of a binary target, `accuracy` over classes.
        epsilons: At which budgets.
        schema: The declared table.
        public_size: About how many people, as an owner would declare it.
        body: The request, less its epsilon.
        tables: Training and test split.
        deltas: At which deltas.
        unit: What one unit is called.
        unit_column: Which column names it; nothing if the record is the unit.
        rows_per_unit: The most rows of one.
    """

    name: str
    metric: str
    epsilons: tuple[str, ...]
    schema: TableSchema
    public_size: int
    body: dict[str, Any]
    tables: Callable[[], tuple[pa.Table, pa.Table]]
    deltas: tuple[str, ...] = DELTAS
    unit: str = "record"
    unit_column: str | None = None
    rows_per_unit: int = 1


def tasks() -> list[Task]:
    """Every task, the quickest first."""
    return [_adult(), _adult_gam(), _encounters(), _patients(), _scattering(), _network()]


def _adult() -> Task:
    of = declared("adult")
    schema = TableSchema.from_json(of.schema)
    return Task(
        name="adult-logistic",
        metric="auc",
        epsilons=("0.5", "1", "3"),
        schema=schema,
        public_size=32_000,
        body=_common() | {name: of.training[name] for name in ("model", "features")} | {"recipe": ADULT},
        tables=lambda: _adult_tables(of, schema),
    )


def _adult_gam() -> Task:
    label = declared("adult").training["features"]["label"]["column"]
    body = _common() | {"model": {"template": "gam"}, "label": label, "recipe": ADULT}
    return replace(_adult(), name="adult-gam", epsilons=("1",), body=body)


def _encounters() -> Task:
    body = {"model": {"template": "gam"}, "features": accuracy_diabetes.features(), "recipe": ADULT}
    return Task(
        name="diabetes130-record",
        metric="auc",
        epsilons=("3",),
        deltas=("0.000001",),
        schema=accuracy_diabetes.declared_schema(),
        public_size=accuracy_diabetes.ENCOUNTERS,
        body=_common() | body,
        tables=accuracy_diabetes.tables,
    )


def _patients() -> Task:
    return replace(
        _encounters(),
        name="diabetes130-patient",
        public_size=accuracy_diabetes.PATIENTS,
        unit="patient",
        unit_column=accuracy_diabetes.UNIT,
        rows_per_unit=accuracy_diabetes.ROWS_PER_PATIENT,
    )


ADULT = {
    "expected_batch": "4096",
    "steps": 160,
    "clip": "1",
    "learning_rate": "2",
    "momentum": "0.9",
    "averaging": "second-half",
}
SCATTERING = {
    "expected_batch": "4096",
    "steps": 500,
    "clip": "0.1",
    "learning_rate": "8",
    "momentum": "0.9",
    "averaging": "second-half",
}
NETWORK = {
    "expected_batch": "2048",
    "steps": 730,
    "clip": "0.1",
    "learning_rate": "4",
    "momentum": "0.9",
    "averaging": "none",
}


def _scattering() -> Task:
    extractor = {
        "kind": "scattering",
        "image": [SIDE, SIDE],
        "scales": 2,
        "angles": 8,
        "order": 2,
        "norm": "group",
        "groups": 27,
    }
    features = _image_features() | {"extractor": extractor}
    return _mnist("mnist-scattering", {"model": {"template": "softmax"}, "features": features, "recipe": SCATTERING})


def _network() -> Task:
    model = {"template": "cnn", "image": [1, SIDE, SIDE], "activation": "tanh"}
    return _mnist("mnist-cnn", {"model": model, "features": _image_features(), "recipe": NETWORK})


def _mnist(name: str, body: dict[str, Any]) -> Task:
    return Task(
        name=name,
        metric="accuracy",
        epsilons=("3",),
        schema=TableSchema.from_json(_IMAGES),
        public_size=60_000,
        body=_common() | body,
        tables=lambda: (_images("train"), _images("t10k")),
    )


_IMAGES = {
    "columns": [
        {"name": "image", "kind": "tensor", "low": "0", "high": "255", "shape": [SIDE, SIDE]},
        {"name": "digit", "kind": "categorical", "categories": [str(digit) for digit in range(CLASSES)]},
    ]
}


def _image_features() -> dict[str, Any]:
    label = {"column": "digit", "encoding": "classes"}
    return {"v": 1, "columns": [{"column": "image", "transform": "scale"}], "label": label}


def _common() -> dict[str, Any]:
    return {"dataset": str(DatasetId.new(os.urandom)), "purpose": "research"}


def _adult_tables(of: Declared, schema: TableSchema) -> tuple[pa.Table, pa.Table]:
    tests = [list(row.values()) for row in own_rows(of) or []]
    with tempfile.TemporaryDirectory(prefix="privgate-accuracy-") as name:
        write_table(of, Path(name) / "adult.csv")
        with (Path(name) / "adult.csv").open(encoding="utf-8", newline="") as file:
            owned = list(csv.reader(file))[1:]
    return _filled(schema, owned), _filled(schema, tests)


def _filled(schema: TableSchema, rows: list[list[str]]) -> pa.Table:
    columns = {}
    for column, values in zip(schema.columns, zip(*rows, strict=True), strict=True):
        filled = [column.fill if value in column.missing else value for value in values]
        columns[column.name] = (
            pa.array([float(v or 0) for v in filled]) if column.kind is ColumnKind.NUMERIC else filled
        )
    return pa.table(columns)


def _images(split: str) -> pa.Table:
    pixels = _idx(f"{split}-images-idx3-ubyte.gz", _HEADER)
    digits = _idx(f"{split}-labels-idx1-ubyte.gz", _LABEL_HEADER)
    offsets = pa.array(np.arange(0, len(pixels) + 1, _PIXELS, dtype=np.int32))
    images = pa.ListArray.from_arrays(offsets, pa.array(pixels))
    return pa.table({"image": images, "digit": pa.array([str(digit) for digit in digits])})


def _idx(name: str, header: int) -> NDArray[np.uint8]:
    path = Path(os.environ.get("PRIVGATE_TEST_DATA", "../shared/data")) / "mnist" / name
    if not path.is_file():
        raise NotFoundError("MNIST is not here: set PRIVGATE_TEST_DATA to the folder that holds `mnist/`")
    return np.frombuffer(gzip.decompress(path.read_bytes()), dtype=np.uint8, offset=header)
