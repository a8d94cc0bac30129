"""Which rows of a unit are kept, and the list of all units: both from keyed hashes alone. Child only.

Rules
-----
1. At most `rows_per_unit` rows of a unit are kept. Which ones follows from the content of that unit's rows and the
   population's key: not from their places in the file, nor from any other unit.
2. Identical rows of one unit are interchangeable; of these the first in the file are kept.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.amounts import Share
from privacy.ingest.fingerprints import FINGERPRINT_BYTES, MAGIC
from privacy.ingest.homes import Homes
from privacy.ingest.identity import Bytes, Hashes, holdout
from privacy.ingest.spill import BUCKETS, Spill
from privacy.sealing.chunked import ChunkedWriter

Entries: TypeAlias = NDArray[np.uint64]
"""Shape [rows, 3]: unit, choice, number of the row from 0."""
Sides: TypeAlias = NDArray[np.uint8]

_UNIT, _CHOICE, _ROW = range(3)
_PRUNE_ROWS = 2**18


class Side(IntEnum):
    """Where a row goes."""

    DROPPED = 0
    TRAIN = 1
    HOLDOUT = 2


EARLIER = 2
"""Added to the side of a row whose unit is at home in an earlier block."""


class RowChoice:
    """Finds the rows to keep, in one pass over (unit, choice) and with bounded memory.

    Args:
        rows_per_unit: The most rows of a unit.
        path: Where hashes that do not fit into memory go, encrypted.
    """

    def __init__(self, rows_per_unit: int, path: Path) -> None:
        self._most = rows_per_unit
        self._spill = Spill(path)
        self._rows = 0

    def add(self, units: Hashes, choices: Hashes) -> None:
        """Take the next rows of the file."""
        rows = np.arange(self._rows, self._rows + len(units), dtype=np.uint64)
        self._rows += len(units)
        self._spill.add((units >> np.uint64(56)).astype(np.uint8), np.stack([units, choices, rows], axis=1))

    def sides(self, share: Share, homes: Homes) -> Sides:
        """Where each row of the file goes: dropped, trains, or is held out; `EARLIER` on top of the last two."""
        self._spill.finish()
        sides = np.full(self._rows, Side.DROPPED, dtype=np.uint8)
        for bucket in range(BUCKETS):
            best = self._of_bucket(bucket)
            sides[best[:, _ROW].astype(np.int64)] = sides_of(best[:, _UNIT], share, homes)
        self._spill.close()
        return sides

    def _of_bucket(self, bucket: int) -> Entries:
        best: Entries = np.zeros((0, 3), dtype=np.uint64)
        waiting, pruned = [best], 0
        for part in self._spill.read(bucket, best):
            waiting.append(part)
            # A unit with very many rows must not fill the memory: of what is known already, only the best can stay.
            if sum(len(known) for known in waiting) > 2 * pruned + _PRUNE_ROWS:
                waiting = [self._best(np.concatenate(waiting))]
                pruned = len(waiting[0])
        return self._best(np.concatenate(waiting))

    def _best(self, entries: Entries) -> Entries:
        """Of each unit's entries the first ones by choice, then by row."""
        if not len(entries):
            return entries
        ordered = entries[np.lexsort((entries[:, _ROW], entries[:, _CHOICE], entries[:, _UNIT]))]
        units = ordered[:, _UNIT]
        begins = np.flatnonzero(np.concatenate([[True], units[1:] != units[:-1]]))
        lengths = np.diff(np.append(begins, len(units)))
        places = np.arange(len(units)) - np.repeat(begins, lengths)
        return ordered[places < self._most]


def sides_of(units: Hashes, share: Share, homes: Homes) -> Sides:
    """The side of each unit, with `EARLIER` on top where it is at home in an earlier block."""
    sides = np.where(holdout(units, share), Side.HOLDOUT, Side.TRAIN).astype(np.uint8)
    sides[homes.earlier(units)] += EARLIER
    return sides


class FingerprintList:
    """Collects fingerprints and writes them sorted, each once.

    Args:
        path: Where those that do not fit into memory go, encrypted.
    """

    def __init__(self, path: Path) -> None:
        self._spill = Spill(path)

    def add(self, fingerprints: Bytes) -> None:
        """Take the fingerprints of some rows' units."""
        # Equal records share a fingerprint: without this, very many of them would fill one bucket.
        fingerprints = _sorted_once(fingerprints)
        self._spill.add(fingerprints[:, 0].copy(), fingerprints)

    def write(self, sink: ChunkedWriter) -> None:
        """Write the list."""
        self._spill.finish()
        sink.write(MAGIC)
        like = np.zeros((0, FINGERPRINT_BYTES), dtype=np.uint8)
        for bucket in range(BUCKETS):
            parts = list(self._spill.read(bucket, like))
            if parts:
                sink.write(_sorted_once(np.concatenate(parts)).tobytes())
        self._spill.close()


def _sorted_once(fingerprints: Bytes) -> Bytes:
    halves = np.ascontiguousarray(fingerprints).view(">u8").astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    halves = halves[order]
    fresh = np.concatenate([[True], (halves[1:] != halves[:-1]).any(axis=1)])
    once: Bytes = fingerprints[order[fresh]]
    return once
