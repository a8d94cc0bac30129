"""The real tables of the demo: what the owner has on disk, and what the trainer brings of its own.

Rules
-----
1. Rows come from where their publishers' files lie; nothing is generated.
2. The declarations (schema, bounds, budget, request) are a JSON file beside this module and were written by hand.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from kernel.errors import InvalidError, NotFoundError

NAMES = ("breast-cancer", "adult")
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Declared:
    """What was written down about a table before anybody looked at its rows."""

    name: str
    title: str
    description: str
    bounds: str
    question: str
    population: dict[str, Any]
    unit: dict[str, Any]
    schema: dict[str, Any]
    training: dict[str, Any]
    evaluation: dict[str, Any]

    @property
    def columns(self) -> list[str]:
        """The columns' names in the order of the schema."""
        return [column["name"] for column in self.schema["columns"]]

    @property
    def label(self) -> tuple[str, str]:
        """Column and category of the positive class."""
        label = self.training["features"]["label"]
        return label["column"], label["category"]


def declared(name: str) -> Declared:
    """Read the declarations of a table."""
    if name not in NAMES:
        raise InvalidError(f"`DATA` must be one of {', '.join(NAMES)}", field="DATA")
    text = resources.files("privgate.demo").joinpath(f"{name}.json").read_text(encoding="utf-8")
    members = json.loads(text)
    return Declared(**{field: members[field] for field in Declared.__dataclass_fields__})


def write_table(table: Declared, path: Path) -> None:
    """Write the owner's file: CSV with a header."""
    rows = _breast_cancer() if table.name == "breast-cancer" else _adult(table, "adult.data.gz")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows(rows)


def own_rows(table: Declared) -> list[Row] | None:
    """The trainer's own labelled rows, if the table has a published test split."""
    if table.name != "adult":
        return None
    return [dict(zip(table.columns, row, strict=True)) for row in _adult(table, "adult.test.gz")]


def _breast_cancer() -> Iterable[Sequence[str]]:
    from sklearn.datasets import load_breast_cancer  # the demo's extra; the SDK does without

    bunch = load_breast_cancer()
    for measured, target in zip(bunch.data, bunch.target, strict=True):
        yield [repr(float(value)) for value in measured] + [str(bunch.target_names[target])]


def _adult(table: Declared, name: str) -> Iterable[Sequence[str]]:
    path = Path(os.environ.get("PRIVGATE_TEST_DATA", "../shared/data")) / "adult" / name
    if not path.is_file():
        raise NotFoundError("UCI Adult is not here: set PRIVGATE_TEST_DATA to the folder that holds `adult/`")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.reader(file, skipinitialspace=True):
            if len(row) == len(table.columns):
                yield [*row[:-1], row[-1].rstrip(".")]
