"""Sealed parts to rows in memory, by unit. Child only.

Rules
-----
1. Columns that neither features nor unit need are not decrypted.
2. Nothing is raised because of a value: a row without a unit is dead, a unit with too many rows keeps its first ones.
3. The order of rows is the order of the parts as given, so that a unit's first rows are the same in every job.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from kernel.errors import InvalidError
from kernel.ids import DatasetId, Slug, TenantId, VersionId
from privacy.jobs.assignment import PartFile, Table
from privacy.sealing.manifest import PartAddress
from privacy.sealing.secret import SecretBytes
from privacy.sealing.tables import PartReader
from privacy.training.rows import RowEncoder, Rows
from privacy.training.units import UnitTable, joined

ROWS_AT_ONCE = 8192


def load_units(table: Table, encoder: RowEncoder, key: SecretBytes) -> UnitTable:
    """Decrypt and encode every row of the parts.

    Args:
        table: Which files, and what their columns mean.
        encoder: The table's features.
        key: The dataset version's data key.

    Raises:
        CorruptError: A part is not what it must be.
    """
    wanted = list(dict.fromkeys([*encoder.needs, *([] if table.unit.column is None else [table.unit.column])]))
    parts: list[Rows] = []
    units: list[Any] = []
    for part in table.parts:
        for batch in _batches(part, key, wanted):
            parts.append(encoder.encode(batch))
            if table.unit.column is not None:
                units.append(batch.column(table.unit.column))
    rows = joined(parts, encoder.width)
    if table.unit.column is None:
        return UnitTable.of_records(rows)
    return _by_unit(rows, units, table.unit.rows_per_unit)


def _by_unit(rows: Rows, units: list[Any], rows_per_unit: int) -> UnitTable:
    numbers, known = numbered_units(units)
    alive = Rows(features=rows.features, targets=rows.targets, alive=rows.alive & known)
    return UnitTable.by_unit(alive, numbers, rows_per_unit)


def numbered_units(units: list[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A number for each unit, and whether the row names one."""
    texts = [pc.cast(_plain(array), pa.large_string()) for array in units]
    encoded = pa.chunked_array(texts, type=pa.large_string()).combine_chunks().dictionary_encode()
    numbers = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers, numbers >= 0


def _plain(array: Any) -> Any:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _batches(part: PartFile, key: SecretBytes, columns: list[str]) -> Iterator[Any]:
    with PartReader(Path(part.path), key, address_of(part.aad)) as reader:
        yield from reader.batches(columns, rows=ROWS_AT_ONCE)


def address_of(aad: str) -> PartAddress:
    """Read `tenant/dataset/version/part`; raise `InvalidError` otherwise."""
    try:
        tenant, dataset, version, name = aad.split("/")
    except ValueError:
        raise InvalidError("`aad` must be tenant/dataset/version/part", field="aad") from None
    return PartAddress(tenant=TenantId(tenant), dataset=DatasetId(dataset), version=VersionId(version), name=Slug(name))
