"""Who a row is about: keyed hashes of units and rows. Child only.

Rules
-----
1. A unit is the text of its identifier or, where the unit is the record, the canonical form of the sealed row: columns
   by name, not by place, and no trace of the file's form.
2. A hash under the population's key decides the side of the split and which rows are kept; a hash under the tenant's
   key is the fingerprint. Neither can be computed without its key.
3. Every hash depends on the row alone.

Form: docs/formats/ingest-request.md, "Units". Reference: RFC 7693 (keyed BLAKE2b).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel import canonical
from kernel.amounts import Share
from privacy.ingest.fingerprints import FINGERPRINT_BYTES
from privacy.schema import Column, ColumnKind, TableSchema
from privacy.sealing.deks import Label, expand, subkey
from privacy.sealing.secret import SecretBytes
from privacy.units import PrivacyUnit

Hashes: TypeAlias = NDArray[np.uint64]
Bytes: TypeAlias = NDArray[np.uint8]

_CELL_BYTES = 16
_UNIT = b"unit\0"
_ID, _CHOICE, _FINGERPRINT = b"privgate/unit-id/v1", b"privgate/row-choice/v1", b"privgate/unit-fingerprint/v1"


class Identities:
    """The hashes of one sealing.

    Args:
        schema: The declared schema.
        unit: Who is protected.
        population: The population's key.
        tenant: The tenant's key for fingerprints.
    """

    def __init__(self, schema: TableSchema, unit: PrivacyUnit, population: SecretBytes, tenant: SecretBytes) -> None:
        self._unit = unit
        # The rows of one unit agree on its own column, so that it need not be looked at to tell them apart.
        columns = [column for column in schema.columns if column.name != unit.column]
        self._columns = sorted(columns, key=lambda column: column.name)
        with subkey(population, Label.UNIT) as key:
            self._id, self._choice = expand(key, _ID), expand(key, _CHOICE)
        self._fingerprint = expand(tenant, _FINGERPRINT)
        self._form = hashlib.sha256(canonical.encode([[c.name, c.kind.value] for c in self._columns])).digest()

    def of(self, batch: Any) -> tuple[Hashes, Bytes]:
        """Return the unit's hash of each row, and the fingerprints of the batch's units, some perhaps repeated."""
        if self._unit.column is None:
            rows = self._rows(batch)
            return _numbers(_keyed(rows, self._id, 8)), _keyed(rows, self._fingerprint, FINGERPRINT_BYTES)
        encoded = batch.column(self._unit.column).dictionary_encode()
        units = [_UNIT + name.encode("utf-8") for name in encoded.dictionary.to_pylist()]
        places = encoded.indices.to_numpy(zero_copy_only=False)
        return _numbers(_keyed(units, self._id, 8))[places], _keyed(units, self._fingerprint, FINGERPRINT_BYTES)

    def choices(self, batch: Any) -> Hashes:
        """Return a number for each row that orders the rows of one unit by their content and the key alone."""
        return _numbers(_keyed(self._rows(batch), self._choice, 8))

    def _rows(self, batch: Any) -> list[bytes]:
        """The canonical form of each row, without the unit's own column."""
        form = np.broadcast_to(np.frombuffer(self._form, dtype=np.uint8), (batch.num_rows, len(self._form)))
        cells = [_cells(column, batch.column(column.name)) for column in self._columns]
        joined = np.concatenate([form, *cells], axis=1)
        data, width = joined.tobytes(), joined.shape[1]
        return [data[start : start + width] for start in range(0, len(data), width)]


def holdout(units: Hashes, share: Share) -> NDArray[np.bool_]:
    """Which units are on the side that never trains."""
    return units < np.uint64(int(share.value * 2**64))


def _cells(column: Column, values: Any) -> Bytes:
    """The canonical bytes of one column's cells: shape [rows, width]."""
    match column.kind:
        case ColumnKind.NUMERIC:
            # Adding zero makes the two zeros one.
            found = values.to_numpy(zero_copy_only=False) + 0.0
            return _as_bytes(found.astype(">f8")[:, None])
        case ColumnKind.TENSOR:
            flat = values.flatten().to_numpy(zero_copy_only=False) + np.float32(0)
            return _as_bytes(flat.astype(">f4").reshape(-1, column.elements))
        case ColumnKind.BOOLEAN:
            return _as_bytes(values.to_numpy(zero_copy_only=False).astype(np.uint8)[:, None])
        case ColumnKind.CATEGORICAL | ColumnKind.ORDINAL | ColumnKind.IDENTIFIER:
            return _text_cells(values)


def _text_cells(values: Any) -> Bytes:
    encoded = values.dictionary_encode()
    texts: Sequence[str] = encoded.dictionary.to_pylist()
    hashed = b"".join(hashlib.blake2b(text.encode("utf-8"), digest_size=_CELL_BYTES).digest() for text in texts)
    table = np.frombuffer(hashed, dtype=np.uint8).reshape(-1, _CELL_BYTES)
    return _as_bytes(table[encoded.indices.to_numpy(zero_copy_only=False)])


def _as_bytes(values: Any) -> Bytes:
    contiguous: Bytes = np.ascontiguousarray(values).view(np.uint8)
    return contiguous.reshape(len(values), -1)


def _keyed(items: Iterable[bytes], key: bytes, size: int) -> Bytes:
    blake2b = hashlib.blake2b
    hashed = b"".join([blake2b(item, key=key, digest_size=size).digest() for item in items])
    return np.frombuffer(hashed, dtype=np.uint8).reshape(-1, size)


def _numbers(hashed: Bytes) -> Hashes:
    return hashed.view(">u8").reshape(-1).astype(np.uint64)
