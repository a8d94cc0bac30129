"""The ingest child: assignment, keys, two looks at the upload at most, encrypted parts. Child only.

Rules
-----
1. Nothing is sent but `sealed` with digests of ciphertext, or `refused` with places and rules.
2. Where the unit is a column the file is read twice: once to check it and to choose each unit's rows, once to write
   them. The second look is at the same authenticated bytes.
3. Memory does not grow with the file, except by one byte for each row and a share of the hashes; nor with the
   population, except by ten bytes for each unit from its second home block on.

Form: docs/formats/ingest-request.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import InvalidError
from privacy.ingest.assignment import LIMIT, IngestAssignment
from privacy.ingest.bound import FingerprintList, RowChoice, Sides, sides_of
from privacy.ingest.findings import Findings, RefusedError
from privacy.ingest.fingerprints import fingerprints_context, list_key
from privacy.ingest.formats import Problem, Rule
from privacy.ingest.homes import HomeMap, Homes, homes_context, homes_key
from privacy.ingest.identity import Identities
from privacy.ingest.parts import SplitWriter
from privacy.ingest.readers import open_records
from privacy.ingest.validate import Validator, sealed_schema
from privacy.sandbox.frames import Channel
from privacy.sealing.chunked import ChunkedWriter
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.manifest import Part
from privacy.sealing.secret import SecretBytes

FINGERPRINTS, HOMES = "fingerprints", "homes"
_KEYS = 4


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Seal one upload over the pipe.

    Args:
        channel: The pipe; the assignment is its next frame.
        request: The first frame's header, which named the role.

    Raises:
        PrivgateError: The assignment is wrong, or the staged file is not the one that was stored.
    """
    if dict(request) != {"role": "ingest"}:
        raise InvalidError("this child was started for another role", field="role")
    assignment = IngestAssignment.from_bytes(_expect(channel, "assignment", LIMIT))
    channel.send({"m": "ready-for-key"})
    with _keys(_expect(channel, "key", _KEYS * KEY_BYTES)) as keys:
        try:
            written = Sealing(assignment, *keys).run()
        except RefusedError as refused:
            problems, more = refused.problems, refused.more
        except MemoryError:
            problems, more = (Problem(None, None, Rule.TOO_MUCH_MEMORY),), False
        else:
            channel.send({"m": "sealed"}, canonical.encode(written.to_json()))
            return
    body: dict[str, Any] = {"more": more, "problems": [problem.to_json() for problem in problems]}
    channel.send({"m": "refused"}, canonical.encode(body))


@dataclass(frozen=True, slots=True)
class Written:
    """What lies in the output folder: parts, and the digests of the fingerprints and of the map of home blocks."""

    parts: Sequence[Part]
    fingerprints: Digest
    homes: Digest

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/ingest-request.md says."""
        parts = [part.to_json() for part in self.parts]
        return {"fingerprints": self.fingerprints, "homes": self.homes, "parts": parts}


class Sealing:
    """One upload on its way into parts.

    Args:
        assignment: What to read, how to check it and where to write.
        upload: The upload's data key.
        version: The new version's data key.
        population: The population's key.
        tenant: The tenant's key for fingerprints.
    """

    def __init__(
        self,
        assignment: IngestAssignment,
        upload: SecretBytes,
        version: SecretBytes,
        population: SecretBytes,
        tenant: SecretBytes,
    ) -> None:
        self._assignment = assignment
        self._upload, self._version = upload, version
        self._output = Path(assignment.output)
        self._identities = Identities(assignment.schema, assignment.unit, population, tenant)
        self._fingerprints = FingerprintList(self._output / "spill-fingerprints")
        self._homes_key, self._list_key = homes_key(population), list_key(tenant)

    def run(self) -> Written:
        """Check and write everything.

        Raises:
            RefusedError: Something is wrong with the upload.
            CorruptError: It, or the map of home blocks, was altered since it was stored.
        """
        with self._known_homes() as known:
            homes = Homes(known, self._assignment.home, self._output / "spill-homes")
            sides = None if self._assignment.unit.column is None else self._chosen(homes)
            with SplitWriter(self._assignment, sealed_schema(self._assignment.schema), self._version) as writer:
                if sides is None:
                    self._write_all(writer, homes)
                else:
                    self._write_chosen(writer, sides)
                parts = writer.finish()
            return Written(parts, self._write_fingerprints(), self._write_homes(homes))

    def _known_homes(self) -> HomeMap:
        of, known = self._assignment, self._assignment.homes
        path = None if known is None else Path(known.path)
        return HomeMap(path, self._homes_key, homes_context(of.tenant, of.version if known is None else known.version))

    def _chosen(self, homes: Homes) -> Sides:
        """Read the file once, to choose the rows of each unit."""
        choice = RowChoice(self._assignment.unit.rows_per_unit, self._output / "spill-rows")
        for batch in self._batches():
            units, fingerprints = self._identities.of(batch)
            choice.add(units, self._identities.choices(batch))
            self._fingerprints.add(fingerprints)
            homes.add(units)
        return choice.sides(self._assignment.holdout_share, homes)

    def _write_chosen(self, writer: SplitWriter, sides: Sides) -> None:
        """Read the file again and write the chosen rows."""
        first = 0
        for batch in self._batches():
            writer.write(batch, sides[first : first + batch.num_rows])
            first += batch.num_rows

    def _write_all(self, writer: SplitWriter, homes: Homes) -> None:
        """Read the file once and write every row: each is a unit."""
        for batch in self._batches():
            units, fingerprints = self._identities.of(batch)
            self._fingerprints.add(fingerprints)
            homes.add(units)
            writer.write(batch, sides_of(units, self._assignment.holdout_share, homes))

    def _batches(self) -> Iterator[Any]:
        """The upload's rows as record batches of the sealed types; refuses the file once all problems are known."""
        findings = Findings()
        validator = Validator(self._assignment.schema, findings)
        rows = 0
        with open_records(self._assignment, self._upload, findings) as records:
            for record in records:
                rows += record.rows
                if not record.rows:
                    continue
                batch = validator.check(record)
                if batch is not None and not findings:
                    yield batch
        findings.settle()
        if not rows:
            findings.stop(Rule.NO_ROWS)

    def _write_fingerprints(self) -> Digest:
        path = self._output / FINGERPRINTS
        context = fingerprints_context(self._assignment.tenant, self._assignment.version)
        with path.open("xb") as sink, ChunkedWriter(sink, self._list_key, context) as writer:
            self._fingerprints.write(writer)
        return _digest_of(path)

    def _write_homes(self, homes: Homes) -> Digest:
        path = self._output / HOMES
        context = homes_context(self._assignment.tenant, self._assignment.version)
        with path.open("xb") as sink, ChunkedWriter(sink, self._homes_key, context) as writer:
            homes.write(writer)
        return _digest_of(path)


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest.from_raw(hashlib.file_digest(file, "sha256").digest())


def _expect(channel: Channel, message: str, largest_body: int) -> bytes:
    header, body = channel.receive(largest_body)
    if header != {"m": message}:
        raise InvalidError(f"expected the frame `{message}`", field="m")
    return body


@contextmanager
def _keys(body: bytes) -> Iterator[list[SecretBytes]]:
    if len(body) != _KEYS * KEY_BYTES:
        raise InvalidError("four keys are expected", field="key")
    keys = [SecretBytes(body[start : start + KEY_BYTES]) for start in range(0, len(body), KEY_BYTES)]
    try:
        yield keys
    finally:
        for key in keys:
            key.wipe()
