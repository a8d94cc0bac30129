"""The four hospitals of the demo of homomorphic jobs: real rows, each hospital's in a file of its own.

Rules
-----
1. Rows come from where their publisher's files lie; codes become words, and nothing else is changed.
2. Declarations (columns, ranges, what stands in for a missing value) are a JSON file beside this module, written by
   hand, and the same at every hospital.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from kernel.errors import NotFoundError

MISSING = "?"
_PLACES: Final[Mapping[str, int]] = {
    "age": 0,
    "sex": 1,
    "chest_pain": 2,
    "resting_pressure": 3,
    "resting_ecg": 6,
    "highest_rate": 7,
    "exercise_angina": 8,
    "st_depression": 9,
    "ill": 13,
}
_WORDS: Final[Mapping[str, Mapping[float, str]]] = {
    "sex": {0: "female", 1: "male"},
    "chest_pain": {1: "typical", 2: "atypical", 3: "non-anginal", 4: "asymptomatic"},
    "resting_ecg": {0: "normal", 1: "st-t", 2: "hypertrophy"},
    "exercise_angina": {0: "no", 1: "yes"},
}
_IMPOSSIBLE = {"resting_pressure": 0.0}
"""What was written where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Hospital:
    """One site: its slug, what it is called, its publisher's file."""

    name: str
    title: str
    file: str


@dataclass(frozen=True, slots=True)
class Study:
    """What was written down before anybody looked at rows."""

    title: str
    description: str
    question: str
    bounds: str
    schema: dict[str, Any]
    model: dict[str, Any]
    hospitals: tuple[Hospital, ...]


def study() -> Study:
    """Read the declarations."""
    members = json.loads(resources.files("privgate.demo").joinpath("heart.json").read_text(encoding="utf-8"))
    words = {name: members[name] for name in ("title", "description", "question", "bounds", "schema", "model")}
    return Study(**words, hospitals=tuple(Hospital(**site) for site in members["sites"]))


def rows_of(hospital: Hospital) -> Iterator[dict[str, str]]:
    """A hospital's rows, a value for each declared column.

    Raises:
        NotFoundError: The publisher's files are not here.
    """
    path = Path(os.environ.get("PRIVGATE_TEST_DATA", "../shared/data")) / "heart" / hospital.file
    if not path.is_file():
        raise NotFoundError("UCI Heart Disease is not here: set PRIVGATE_TEST_DATA to the folder that holds `heart/`")
    with path.open("r", encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if row:
                yield {name: _value(name, row[place]) for name, place in _PLACES.items()}


def write_hospital(hospital: Hospital, path: Path) -> None:
    """Write a hospital's file: CSV with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(_PLACES))
        writer.writeheader()
        writer.writerows(rows_of(hospital))


def _value(name: str, written: str) -> str:
    if written in ("", MISSING):
        return MISSING
    number = float(written)
    if name == "ill":
        return "true" if number > 0 else "false"
    if number == _IMPOSSIBLE.get(name):
        return MISSING
    return _WORDS[name][number] if name in _WORDS else f"{number:g}"
