"""An owner who wants a second budget for the same people: what sealing finds, and what it honestly cannot.

Two uploads that are sealed at the same moment: tests/scenarios/test_seal_races.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.conftest import register, upload
from tests.support.api import SCHEMA, House, done, population_body, rows_csv

FOUND = [{"row": None, "column": None, "rule": "overlaps-another-population"}]


def second_population(made: House) -> str:
    """Another budget of the same owner."""
    return str(done(made["owner"].post("/v1/populations", population_body(unit_domain="others")), 201)["population"])


def problems(version: dict[str, Any]) -> list[dict[str, Any]]:
    """What the owner is told, without texts."""
    found = version["problems"] or {"problems": []}
    return [{name: one.get(name) for name in ("row", "column", "rule")} for one in found["problems"]]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [",".join(line.split(",")[::-1]) for line in lines],
        lambda lines: lines[:1] + [line.replace(",0.", ",0000.") for line in lines[1:]],
        lambda lines: lines[:1] + [f"{line.split(',', 1)[0]}000,{line.split(',', 1)[1]}" for line in lines[1:]],
        lambda lines: lines[:1] + lines[:0:-1],
        lambda lines: lines[:1] + lines[-1:],
    ],
    ids=["columns turned round", "zeros before", "zeros behind", "rows turned round", "one row of them"],
)
def test_a_record_meets_itself_however_it_is_written(made: House, change: Any) -> None:
    """The unit is the record's values, not the text of the file."""
    lines = change(rows_csv().decode().splitlines())
    dataset = register(made, second_population(made))
    sealed = upload(made, dataset, ("\n".join(lines) + "\n").encode())
    assert (sealed["state"], problems(sealed)) == ("refused", FOUND)


def test_a_record_with_another_column_is_another_record(made: House) -> None:
    """docs/LIMITS.md, "Limits of the guarantee": the honest limit of a unit that is its row."""
    columns = [*SCHEMA["columns"], {"name": "site", "kind": "boolean"}]
    dataset = register(made, second_population(made), schema={"columns": columns})
    lines = rows_csv().decode().splitlines()
    data = "\n".join([lines[0] + ",site", *(f"{line},true" for line in lines[1:])]) + "\n"
    assert upload(made, dataset, data.encode())["state"] == "sealed"


def test_another_owner_is_told_nothing_about_our_people(made: House) -> None:
    """An upload of our very rows by somebody else is sealed: a refusal would tell him that they are ours."""
    other = made["other-owner"]
    population = done(other.post("/v1/populations", population_body()), 201)["population"]
    made.people["owner"], ours = other, made["owner"]
    try:
        assert upload(made, register(made, population))["state"] == "sealed"
    finally:
        made.people["owner"] = ours
