"""Diabetes 130-US hospitals for `make bench-accuracy`: readmission within 30 days, protecting patients or encounters.

Two tasks on the same rows with the same model and recipe: in one the unit is the patient, whose rows (at most five,
the first in the file) are clipped as one; in the other every encounter is a unit of its own, which is what most
publications do. What the first costs against the second is what it costs to protect the person.

The table is declared from the publishers' description: every column's range or codes, and for diagnoses the chapters of
ICD-9. Nothing was counted, nothing tuned: bins are those of the template, the recipe is Adult's. A fifth of the
patients, by a hash of their number, are the test split.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from kernel.errors import NotFoundError
from privacy.jobs.additive import additive_features
from privacy.schema import ColumnKind, TableSchema

UNIT: Final = "patient_nbr"
LABEL: Final = "soon"
ROWS_PER_PATIENT: Final = 5
PATIENTS, ENCOUNTERS = 57_000, 81_000
"""About how many train, as an owner would declare it."""
_DRUGS: Final = (
    "metformin", "repaglinide", "nateglinide", "chlorpropamide", "glimepiride", "glipizide", "glyburide",
    "pioglitazone", "rosiglitazone", "acarbose", "insulin",
)  # fmt: skip
_NUMBERS: Final = {
    "time_in_hospital": (1, 14),
    "num_lab_procedures": (0, 150),
    "num_procedures": (0, 6),
    "num_medications": (0, 100),
    "number_outpatient": (0, 50),
    "number_emergency": (0, 80),
    "number_inpatient": (0, 25),
    "number_diagnoses": (1, 16),
}
_CODES: Final = {
    "race": ("Caucasian", "AfricanAmerican", "Hispanic", "Asian", "Other", "?"),
    "gender": ("Female", "Male", "Unknown/Invalid"),
    "age": tuple(f"[{start}-{start + 10})" for start in range(0, 100, 10)),
    "admission_type_id": tuple(str(code) for code in range(1, 9)),
    "discharge_disposition_id": tuple(str(code) for code in range(1, 31)),
    "admission_source_id": tuple(str(code) for code in range(1, 27)),
    "max_glu_serum": ("None", "Norm", ">200", ">300"),
    "A1Cresult": ("None", "Norm", ">7", ">8"),
    "change": ("No", "Ch"),
    "diabetesMed": ("No", "Yes"),
    **dict.fromkeys(_DRUGS, ("No", "Steady", "Up", "Down")),
}
_DIAGNOSES: Final = ("diag_1", "diag_2", "diag_3")
_CHAPTERS: Final = (1, 140, 240, 280, 290, 320, 390, 460, 520, 580, 630, 680, 710, 740, 760, 780, 800, 1000)
"""Where the chapters of ICD-9 begin; diabetes, 250, is told apart from the rest of the third."""
_CHAPTER_NAMES: Final = ("none", "diabetes", "external", "supplementary", *(f"from-{start}" for start in _CHAPTERS))


def declared_schema() -> TableSchema:
    """The table as an owner would declare it."""
    numbers = [
        {"name": name, "kind": "numeric", "low": str(low), "high": str(high), "clamp": True}
        for name, (low, high) in _NUMBERS.items()
    ]
    chapters = dict.fromkeys(_DIAGNOSES, _CHAPTER_NAMES)
    codes = [
        {"name": name, "kind": "categorical", "categories": list(known)} for name, known in (_CODES | chapters).items()
    ]
    columns = [{"name": UNIT, "kind": "identifier"}, *numbers, *codes, {"name": LABEL, "kind": "boolean"}]
    return TableSchema.from_json({"columns": columns})


def features() -> dict[str, Any]:
    """Bins and categories by the template's own defaults."""
    return additive_features(declared_schema(), LABEL).to_json()


def tables() -> tuple[pa.Table, pa.Table]:
    """Training and test encounters, split by patient."""
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for row in _rows():
        digest = hashlib.sha256(row[UNIT].encode()).digest()
        sides[digest[0] % 5 == 0].append(row)
    train, test = (_table(rows) for rows in sides)
    return train, test


def chapter(code: str) -> str:
    """The chapter of an ICD-9 code as the table writes it."""
    if code == "?":
        return "none"
    if code[0] in "EV":
        return "external" if code[0] == "E" else "supplementary"
    number = int(float(code))
    return "diabetes" if number == 250 else f"from-{_CHAPTERS[max(bisect_right(_CHAPTERS, number) - 1, 0)]}"


def _rows() -> Iterator[dict[str, Any]]:
    path = Path(os.environ.get("PRIVGATE_TEST_DATA", "../shared/data")) / "diabetes130" / "diabetic_data.csv.gz"
    if not path.is_file():
        raise NotFoundError("Diabetes 130 is not here: set PRIVGATE_TEST_DATA to the folder that holds `diabetes130/`")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield _row(row)


def _row(row: Mapping[str, str]) -> dict[str, Any]:
    numbers = {name: float(row[name]) for name in _NUMBERS}
    codes = {name: row[name] for name in _CODES}
    chapters = {name: chapter(row[name]) for name in _DIAGNOSES}
    return {UNIT: row[UNIT], **numbers, **codes, **chapters, LABEL: row["readmitted"] == "<30"}


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {}
    for column in declared_schema().columns:
        values = [row[column.name] for row in rows]
        columns[column.name] = pa.array(values, type=pa.float64() if column.kind is ColumnKind.NUMERIC else None)
    return pa.table(columns)
