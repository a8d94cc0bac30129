"""JSON Lines: one object a line. Child only.

Rules
-----
1. A line has a longest length, which follows from the schema, and is parsed alone: nesting or length cannot reach
   beyond it.
2. Members that the schema does not declare are dropped. One that it declares and that no line has is a missing column,
   not a column full of missing values.
3. A repeated member, `NaN` and `Infinity` are not JSON here.

Reference: RFC 8259; jsonlines.org.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from privacy.ingest.csv_reader import block_size
from privacy.ingest.findings import Findings
from privacy.ingest.formats import Rule
from privacy.ingest.records import RawBatch
from privacy.ingest.sources import skip_mark
from privacy.schema import Column, ColumnKind, TableSchema

ROWS_AT_ONCE = 4096
_BATCH_BYTES = 2 * 2**20
_PIECE = 2**18
_NUMBERS = {int, float, type(None)}


class _RepeatedError(ValueError):
    """An object has a member twice."""


def read_json_lines(stream: io.RawIOBase, schema: TableSchema, findings: Findings) -> Iterator[RawBatch]:
    """Yield the records of a JSON Lines file.

    Args:
        stream: The plain bytes.
        schema: Which members are wanted.
        findings: Where problems go.

    Raises:
        RefusedError: A line is no JSON object, or no line has one of the members.
    """
    rows, first, size = list[dict[str, Any]](), 1, 0
    seen: set[str] = set()
    for line in _lines(skip_mark(stream), block_size(schema)):
        row = _parsed(line)
        if isinstance(row, Rule):
            if rows:
                yield _batch(first, rows, schema)
            findings.stop(row, row=first + len(rows))
        rows.append(row)
        size += len(line)
        if len(rows) == ROWS_AT_ONCE or size >= _BATCH_BYTES:
            seen.update(*rows)
            yield _batch(first, rows, schema)
            rows, first, size = [], first + len(rows), 0
    seen.update(*rows)
    if rows:
        yield _batch(first, rows, schema)
    if first + len(rows) > 1:
        findings.add_columns([column.name for column in schema.columns if column.name not in seen])


def _lines(stream: io.RawIOBase, longest: int) -> Iterator[bytes | Rule]:
    """Yield the lines that have something on them; a rule instead of one that is too long, and nothing after it."""
    rest = b""
    while piece := stream.read(_PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line for line in lines if line.strip())
        if len(rest) > longest:
            yield Rule.ROW_TOO_LONG
            return
    if rest.strip():
        yield rest


def _parsed(line: bytes | Rule) -> dict[str, Any] | Rule:
    if isinstance(line, Rule):
        return line
    try:
        found = _DECODER.decode(line.decode("utf-8"))
    except UnicodeDecodeError:
        return Rule.NOT_UTF8
    except _RepeatedError:
        return Rule.REPEATED_MEMBER
    except (ValueError, RecursionError):
        return Rule.NOT_THIS_FORM
    return found if isinstance(found, dict) else Rule.NOT_AN_OBJECT


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RepeatedError
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant)


def _batch(first: int, rows: list[dict[str, Any]], schema: TableSchema) -> RawBatch:
    columns, wrong = {}, {}
    for column in schema.columns:
        values = [row.get(column.name) for row in rows]
        if column.kind is ColumnKind.NUMERIC and (kinds := set(map(type, values))) <= _NUMBERS:
            numbers = values if kinds == {float} else [None if value is None else _float(value) for value in values]
            columns[column.name] = pa.array(numbers, pa.float64())
            continue
        cell, kind = (
            (_tensor_cell, pa.list_(pa.float64())) if column.kind is ColumnKind.TENSOR else (_text_cell, pa.string())
        )
        found = [cell(value, column) for value in values]
        columns[column.name] = pa.array([None if value is _WRONG else value for value in found], kind)
        if (mask := np.array([value is _WRONG for value in found], dtype=np.bool_)).any():
            wrong[column.name] = mask
    return RawBatch(first, columns, len(rows), wrong)


_WRONG = object()
"""Stands for a value that no column of this kind can hold."""


def _tensor_cell(value: Any, column: Column) -> Any:
    if isinstance(value, list) and set(map(type, value)) <= _NUMBERS:
        return [None if element is None else _float(element) for element in value]
    missing = value is None or value == "" or (isinstance(value, str) and value in column.missing)
    return None if missing else _WRONG


def _text_cell(value: Any, column: Column) -> Any:
    if isinstance(value, str):
        return value if _encodable(value) else _WRONG
    if isinstance(value, bool):
        return _WRONG if column.kind is ColumnKind.NUMERIC else str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if value is None or isinstance(value, int):
        return value if value is None else str(value)
    return _WRONG


def _encodable(text: str) -> bool:
    """Whether it has no lone surrogate."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
