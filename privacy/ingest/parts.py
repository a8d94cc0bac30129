"""Encrypted parts, one for each side of the split. Child only.

Rules
-----
1. A population with a holdout always gets both files, also when one of them has no row: which files there are says
   nothing about rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from privacy.ingest.assignment import IngestAssignment
from privacy.ingest.cells import Mask
from privacy.sealing.manifest import Part, PartAddress, Split
from privacy.sealing.secret import SecretBytes
from privacy.sealing.tables import PartWriter, rows_within

_SMALLER_GROUPS = 4
"""Two sides wait for a full row group at once, in a process of bounded memory."""


class SplitWriter:
    """Writes rows to the side of their unit. Leaving a `with` block with an error leaves files that do not open.

    Args:
        assignment: Where the parts belong and go.
        schema: The Arrow schema of the parts.
        dek: The version's data key.
    """

    def __init__(self, assignment: IngestAssignment, schema: Any, dek: SecretBytes) -> None:
        self._assignment, self._schema, self._dek = assignment, schema, dek
        self._writers: dict[Split, PartWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            sides = [Split.TRAIN, Split.HOLDOUT] if self._assignment.holdout_share.value else [Split.TRAIN]
            for side in sides:
                self._writers[side] = opening.enter_context(self._open(side, opening))
            self._stack = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, batch: Any, *, train: Mask, holdout: Mask) -> None:
        """Write the rows of a batch that are on either side; the others are dropped."""
        for side, mask in ((Split.TRAIN, train), (Split.HOLDOUT, holdout)):
            if mask.any():
                self._writers[side].write(batch if mask.all() else batch.filter(pa.array(mask)))

    def finish(self) -> Sequence[Part]:
        """Finish the files; return what the manifest says about them."""
        return [writer.finish() for writer in self._writers.values()]

    def _open(self, side: Split, opening: ExitStack) -> PartWriter:
        of = self._assignment
        address = PartAddress.numbered(of.tenant, of.dataset, of.version, side, 0)
        sink = opening.enter_context((Path(of.output) / address.name).open("xb"))
        group = max(rows_within(self._schema) // _SMALLER_GROUPS, 1)
        return PartWriter(sink, self._schema, self._dek, address, rows_per_group=group)
