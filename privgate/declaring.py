"""Declaring a dataset on the owner's own machine: a draft from a file's header, and a check before anything is sent.

Rules
-----
1. Bounds and categories are never computed from rows: the smallest value of a column is somebody's value. The draft
   leaves a `?` for each, to be replaced from public knowledge.
2. A column's kind is guessed from the first rows and is for the owner to confirm.
3. What the check says names row, column and rule, never a value; it is the rule that the gateway's ingest would name.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from kernel.errors import InvalidError
from privacy.ingest.formats import Problem, Rule
from privacy.schema import Column, ColumnKind, TableSchema
from privgate.cells import out_of_bounds, read_cell

UNKNOWN = "?"
SAMPLE_ROWS = 200
MOST_PROBLEMS = 100
_BOOLEANS = frozenset({"true", "false", "yes", "no"})


def draft(path: Path, *, delimiter: str = ",", unit_column: str | None = None) -> dict[str, Any]:
    """A declaration for a CSV file with everything that only its owner can know left as `?`.

    Args:
        path: The file.
        delimiter: What stands between its fields.
        unit_column: The column that says whose row it is; without it each row is taken for somebody else's.
    """
    with _opened(path) as file:
        records = csv.reader(file, delimiter=delimiter)
        names = [name.strip() for name in next(records, [])]
        sample = list(islice(records, SAMPLE_ROWS))
    if not any(names):
        raise InvalidError("the file has no header line", field=path.name)
    if unit_column is not None and unit_column not in names:
        raise InvalidError("the file has no column of that name", field="unit_column")
    columns = [
        _drafted(name, [row[i] for row in sample if i < len(row)], whose=name == unit_column)
        for i, name in enumerate(names)
    ]
    return {
        "title": UNKNOWN,
        "description": "",
        "population": UNKNOWN,
        "unit": _drafted_unit(unit_column),
        "sensitivity": UNKNOWN,
        "purposes": [UNKNOWN],
        "legal_basis": UNKNOWN,
        "retention_until": UNKNOWN,
        "schema": {"columns": columns},
    }


def require_complete(declaration: Mapping[str, Any]) -> None:
    """Return if a declaration says everything; raise `InvalidError` naming what it still leaves open."""
    _require_known([name for name, value in declaration.items() if name != "schema" and _unknown(value)])
    declared_schema(declaration)


def declared_schema(declaration: Mapping[str, Any]) -> TableSchema:
    """The schema of a declaration, or a schema by itself; raise `InvalidError` naming what it leaves open."""
    body = declaration.get("schema", declaration)
    columns = body.get("columns", ()) if isinstance(body, Mapping) else ()
    _require_known([f"column {c.get('name')}" for c in columns if isinstance(c, Mapping) and _unknown(c)])
    return TableSchema.from_json(body)


def check(path: Path, schema: TableSchema, *, delimiter: str = ",", most: int = MOST_PROBLEMS) -> list[Problem]:
    """The first problems of a CSV or JSON Lines file against a schema; none means that it can be sent."""
    form = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if form == ".parquet":
        raise InvalidError("only CSV and JSON Lines are checked here; the gateway checks Parquet", field=path.name)
    with _opened(path) as file:
        read = _json_problems(file, schema) if form in (".jsonl", ".ndjson") else _csv_problems(file, schema, delimiter)
        try:
            return list(islice(read, most))
        except UnicodeDecodeError:
            return [Problem(None, None, Rule.NOT_UTF8)]
        except (gzip.BadGzipFile, EOFError, zlib.error):
            return [Problem(None, None, Rule.NOT_GZIP)]
        except csv.Error:
            return [Problem(None, None, Rule.NOT_THIS_FORM)]


def _unknown(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_unknown, value.values()))
    return value == UNKNOWN or (isinstance(value, list) and UNKNOWN in value)


def _require_known(left: Sequence[str]) -> None:
    if left:
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        raise InvalidError(
            f"replace the `?` of {', '.join(left[:5])}{more}: from public knowledge, never from the file", field=left[0]
        )


def _drafted_unit(column: str | None) -> dict[str, Any]:
    if column is None:
        return {"kind": "record", "noun": UNKNOWN}
    return {"kind": "column", "column": column, "noun": UNKNOWN, "rows_per_unit": UNKNOWN}


def _drafted(name: str, values: Sequence[str], *, whose: bool) -> dict[str, Any]:
    kind = ColumnKind.IDENTIFIER if whose else _kind_of({value.strip() for value in values} - {""})
    body: dict[str, Any] = {"name": name, "kind": kind.value}
    if kind is ColumnKind.NUMERIC:
        body |= {"low": UNKNOWN, "high": UNKNOWN}
    elif kind is ColumnKind.CATEGORICAL:
        body |= {"categories": [UNKNOWN]}
    return body


def _kind_of(values: set[str]) -> ColumnKind:
    if values and all(value.lower() in _BOOLEANS for value in values):
        return ColumnKind.BOOLEAN
    return ColumnKind.NUMERIC if values and all(map(_numeric, values)) else ColumnKind.CATEGORICAL


def _numeric(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _csv_problems(file: TextIO, schema: TableSchema, delimiter: str) -> Iterator[Problem]:
    records = csv.reader(file, delimiter=delimiter, strict=True)
    names = [name.strip() for name in next(records, [])]
    wrong = [column.name for column in schema.columns if names.count(column.name) != 1]
    if wrong:
        rules = (Rule.DUPLICATE_COLUMN if name in names else Rule.MISSING_COLUMN for name in wrong)
        yield from (Problem(None, name, rule) for name, rule in zip(wrong, rules, strict=True))
        return
    places = [(column, names.index(column.name)) for column in schema.columns]
    number = 0
    for number, record in enumerate(filter(None, records), start=1):
        if len(record) != len(names):
            yield Problem(number, None, Rule.WRONG_NUMBER_OF_FIELDS)
            continue
        yield from _row_problems(number, ((column, record[place]) for column, place in places))
    if number == 0:
        yield Problem(None, None, Rule.NO_ROWS)


def _json_problems(file: TextIO, schema: TableSchema) -> Iterator[Problem]:
    number = 0
    for number, line in enumerate(filter(str.strip, file), start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            yield Problem(number, None, Rule.NOT_AN_OBJECT)
            continue
        yield from _row_problems(number, ((column, row.get(column.name)) for column in schema.columns))
    if number == 0:
        yield Problem(None, None, Rule.NO_ROWS)


def _row_problems(number: int, cells: Iterable[tuple[Column, Any]]) -> Iterator[Problem]:
    for column, value in cells:
        cell = read_cell(column, value)
        if isinstance(cell, Rule):
            yield Problem(number, column.name, cell)
        elif out_of_bounds(column, cell):
            yield Problem(number, column.name, Rule.OUT_OF_BOUNDS)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")
