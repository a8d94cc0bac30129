"""Secrets in memory, data keys and their rows."""

from __future__ import annotations

import copy
import os
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from kernel.clock import ManualClock
from kernel.errors import CorruptError, InvalidError, NotFoundError
from kernel.ids import DatasetId, DekId, JobId, ReleaseId, TenantId, VersionId
from privacy.events.sealing import KeyPurpose
from privacy.sealing.deks import Label, check_commitment, commit, new_dek, subkey
from privacy.sealing.keyring import Keyring
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.lifecycle import DekRecord, destroy_dek, open_dek, rewrap_dek, wrap_dek
from privacy.sealing.secret import SecretBytes
from privacy.sealing.wrapping import KeyContext, WrappedKey

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
TENANT = TenantId.new(os.urandom)


def _context() -> KeyContext:
    return KeyContext(
        tenant=TENANT,
        dek=DekId.new(os.urandom),
        purpose=KeyPurpose.VERSION,
        dataset=DatasetId.new(os.urandom),
        version=VersionId.new(os.urandom),
    )


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    """A keyring with one tenant."""
    ring = Keyring.create(
        tmp_path / "keyring", KeyFile(SecretBytes(bytes(32))), clock=ManualClock(NOW), entropy=os.urandom
    )
    ring.ensure_tenant(TENANT)
    return ring


def test_a_secret_shows_itself_to_nobody() -> None:
    """No way of printing a secret prints its bytes."""
    secret = SecretBytes(b"very secret bytes")
    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>30}",
        f"{secret!r}",
        repr([secret]),
    ):
        assert "very" not in shown
        assert "***" in shown


def test_a_secret_is_neither_pickled_nor_copied_nor_hashed() -> None:
    """What would make a second copy, or a fingerprint, is refused."""
    secret = SecretBytes(b"x")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError):
            attempt(secret)


def test_secrets_are_equal_by_content_and_never_to_bytes() -> None:
    """Comparison is between secrets only, and a wiped one equals nothing."""
    assert SecretBytes(b"ab") == SecretBytes(bytearray(b"ab"))
    assert SecretBytes(b"ab") != SecretBytes(b"ac")
    assert SecretBytes(b"ab") != b"ab"
    wiped = SecretBytes(b"ab")
    wiped.wipe()
    assert wiped != SecretBytes(b"\x00\x00")


def test_a_wiped_secret_is_zeros_and_does_not_reveal() -> None:
    """Leaving the block overwrites the bytes in place."""
    with SecretBytes(b"abc") as secret:
        assert secret.reveal() == b"abc"
    assert secret.wiped
    assert bytes(secret._value) == b"\x00\x00\x00"
    with pytest.raises(InvalidError):
        secret.reveal()


def test_an_empty_secret_or_a_short_source_is_refused() -> None:
    """A source of randomness that gives less than asked for makes no key."""
    with pytest.raises(InvalidError):
        SecretBytes(b"")
    with pytest.raises(InvalidError):
        new_dek(lambda n: os.urandom(n - 1))


def test_labels_give_unrelated_subkeys_by_the_written_derivation() -> None:
    """Each label is HKDF-Expand with SHA-512 of its own info, and no two agree."""
    dek = SecretBytes(bytes(range(32)))
    derived = {label: subkey(dek, label).reveal() for label in Label}
    assert len(set(derived.values())) == len(Label)
    info = b"privgate/subkey/pme/v1"
    assert derived[Label.PARQUET] == HKDFExpand(algorithm=SHA512(), length=32, info=info).derive(bytes(range(32)))
    with pytest.raises(InvalidError):
        subkey(SecretBytes(b"short"), Label.BLOB)


def test_a_commitment_names_one_key() -> None:
    """The commitment of a key fits it and no other, and is the same each time."""
    dek, other = SecretBytes(bytes(range(32))), new_dek(os.urandom)
    assert commit(dek) == commit(SecretBytes(bytes(range(32))))
    check_commitment(dek, commit(dek))
    with pytest.raises(CorruptError):
        check_commitment(other, commit(dek))


def test_a_context_names_what_its_purpose_protects_and_nothing_else() -> None:
    """A key for a version names dataset and version; a key for a job names a job."""
    base = {"tenant": TENANT, "dek": DekId.new(os.urandom)}
    job, release = JobId.new(os.urandom), ReleaseId.new(os.urandom)
    for context in (
        _context(),
        KeyContext(**base, purpose=KeyPurpose.JOB, job=job),
        KeyContext(**base, purpose=KeyPurpose.RELEASE, release=release),
    ):
        assert KeyContext.from_json(context.to_json()) == context
    for wrong in (
        {"purpose": KeyPurpose.JOB},
        {"purpose": KeyPurpose.JOB, "release": release},
        {"purpose": KeyPurpose.JOB, "job": job, "release": release},
        {"purpose": KeyPurpose.VERSION, "version": VersionId.new(os.urandom)},
    ):
        with pytest.raises(InvalidError):
            KeyContext(**base, **wrong)
    for body in ({}, {"tenant": 1}, {**_context().to_json(), "more": 1}, {**_context().to_json(), "dek": None}):
        with pytest.raises(InvalidError):
            KeyContext.from_json(body)


def test_a_wrapped_key_has_one_written_form(keyring: Keyring) -> None:
    """What is written is read back equal, and any other form is refused."""
    wrapped = keyring.wrap(TENANT, context := _context(), new_dek(os.urandom))
    data = wrapped.to_bytes()
    assert WrappedKey.from_bytes(data) == wrapped
    assert wrapped.context == context.digest
    for other in (b"", b"{}", data + b" ", data.replace(b'"v":1', b'"v":2'), data[:-1], b"[1]"):
        with pytest.raises(CorruptError):
            WrappedKey.from_bytes(other)


def test_a_row_opens_is_rewrapped_and_opens_again(keyring: Keyring) -> None:
    """After a rotation a rewrap moves the row to the new version and the key stays the same."""
    dek = new_dek(os.urandom)
    record = wrap_dek(_context(), dek, keyring)
    assert open_dek(record, keyring) == dek
    assert rewrap_dek(record, keyring) is record
    keyring.rotate(TENANT)
    moved = rewrap_dek(record, keyring)
    assert moved.wrapped is not None
    assert moved.wrapped.kek_version == 2
    assert open_dek(moved, keyring) == open_dek(record, keyring) == dek


def test_a_destroyed_key_is_a_tombstone_for_good(keyring: Keyring) -> None:
    """A tombstone neither opens nor rewraps, says when, and stays as it is."""
    record = wrap_dek(_context(), new_dek(os.urandom), keyring)
    tombstone = destroy_dek(record, NOW)
    assert (tombstone.wrapped, tombstone.destroyed_at, tombstone.context) == (None, NOW, record.context)
    assert destroy_dek(tombstone, NOW.replace(year=2027)) is tombstone
    for verb in (open_dek, rewrap_dek):
        with pytest.raises(NotFoundError, match="destroyed"):
            verb(tombstone, keyring)


def test_a_row_is_alive_or_dead_and_of_its_own_context(keyring: Keyring) -> None:
    """A row that is both, neither, or holds another row's key cannot be built."""
    record = wrap_dek(_context(), new_dek(os.urandom), keyring)
    for change in ({"destroyed_at": NOW}, {"wrapped": None}):
        with pytest.raises(InvalidError):
            replace(record, **change)
    with pytest.raises(CorruptError):
        DekRecord(context=_context(), wrapped=record.wrapped)


def test_erasure_reaches_backups_by_retiring_the_wrapping_version(keyring: Keyring) -> None:
    """A wrapped copy in an old backup opens until its KEK version is destroyed; what was rewrapped lives on."""
    erased, kept = (wrap_dek(_context(), new_dek(os.urandom), keyring) for _ in range(2))
    backup = erased
    keyring.rotate(TENANT)
    kept = rewrap_dek(kept, keyring)
    open_dek(backup, keyring)
    keyring.destroy(TENANT, 1)
    with pytest.raises(NotFoundError):
        open_dek(backup, keyring)
    open_dek(kept, keyring)
