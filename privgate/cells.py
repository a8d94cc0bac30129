"""One cell of a raw row, read as an upload's cells are: for scoring and for checking a file before it is sent.

Rules
-----
1. White space around a text is not part of it. An empty text, or one that the schema lists as missing, becomes the
   declared constant, or breaks the rule `missing-value`.
2. What comes back is a value of the column's kind or the rule that was broken; nothing is ever raised because of a
   value, and no value stands in what is said about it.

Form: docs/formats/ingest-request.md, "Values".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from privacy.ingest.formats import Rule
from privacy.schema import Column, ColumnKind

Cell: TypeAlias = "float | str | bool | list[float]"
LONGEST_IDENTIFIER = 512
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
TRUTHS: Final = {
    **dict.fromkeys(("true", "True", "TRUE", "1", "yes", "Yes", "YES"), True),
    **dict.fromkeys(("false", "False", "FALSE", "0", "no", "No", "NO"), False),
}


def read_cell(column: Column, value: Any) -> Cell | Rule:
    """Read a cell as its column's kind; bounds are not looked at, but `clamp` is obeyed."""
    if isinstance(value, str):
        value = value.strip()
    if is_missing(column, value):
        if column.fill is None:
            return Rule.MISSING_VALUE
        value = [column.fill] * column.elements if column.kind is ColumnKind.TENSOR else column.fill
    match column.kind:
        case ColumnKind.NUMERIC:
            number = number_in(value)
            return Rule.NOT_A_NUMBER if number is None else _clamped(column, number)
        case ColumnKind.CATEGORICAL | ColumnKind.ORDINAL:
            return str(value) if str(value) in column.categories else Rule.NOT_LISTED
        case ColumnKind.BOOLEAN:
            return TRUTHS.get(str(value), Rule.NOT_A_BOOLEAN)
        case ColumnKind.TENSOR:
            return _tensor(column, value)
        case ColumnKind.IDENTIFIER:
            written = str(value)
            plain = len(written.encode()) <= LONGEST_IDENTIFIER and written.isprintable()
            return written if plain else Rule.NOT_AN_IDENTIFIER


def out_of_bounds(column: Column, cell: Cell) -> bool:
    """Whether a number, or an element of a tensor, lies outside the declared bounds."""
    if column.low is None or column.high is None or isinstance(cell, (str, bool)):
        return False
    low, high = float(column.low.number), float(column.high.number)
    return any(not low <= number <= high for number in (cell if isinstance(cell, list) else [cell]))


def is_missing(column: Column, value: Any) -> bool:
    """Whether a cell means that there is no value; texts are stripped already."""
    if isinstance(value, str):
        return value == "" or value in column.missing
    return value is None or (isinstance(value, float) and math.isnan(value))


def number_in(value: Any) -> float | None:
    """The finite number that a cell says, if it says one."""
    if isinstance(value, bool) or (isinstance(value, str) and _NUMBER.fullmatch(value) is None):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _clamped(column: Column, number: float) -> float:
    if not column.clamp or column.low is None or column.high is None:
        return number
    return min(max(number, float(column.low.number)), float(column.high.number))


def _tensor(column: Column, value: Any) -> list[float] | Rule:
    if hasattr(value, "ravel"):  # an array: numpy is not imported here
        value = value.ravel().tolist()
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, Sequence) or len(items) != column.elements:
        return Rule.WRONG_SHAPE
    if column.fill is None and any(is_missing(column, item) for item in items):
        return Rule.MISSING_VALUE
    numbers = [number_in(column.fill if is_missing(column, item) else item) for item in items]
    found = [_clamped(column, number) for number in numbers if number is not None]
    return found if len(found) == len(numbers) else Rule.NOT_A_NUMBER
