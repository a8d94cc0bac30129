"""Cells that hold a tensor: a fixed number of numbers in row-major order. Child only.

Rules
-----
1. In text the numbers stand between white space; in other forms they are one flat list.
2. A cell of another length breaks the rule, whatever is in it. A cell without a value is filled in as a whole, an
   element without one alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from privacy.ingest.cells import Checked, Mask, as_texts, bounded, missing_in, parsed_numbers, plain, truths
from privacy.ingest.formats import Rule
from privacy.schema import Column


def tensors(column: Column, values: Any) -> Checked:
    """Check a tensor column."""
    lists, missing, broken = _lists(column, plain(values))
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    right = ~missing & (lengths == column.elements)
    misshapen = ~missing & ~right
    for _, mask in broken:
        misshapen &= ~mask
    elements = pc.list_flatten(lists.filter(pa.array(right)))
    found, absent, wrong = parsed_numbers(column, elements)
    found, more = bounded(column, found, absent)
    data = np.full((len(lists), column.elements), float(column.fill or 0), dtype=np.float32)
    data[right] = found.reshape(-1, column.elements)
    broken = [*broken, (Rule.WRONG_SHAPE, misshapen), *_of_cells([*wrong, *more], right, column.elements)]
    if column.fill is None:
        broken.append((Rule.MISSING_VALUE, missing))
    return Checked(_array(data), broken)


def _lists(column: Column, values: Any) -> tuple[Any, Mask, list[tuple[Rule, Mask]]]:
    """Cells as lists, which have no value, and which are no lists."""
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        inner = kind.value_type
        missing = truths(values.is_null())
        if pa.types.is_integer(inner) or pa.types.is_floating(inner):
            return values, missing, []
        return pa.nulls(len(values), pa.list_(pa.float64())), missing, [(Rule.WRONG_TYPE, ~missing)]
    texts = as_texts(values)
    missing = missing_in(column, texts.array)
    for _, mask in texts.broken:
        missing &= ~mask
    return pc.utf8_split_whitespace(pc.fill_null(texts.array, "")), missing, list(texts.broken)


def _of_cells(broken: list[tuple[Rule, Mask]], right: Mask, elements: int) -> list[tuple[Rule, Mask]]:
    """Rules broken by elements as rules broken by their cells, each cell by one."""
    result = []
    free = right.copy()
    for rule, mask in broken:
        cells = np.zeros(len(right), dtype=np.bool_)
        cells[right] = mask.reshape(-1, elements).any(axis=1)
        result.append((rule, cells & free))
        free &= ~cells
    return result


def _array(data: Any) -> Any:
    kind = pa.list_(pa.field("element", pa.float32(), nullable=False), data.shape[1])
    return pa.FixedSizeListArray.from_arrays(pa.array(data.reshape(-1)), type=kind)
