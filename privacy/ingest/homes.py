"""Home blocks: which one each unit of a population belongs to, for good. Child only.

Rules
-----
1. A unit's home block is the one that was open when its rows were first sealed in the population. It never changes.
2. The map from units to home blocks is kept by keyed hashes and encrypted under a key that only the population's key
   gives: it outlives every version's own key, so that destroying a version frees nobody from what was spent on him.
3. Units of equal hash have one home block. What is charged for either is charged for both.
4. Which files there are follows from the number of the open block, never from who is in the upload.

Form: docs/formats/ingest-request.md, "Home blocks".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.errors import CorruptError
from kernel.ids import TenantId, VersionId
from privacy.ingest.identity import Hashes
from privacy.ingest.spill import BUCKETS, Spill
from privacy.sealing.chunked import BlobKind, ChunkedReader, ChunkedWriter, blob_context
from privacy.sealing.deks import Label, expand, subkey
from privacy.sealing.secret import SecretBytes

MAGIC: Final = b"privgate/homes/v1\n".ljust(32, b"\0")
ENTRY: Final = np.dtype([("unit", ">u8"), ("home", ">u2")])
Entries: TypeAlias = NDArray[Any]
_AT_ONCE = 2**16 * ENTRY.itemsize
_INFO: Final = b"privgate/homes-key/v1"


def homes_key(population: SecretBytes) -> SecretBytes:
    """The key of a population's maps."""
    with subkey(population, Label.UNIT) as key:
        return SecretBytes(expand(key, _INFO))


def homes_context(tenant: TenantId, version: VersionId) -> bytes:
    """What binds a map to the version with whose sealing it was written."""
    return blob_context(BlobKind.HOMES, tenant, version)


class HomeMap:
    """A stored map, read once in the order of its units' hashes. Use it in a `with` block.

    Args:
        path: The encrypted file; nothing for the first version of a population.
        key: The key of the population's maps.
        context: What binds the map to its version.

    Raises:
        CorruptError: Altered, cut, of another population or version, or not in rising order.
    """

    def __init__(self, path: Path | None, key: SecretBytes, context: bytes) -> None:
        self._file = None if path is None else path.open("rb")
        self._reader = None if self._file is None else ChunkedReader(self._file, key, context)
        self._waiting: Entries = np.zeros(0, dtype=ENTRY)
        self._last = -1
        reader = self._reader
        if reader is not None and (reader.read(len(MAGIC)) != MAGIC or (reader.size - len(MAGIC)) % ENTRY.itemsize):
            raise CorruptError("a map of home blocks is not in its stored form")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def bucket(self, number: int) -> Entries:
        """The entries of a bucket: of hashes whose first byte it is. Buckets are asked for in rising order."""
        end = np.uint64(number + 1) << np.uint64(56) if number + 1 < BUCKETS else None
        found: list[Entries] = []
        while True:
            upto = len(self._waiting)
            if end is not None:
                upto = int(np.searchsorted(self._waiting["unit"].astype(np.uint64), end))
            found.append(self._waiting[:upto])
            self._waiting = self._waiting[upto:]
            if len(self._waiting) or not self._fill():
                return np.concatenate(found)

    def _fill(self) -> bool:
        read = b"" if self._reader is None else self._reader.read(_AT_ONCE)
        self._waiting = np.frombuffer(read, dtype=ENTRY)
        units = self._waiting["unit"].astype(np.uint64)
        if len(units):
            if int(units[0]) <= self._last or (units[1:] <= units[:-1]).any():
                raise CorruptError("a map of home blocks is not in rising order")
            self._last = int(units[-1])
        return bool(len(units))


class Homes:
    """The home blocks of one sealing: looks units up, and writes the map with the new ones.

    Args:
        known: The map so far.
        home: The block that is open.
        path: Where hashes that do not fit into memory go, encrypted.
    """

    def __init__(self, known: HomeMap, home: int, path: Path) -> None:
        self._known, self._home = known, home
        self._spill = Spill(path)
        # While the first block is open everybody is at home in it: then nothing is kept in memory.
        self._entries = np.concatenate(list(_all(known))) if home > 1 else None

    def earlier(self, units: Hashes) -> NDArray[np.bool_]:
        """Which of the units are at home in an earlier block."""
        if self._entries is None or not len(self._entries):
            return np.zeros(len(units), dtype=np.bool_)
        known = self._entries["unit"].astype(np.uint64)
        places = np.minimum(np.searchsorted(known, units), len(known) - 1)
        found: NDArray[np.bool_] = (known[places] == units) & (self._entries["home"][places] < self._home)
        return found

    def add(self, units: Hashes) -> None:
        """Take the units of some rows."""
        once = np.unique(units)
        self._spill.add((once >> np.uint64(56)).astype(np.uint8), once[:, None])

    def write(self, sink: ChunkedWriter) -> None:
        """Write the map: everybody who was in it as he was, and the new ones at home in the open block."""
        self._spill.finish()
        sink.write(MAGIC)
        like = np.zeros((0, 1), dtype=np.uint64)
        for number in range(BUCKETS):
            before = self._before(number)
            parts = [part[:, 0] for part in self._spill.read(number, like)]
            units = np.unique(np.concatenate(parts)) if parts else like[:, 0]
            fresh = np.zeros(len(units), dtype=ENTRY)
            fresh["unit"], fresh["home"] = units, self._home
            fresh = fresh[~np.isin(units, before["unit"].astype(np.uint64))]
            # Joining forgets the order of bytes.
            both = np.concatenate([before, fresh]).astype(ENTRY)
            sink.write(both[np.argsort(both["unit"].astype(np.uint64))].tobytes())
        self._spill.close()

    def _before(self, number: int) -> Entries:
        if self._entries is None:
            return self._known.bucket(number)
        numbers = (self._entries["unit"].astype(np.uint64) >> np.uint64(56)).astype(np.int64)
        return self._entries[slice(*np.searchsorted(numbers, [number, number + 1]))]


def _all(known: HomeMap) -> Iterator[Entries]:
    for number in range(BUCKETS):
        yield known.bucket(number)
