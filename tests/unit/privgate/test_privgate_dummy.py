"""Dummy rows: public, repeatable, and what an upload may hold; files of them are sealed by the gateway's own ingest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.canonical import digest_of
from kernel.errors import InvalidError
from privacy.ingest.formats import Rule
from privacy.schema import ColumnKind, TableSchema
from privacy.units import PrivacyUnit
from privgate import declaring
from privgate.cells import out_of_bounds, read_cell
from privgate.dummy import dummy_rows
from privgate.rowfiles import read_rows, write_rows
from tests.support.cards import EVERYTHING, PATIENTS, RECORD, card
from tests.support.uploads import Sealed, ingest_here

ROWS = 400
PINNED = [{"n": 109, "c": "c", "t": [9, 15]}, {"n": 109, "c": "b", "t": [13, 9]}, {"n": 5, "c": "b", "t": [7, 14]}]


def made(rows: int = ROWS, seed: int = 0, unit: Any = PATIENTS, schema: TableSchema = EVERYTHING) -> list[Any]:
    """Some rows."""
    return list(dummy_rows(schema, PrivacyUnit.from_json(unit), rows, seed))


def broken(schema: TableSchema, rows: list[Any]) -> list[tuple[str, Rule]]:
    """The rules that rows break."""
    found = []
    for row in rows:
        for column in schema.columns:
            cell = read_cell(column, row[column.name])
            if isinstance(cell, Rule):
                found.append((column.name, cell))
            elif out_of_bounds(column, cell):
                found.append((column.name, Rule.OUT_OF_BOUNDS))
    return found


def test_one_seed_gives_the_same_rows_to_everybody() -> None:
    """Another seed gives others; more rows begin with the fewer."""
    assert made(7) == made(ROWS)[:7]
    assert made(3, seed=5) == made(3, seed=5)
    assert made(20, seed=1) != made(20)
    first = made(3)
    assert [row["patient"] for row in first] == ["unit-0000001"] * 3
    assert [row["age"] for row in first][:2] == [0, 120]


def test_rows_are_those_of_the_page() -> None:
    """Drawn here as docs/formats/rehearsal.md says it, and pinned, so that no version may draw otherwise unseen."""
    columns = [
        {"name": "n", "kind": "numeric", "low": "0", "high": "120"},
        {"name": "c", "kind": "categorical", "categories": ["a", "b", "c"], "fill": "a"},
        {"name": "t", "kind": "tensor", "shape": [2], "low": "0", "high": "15"},
    ]
    schema = TableSchema.from_json({"columns": columns})
    unit = PrivacyUnit.from_json(RECORD)
    key = digest_of("dummy-rows/v1", {"schema": schema.to_json(), "unit": unit.to_json(), "seed": 7}).raw

    def words(place: int) -> Iterator[int]:
        data = hashlib.shake_256(key + place.to_bytes(4, "big") + bytes(8)).digest(4096)
        return (int.from_bytes(data[start : start + 4], "little") for start in range(0, 4096, 4))

    numbers, listed, cells = (words(place) for place in range(3))
    expected = []
    for row in range(60):
        n = (0, 120)[row] if row < 2 else next(numbers) * 121 >> 32
        c = "abc"[row] if row < 3 else None if not next(listed) * 16 >> 32 else "abc"[next(listed) * 3 >> 32]
        t = [(0, 15)[row]] * 2 if row < 2 else [next(cells) * 16 >> 32, next(cells) * 16 >> 32]
        expected.append({"n": n, "c": c, "t": t})
    assert list(dummy_rows(schema, unit, 60, seed=7)) == expected
    assert expected[2:5] == PINNED


def test_another_declaration_gives_other_rows() -> None:
    """A schema or a unit that differs anywhere draws anew: rows of two tables have nothing to do with each other."""
    wider = EVERYTHING.to_json()
    wider["columns"][4]["high"] = "100001"
    assert [row["dose"] for row in made(50, schema=TableSchema.from_json(wider))] != [row["dose"] for row in made(50)]
    assert [row["dose"] for row in made(50, unit=RECORD)] != [row["dose"] for row in made(50)]


def test_every_value_is_one_that_an_upload_may_hold() -> None:
    """No rule of any column is broken, by rows with identifiers or without."""
    assert broken(EVERYTHING, made()) == []
    assert broken(EVERYTHING, made(unit=RECORD)) == []


def test_what_is_declared_occurs() -> None:
    """Both bounds, every category, both truths, and missing values exactly where the schema fills them in."""
    rows = made()
    for column in EVERYTHING.columns:
        values = [row[column.name] for row in rows]
        assert (None in values) == (column.fill is not None), column.name
        present = [value for value in values if value is not None]
        match column.kind:
            case ColumnKind.NUMERIC:
                assert column.low is not None
                assert column.high is not None
                assert (min(present), max(present)) == (float(column.low.number), float(column.high.number))
                assert len(set(present)) > 30
            case ColumnKind.TENSOR:
                assert {len(value) for value in present} == {column.elements}
                assert len({number for value in present for number in value}) > 30
            case ColumnKind.IDENTIFIER:
                pass
            case ColumnKind.BOOLEAN:
                assert set(present) == {True, False}
            case _:
                assert set(present) == set(column.categories)
    assert all(isinstance(number, int) for row in rows for number in row["scan"])


def test_units_have_from_one_row_to_as_many_as_one_may_have() -> None:
    """The first unit as many as there may be, the second one; the rows of a unit stand together."""
    rows = [row["patient"] for row in made()]
    counts = Counter(rows)
    assert set(list(counts.values())[:-1]) == {1, 2, 3, 4}
    assert [counts[unit] for unit in list(counts)[:2]] == [4, 1]
    assert rows == sorted(rows)
    assert len({row["visit"] for row in made()}) == ROWS


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"rows": 10**8}, {"seed": -1}, {"seed": True}])
def test_a_number_out_of_range_is_told_by_its_name(wrong: dict[str, Any]) -> None:
    """Before a row is made."""
    with pytest.raises(InvalidError) as refused:
        card(unit=PATIENTS).dummy(**({"rows": 1} | wrong))
    assert refused.value.field == next(iter(wrong))


@settings(max_examples=60, deadline=None)
@given(low=st.decimals("-1e9", "1e9", places=6), span=st.decimals("0.000001", "1e9", places=6))
def test_numbers_stay_within_any_bounds(low: Any, span: Any) -> None:
    """Whatever the bounds are: both occur, and nothing lies outside."""
    column = {"kind": "numeric", "low": f"{low:f}", "high": f"{low + span:f}"}
    shape = {**column, "kind": "tensor", "shape": [2]}
    schema = TableSchema.from_json({"columns": [{"name": "n", **column}, {"name": "t", **shape}]})
    rows = made(40, unit=RECORD, schema=schema)
    assert broken(schema, rows) == []
    assert {float(low), float(low + span)} <= {float(row["n"]) for row in rows}


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "rows.jsonl", "rows.parquet"])
def test_a_file_of_dummy_rows_is_sealed_as_it_is(name: str, tmp_path: Path) -> None:
    """The owner's check finds nothing, the gateway's ingest seals every row, and what is read back is what was made."""
    path, rows = tmp_path / name, made()
    write_rows(path, EVERYTHING, rows)
    if not name.endswith("parquet"):
        assert declaring.check(path, EVERYTHING) == []
    form = name.removesuffix(".gz").rpartition(".")[2]
    answer = ingest_here(
        tmp_path, path, EVERYTHING, form, gzip=name.endswith(".gz"), unit=PrivacyUnit.from_json(PATIENTS)
    )
    assert isinstance(answer, Sealed)
    assert len(answer.rows()) == ROWS
    again = [
        {column.name: read_cell(column, row[column.name]) for column in EVERYTHING.columns} for row in read_rows(path)
    ]
    assert again == [{c.name: read_cell(c, row[c.name]) for c in EVERYTHING.columns} for row in rows]


def test_a_file_is_never_overwritten_and_its_name_says_its_form(tmp_path: Path) -> None:
    """One that is there stays; a name that says nothing is refused by that name."""
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        write_rows(path, EVERYTHING, made(2))
    assert path.read_text() == "mine"
    for name in ("rows.xlsx", "rows.parquet.gz", "rows"):
        with pytest.raises(InvalidError) as refused:
            write_rows(tmp_path / name, EVERYTHING, made(2))
        assert refused.value.field == name
    broken_file = tmp_path / "rows.jsonl"
    broken_file.write_text(json.dumps([1]) + "\n")
    with pytest.raises(InvalidError, match="JSON object"):
        read_rows(broken_file)
