"""Encrypted parts, one for each side of the split and each kind of home. Child only.

Rules
-----
1. A population with a holdout always gets files for both sides, also when one of them has no row; and from the second
   home block on each side has one for the units of earlier blocks. Which files there are says nothing about rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from privacy.ingest.assignment import IngestAssignment
from privacy.ingest.bound import EARLIER, Side, Sides
from privacy.sealing.manifest import Part, PartAddress, Split
from privacy.sealing.secret import SecretBytes
from privacy.sealing.tables import PartWriter, rows_within

_SMALLER_GROUPS = 4
"""Up to four files wait for a full row group at once, in a process of bounded memory."""


class SplitWriter:
    """Writes rows to the side of their unit. Leaving a `with` block with an error leaves files that do not open.

    Args:
        assignment: Where the parts belong and go.
        schema: The Arrow schema of the parts.
        dek: The version's data key.
    """

    def __init__(self, assignment: IngestAssignment, schema: Any, dek: SecretBytes) -> None:
        self._assignment, self._schema, self._dek = assignment, schema, dek
        self._writers: dict[int, PartWriter] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            sides = [Side.TRAIN, Side.HOLDOUT] if self._assignment.holdout_share.value else [Side.TRAIN]
            for number in [*sides, *(side + EARLIER for side in sides if self._assignment.home > 1)]:
                self._writers[number] = opening.enter_context(self._open(number, opening))
            self._stack = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, batch: Any, sides: Sides) -> None:
        """Write the rows of a batch where they belong; those that are dropped are not written."""
        for number, writer in self._writers.items():
            mask = sides == number
            if mask.any():
                writer.write(batch if mask.all() else batch.filter(pa.array(mask)))

    def finish(self) -> Sequence[Part]:
        """Finish the files; return what the manifest says about them."""
        return [writer.finish() for writer in self._writers.values()]

    def _open(self, number: int, opening: ExitStack) -> PartWriter:
        of, earlier = self._assignment, number > EARLIER
        split = Split.TRAIN if number - EARLIER * earlier == Side.TRAIN else Split.HOLDOUT
        address = PartAddress.numbered(of.tenant, of.dataset, of.version, split, 0, earlier=earlier)
        sink = opening.enter_context((Path(of.output) / address.name).open("xb"))
        group = max(rows_within(self._schema) // _SMALLER_GROUPS, 1)
        return PartWriter(sink, self._schema, self._dek, address, rows_per_group=group)
