"""Tampering with what lies at rest: at least 2,000 ways for each kind of artefact, none of them silent.

Flipped bits, cuts, additions, exchanged stretches, zeroed stretches, another artefact of the same kind in its place,
and an older version of it. Each ends in an error of ours; a damaged artefact that opens is silent damage, even if what
it gives is right.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel.canonical import Digest
from kernel.clock import ManualClock
from kernel.errors import PrivgateError
from kernel.ids import DatasetId, DekId, JobId, PopulationId, TenantId, VersionId
from privacy.events.sealing import KeyPurpose
from privacy.sealing.chunked import BlobKind, blob_context, decrypt_bytes, encrypt_bytes
from privacy.sealing.deks import commit, new_dek
from privacy.sealing.keyring import Keyring
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.manifest import Manifest, Part, PartAddress, Split, open_manifest, seal_manifest
from privacy.sealing.secret import SecretBytes
from privacy.sealing.tables import PartReader, PartWriter, verify_part
from privacy.sealing.wrapping import KeyContext, WrappedKey
from privacy.training.savepoints import open_state, seal_state
from privacy.training.state import RunState
from privacy.units import PrivacyUnit, UnitKind
from tests.support import jobs

CASES = 2_100
LEAST = 2_000
SEED = 20_261_127
TENANT, DATASET, VERSION = TenantId.new(os.urandom), DatasetId.new(os.urandom), VersionId.new(os.urandom)
JOB = JobId.new(os.urandom)
DEK = new_dek(os.urandom)
NOW = datetime(2026, 11, 27, tzinfo=UTC)
PLAN = jobs.plan()


@dataclass(frozen=True)
class Artefact:
    """A sealed thing, others of its kind that must not pass for it, and how it is opened.

    Attributes:
        sealed: The bytes at rest.
        others: An older version, and the same kind of another subject.
        opened: Opens bytes in the place of `sealed`; raises, or returns what is compared with the original's.
        harmless: Cases that may open, to exactly what was sealed.
    """

    sealed: bytes
    others: tuple[bytes, ...]
    opened: Callable[[bytes], Any]
    harmless: frozenset[str] = frozenset()


def table_part(_: Path) -> Artefact:
    """An encrypted Parquet part, opened without its manifest: the encryption alone must see it.

    What stands before a whole part is not read; that the file is longer than it was is for the manifest to say.
    """
    address = PartAddress.numbered(TENANT, DATASET, VERSION, Split.TRAIN, 0)
    neighbour = PartAddress.numbered(TENANT, DATASET, VERSION, Split.TRAIN, 1)
    older = PartAddress.numbered(TENANT, DATASET, VersionId.new(os.urandom), Split.TRAIN, 0)

    def opened(data: bytes) -> Any:
        with PartReader(io.BytesIO(data), DEK, address) as reader:
            return reader.read().to_pydict()

    return Artefact(_part(address, 0)[0], (_part(neighbour, 1)[0], _part(older, 2)[0]), opened, frozenset({"twice"}))


def listed_part(folder: Path) -> Artefact:
    """The same under its manifest, as a job opens it: not even harmless damage passes."""
    bare = table_part(folder)
    _, listed = _part(PartAddress.numbered(TENANT, DATASET, VERSION, Split.TRAIN, 0), 0)
    listed = replace(listed, bytes=len(bare.sealed), digest=Digest.of(bare.sealed))

    def opened(data: bytes) -> Any:
        verify_part(io.BytesIO(data), listed)
        return bare.opened(data)

    return Artefact(bare.sealed, bare.others, opened)


def blob(_: Path) -> Artefact:
    """A blob of several chunks."""
    context = blob_context(BlobKind.UPLOAD, TENANT, VERSION)
    older = blob_context(BlobKind.UPLOAD, TENANT, VersionId.new(os.urandom))
    content = os.urandom(40_000)
    others = (encrypt_bytes(content, DEK, older), encrypt_bytes(content, new_dek(os.urandom), context))
    return Artefact(encrypt_bytes(content, DEK, context), others, lambda data: decrypt_bytes(data, DEK, context))


def manifest(_: Path) -> Artefact:
    """A manifest under its logged digest."""
    made, older = _manifest(b"now"), _manifest(b"before")

    def opened(data: bytes) -> Any:
        return open_manifest(data, DEK, tenant=TENANT, dataset=DATASET, version=VERSION, digest=made.digest)

    return Artefact(seal_manifest(made, DEK), (seal_manifest(older, DEK),), opened)


def savepoint(_: Path) -> Artefact:
    """A training state."""

    def sealed(step: int, job: JobId = JOB) -> bytes:
        state = RunState(
            step=step, weights=np.ones(9) * step, velocity=np.zeros(9), total=np.ones(9), clip=1.0, started=step
        )
        return seal_state(state, PLAN, DEK, TENANT, job)

    def opened(data: bytes) -> Any:
        state = open_state(data, PLAN, 20, 9, DEK, TENANT, JOB)
        return state.step, state.weights.tolist(), state.velocity.tolist(), state.total.tolist()

    return Artefact(sealed(20), (sealed(10), sealed(20, JobId.new(os.urandom))), opened)


def wrapped_key(folder: Path) -> Artefact:
    """A data key under the tenant's key."""
    ring = _keyring(folder)
    context, other = _context(), _context()

    def opened(data: bytes) -> Any:
        with ring.unwrap(TENANT, context, WrappedKey.from_bytes(data)) as key:
            return key.reveal()

    return Artefact(ring.wrap(TENANT, context, DEK).to_bytes(), (ring.wrap(TENANT, other, DEK).to_bytes(),), opened)


def keyring(folder: Path) -> Artefact:
    """The keyring's file, with a generation that is remembered elsewhere."""
    ring = _keyring(folder)
    file = folder / "keyring" / "keyring.json"
    older = file.read_bytes()
    ring.ensure_tenant(TenantId.new(os.urandom))
    remembered = ring.generation
    ring.close()

    def opened(data: bytes) -> Any:
        file.write_bytes(data)
        again = Keyring.open(
            folder / "keyring", _unlock(), clock=ManualClock(NOW), entropy=os.urandom, at_least=remembered
        )
        try:
            return again.generation, again.describe(TENANT)
        finally:
            again.close()

    return Artefact(file.read_bytes(), (older,), opened)


KINDS = (table_part, listed_part, blob, manifest, savepoint, wrapped_key, keyring)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_damage_is_silent(kind: Callable[[Path], Artefact], tmp_path: Path) -> None:
    """Every case ends in an error of ours; none crashes, and none gives other data."""
    artefact = kind(tmp_path)
    original = artefact.opened(artefact.sealed)
    tried, silent = 0, []
    for name, damaged in _damages(artefact, random.Random(SEED)):
        if damaged == artefact.sealed:
            continue
        tried += 1
        try:
            same = artefact.opened(damaged) == original
        except PrivgateError:
            continue
        if not (same and name in artefact.harmless):
            silent.append((name, same))
    assert silent == []
    assert tried >= LEAST


def _damages(artefact: Artefact, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    sealed = artefact.sealed
    yield from ((f"another in its place {number}", other) for number, other in enumerate(artefact.others))
    yield "nothing", b""
    yield "twice", sealed + sealed
    for _ in range(CASES):
        place, length = draw.randrange(len(sealed)), draw.randint(1, max(len(sealed) // 8, 1))
        match draw.randrange(10):
            case 0:
                yield f"cut at {place}", sealed[:place]
            case 1:
                yield f"{length} bytes gone at {place}", sealed[:place] + sealed[place + length :]
            case 2:
                yield f"{length} bytes added at {place}", sealed[:place] + draw.randbytes(length) + sealed[place:]
            case 3:
                yield f"zeros at {place}", sealed[:place] + bytes(length) + sealed[place + length :]
            case 4:
                yield f"stretches exchanged at {place}", _exchanged(sealed, place, draw.randrange(len(sealed)), length)
            case 5:
                other = draw.choice(artefact.others)
                yield (
                    f"another's stretch at {place}",
                    sealed[:place] + other[place : place + length] + sealed[place + length :],
                )
            case _:
                bit = draw.randrange(8)
                flipped = bytes([sealed[place] ^ (1 << bit)])
                yield f"bit {bit} of byte {place}", sealed[:place] + flipped + sealed[place + 1 :]


def _exchanged(data: bytes, one: int, other: int, length: int) -> bytes:
    first, second = sorted((one, other))
    length = min(length, second - first, len(data) - second)
    left, right = data[first : first + length], data[second : second + length]
    return data[:first] + right + data[first + length : second] + left + data[second + length :]


def _part(address: PartAddress, start: int) -> tuple[bytes, Part]:
    table = pa.table({"a": list(range(start, start + 60)), "b": [number * 0.5 for number in range(60)]})
    sink = io.BytesIO()
    with PartWriter(sink, table.schema, DEK, address, rows_per_group=20) as writer:
        for batch in table.to_batches():
            writer.write(batch)
        part = writer.finish()
    return sink.getvalue(), part


def _manifest(salt: bytes) -> Manifest:
    parts = []
    for split in (Split.HOLDOUT, Split.TRAIN):
        address = PartAddress.numbered(TENANT, DATASET, VERSION, split, 0)
        digest = Digest.of(address.aad.encode())
        parts.append(Part(name=address.name, split=split, rows=9, bytes=900, digest=digest, aad=address.aad))
    return Manifest(
        tenant=TENANT,
        dataset=DATASET,
        version=VERSION,
        population=PopulationId.new(os.urandom),
        schema=Digest.of(b"schema"),
        unit=PrivacyUnit(kind=UnitKind.RECORD, noun="patient"),
        dek=DekId.new(os.urandom),
        commitment=commit(DEK),
        parts=tuple(parts),
        salt=salt.ljust(32, b"-").hex(),
        fingerprints=Digest.of(b"fingerprints"),
    )


def _unlock() -> KeyFile:
    return KeyFile(SecretBytes(bytes(32)))


def _keyring(folder: Path) -> Keyring:
    made = Keyring.create(folder / "keyring", _unlock(), clock=ManualClock(NOW), entropy=os.urandom)
    made.ensure_tenant(TENANT)
    return made


def _context() -> KeyContext:
    return KeyContext(
        tenant=TENANT,
        dek=DekId.new(os.urandom),
        purpose=KeyPurpose.VERSION,
        dataset=DATASET,
        version=VersionId.new(os.urandom),
    )
