"""Cells of one column, whatever the file gave, to values of the declared kind. Child only.

Rules
-----
1. A whole column is converted at once; only where that fails are its cells looked at one by one.
2. Every function returns a value for every row, sensible or not, and says which rows broke which rule: a row at most
   one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from privacy.ingest.formats import Rule
from privacy.schema import Column

Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]

LONGEST_IDENTIFIER = 512
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_TRUE = ("true", "True", "TRUE", "1", "yes", "Yes", "YES")
_FALSE = ("false", "False", "FALSE", "0", "no", "No", "NO")


@dataclass(frozen=True, slots=True)
class Checked:
    """A column after its check.

    Attributes:
        values: Arrow array of the sealed type.
        broken: Which rows broke which rules.
    """

    values: Any
    broken: Sequence[tuple[Rule, Mask]]


@dataclass(frozen=True, slots=True)
class Texts:
    """Cells as texts without white space around them; null where there is no value, or none that is text.

    Attributes:
        array: Arrow string array.
        broken: Rows whose cell is not text at all.
    """

    array: Any
    broken: Sequence[tuple[Rule, Mask]]


def numbers(column: Column, values: Any) -> Checked:
    """Check a numeric column."""
    found, missing, broken = parsed_numbers(column, values)
    found, more = bounded(column, found, missing)
    return Checked(pa.array(found), [*broken, *_without(more, broken)])


def parsed_numbers(column: Column, values: Any) -> tuple[Floats, Mask, list[tuple[Rule, Mask]]]:
    """Return numbers, which cells have no value, and which are not numbers."""
    values = plain(values)
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        found = floats(pc.cast(values, pa.float64(), safe=False))
        missing = np.isnan(found)
        return found, missing, [(Rule.NOT_A_NUMBER, np.isinf(found))]
    if pa.types.is_boolean(kind):
        nothing = truths(values.is_null())
        return np.zeros(len(values)), nothing, [(Rule.WRONG_TYPE, ~nothing)]
    texts = as_texts(values)
    missing = missing_in(column, texts.array)
    found, wrong = _numbers_of(texts.array, missing)
    return found, missing, [*texts.broken, *_without([(Rule.NOT_A_NUMBER, wrong)], texts.broken)]


def bounded(column: Column, found: Floats, missing: Mask) -> tuple[Floats, list[tuple[Rule, Mask]]]:
    """Fill in what is missing and hold the rest to the bounds."""
    low, high = _bound(column.low), _bound(column.high)
    broken = []
    if column.fill is not None:
        found = np.where(missing, float(column.fill), found)
    else:
        broken.append((Rule.MISSING_VALUE, missing))
    if column.clamp:
        return np.clip(found, low, high), broken
    broken.append((Rule.OUT_OF_BOUNDS, (found < low) | (found > high)))
    return found, broken


def choices(column: Column, values: Any) -> Checked:
    """Check a categorical or ordinal column."""
    texts = as_texts(values)
    listed = list(dict.fromkeys(["", *column.missing]))
    places = _places(texts.array, [*listed, *column.categories])
    missing, unlisted = (places < len(listed)) & (places >= 0), places < 0
    kept = np.where(missing | unlisted, 0, places - len(listed))
    broken: list[tuple[Rule, Mask]] = [(Rule.NOT_LISTED, unlisted)]
    if column.fill is None:
        broken.append((Rule.MISSING_VALUE, missing))
    else:
        kept = np.where(missing, column.categories.index(column.fill), kept)
    values = pa.array(column.categories, type=pa.string()).take(pa.array(kept))
    return Checked(values, [*texts.broken, *_without(broken, texts.broken)])


def booleans(column: Column, values: Any) -> Checked:
    """Check a boolean column."""
    texts = as_texts(values)
    listed = list(dict.fromkeys(["", *column.missing]))
    places = _places(texts.array, [*listed, *_TRUE, *_FALSE]) - len(listed)
    unknown, missing = places < -len(listed), (places < 0) & (places >= -len(listed))
    found = places < len(_TRUE)
    broken: list[tuple[Rule, Mask]] = [(Rule.NOT_A_BOOLEAN, unknown)]
    if column.fill is None:
        broken.append((Rule.MISSING_VALUE, missing))
    else:
        found = np.where(missing, column.fill == "true", found)
    return Checked(pa.array(found), [*texts.broken, *_without(broken, texts.broken)])


def identifiers(column: Column, values: Any) -> Checked:
    """Check an identifier column: text without control characters."""
    texts = as_texts(values)
    missing = missing_in(column, texts.array)
    long = pc.greater(pc.binary_length(texts.array), LONGEST_IDENTIFIER)
    control = pc.match_substring_regex(texts.array, r"[[:cntrl:]]")
    wrong = truths(pc.fill_null(pc.or_(long, control), False)) & ~missing
    broken = [(Rule.MISSING_VALUE, missing), (Rule.NOT_AN_IDENTIFIER, wrong)]
    return Checked(pc.fill_null(texts.array, ""), [*texts.broken, *_without(broken, texts.broken)])


def as_texts(values: Any) -> Texts:
    """Read any scalar cells as text: whole numbers and booleans have an obvious one, nested values have none."""
    values = plain(values)
    kind = values.type
    broken: list[tuple[Rule, Mask]] = []
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        values, unreadable = _decoded(values)
        broken = [(Rule.NOT_UTF8, unreadable)]
    elif pa.types.is_floating(kind):
        values = _number_texts(values)
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        values = pc.cast(values, pa.string())
    elif not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        present = truths(values.is_valid())
        return Texts(pa.nulls(len(values), pa.string()), [(Rule.WRONG_TYPE, present)])
    return Texts(pc.utf8_trim_whitespace(pc.cast(values, pa.string())), broken)


def missing_in(column: Column, texts: Any) -> Mask:
    """Which cells have no value: null, empty, or a text that the schema lists."""
    listed = pa.array(list(dict.fromkeys(["", *column.missing])), type=pa.string())
    return truths(pc.or_(pc.is_in(texts, value_set=listed), pc.is_null(texts)))


def plain(values: Any) -> Any:
    """One array without dictionary encoding."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def truths(values: Any) -> Mask:
    """An Arrow array of booleans without nulls as a mask."""
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.bool_)


def floats(values: Any) -> Floats:
    """An Arrow array of float64 with NaN for null."""
    return np.asarray(pc.fill_null(values, math.nan).to_numpy(zero_copy_only=False), dtype=np.float64)


def _numbers_of(texts: Any, missing: Mask) -> tuple[Floats, Mask]:
    """Parse texts; return numbers, NaN where there is none, and which texts are not finite numbers."""
    present = pc.if_else(pa.array(missing), None, texts) if missing.any() else texts
    try:
        found = floats(pc.cast(present, pa.float64()))
    except pa.ArrowInvalid:
        found = _numbers_among(present)
    return found, ~np.isfinite(found) & ~missing


def _numbers_among(texts: Any) -> Floats:
    """The numbers among texts of which some are none."""
    fits = pc.match_substring_regex(texts, _NUMBER)
    fitting = pc.if_else(fits, pc.replace_substring_regex(texts, r"^\+", ""), None)
    return np.array([math.nan if text is None else float(text) for text in fitting.to_pylist()], dtype=np.float64)


def _places(texts: Any, listed: Sequence[str]) -> NDArray[np.int64]:
    """Where each text stands in a list: 0 (the empty text) for null, -1 if it is not there."""
    places = pc.index_in(pc.fill_null(texts, ""), value_set=pa.array(listed, type=pa.string()))
    return np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _decoded(values: Any) -> tuple[Any, Mask]:
    """Bytes as UTF-8; null where they are not."""
    try:
        return pc.cast(pc.cast(values, pa.binary()), pa.string()), np.zeros(len(values), dtype=np.bool_)
    except pa.ArrowInvalid:
        found = [None if value is None else _text_or_none(value) for value in values.to_pylist()]
        unreadable = [text is None for text in found] & truths(values.is_valid())
        return pa.array(found, type=pa.string()), unreadable


def _text_or_none(value: bytes) -> str | None:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _number_texts(values: Any) -> Any:
    """Floats as texts: a whole one as the integer that it is, NaN as no value."""
    found = floats(pc.cast(values, pa.float64()))
    whole = np.isfinite(found) & (found == np.trunc(found)) & (np.abs(found) < 2**53)
    integers = pc.cast(pa.array(np.where(whole, found, 0).astype(np.int64)), pa.string())
    others = pc.cast(pa.array(found), pa.string())
    return pc.if_else(pa.array(np.isnan(found)), None, pc.if_else(pa.array(whole), integers, others))


def _bound(value: Any) -> float:
    return math.nan if value is None else float(value.number)


def _without(broken: Sequence[tuple[Rule, Mask]], earlier: Sequence[tuple[Rule, Mask]]) -> list[tuple[Rule, Mask]]:
    """Leave out the rows that broke an earlier rule."""
    taken = [mask for _, mask in earlier]
    result = []
    for rule, mask in broken:
        for other in taken:
            mask = mask & ~other
        result.append((rule, mask))
    return result
