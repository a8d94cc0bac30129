"""What every keeper of KEKs must do. Add a factory to `FACTORIES` to hold another provider to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kernel.clock import ManualClock
from kernel.errors import ConflictError, CorruptError, InvalidError, NotFoundError, PrivgateError
from kernel.ids import DekId, JobId, ReleaseId, TenantId
from privacy.events.sealing import KeyPurpose
from privacy.sealing.deks import new_dek
from privacy.sealing.keyring import Keyring
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.secret import SecretBytes
from privacy.sealing.wrapping import KeyContext, KeyProvider


@dataclass(frozen=True)
class Harness:
    """A provider, and what an operator does to it outside the five verbs."""

    provider: KeyProvider
    make: Callable[[TenantId], object]
    rotate: Callable[[TenantId], int]
    raise_floor: Callable[[TenantId, int], None]


def _local(folder: Path) -> Harness:
    clock = ManualClock(datetime(2026, 11, 23, tzinfo=UTC))
    ring = Keyring.create(folder / "keyring", KeyFile(SecretBytes(bytes(32))), clock=clock, entropy=os.urandom)
    return Harness(ring, ring.ensure_tenant, ring.rotate, ring.raise_floor)


FACTORIES: dict[str, Callable[[Path], Harness]] = {"local": _local}
TENANT, OTHER = TenantId.new(os.urandom), TenantId.new(os.urandom)


@pytest.fixture(params=sorted(FACTORIES))
def keys(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    """One fresh provider of each kind, with two tenants."""
    harness = FACTORIES[request.param](tmp_path)
    harness.make(TENANT)
    harness.make(OTHER)
    return harness


def _context(tenant: TenantId = TENANT) -> KeyContext:
    return KeyContext(tenant=tenant, dek=DekId.new(os.urandom), purpose=KeyPurpose.JOB, job=JobId.new(os.urandom))


def test_what_is_wrapped_unwraps_for_its_context_alone(keys: Harness) -> None:
    """Each member of the context is bound: any other key id, purpose, object or tenant is refused."""
    context, dek = _context(), new_dek(os.urandom)
    wrapped = keys.provider.wrap(TENANT, context, dek)
    assert keys.provider.unwrap(TENANT, context, wrapped) == dek
    release = ReleaseId.new(os.urandom)
    others = [
        replace(context, dek=DekId.new(os.urandom)),
        replace(context, job=JobId.new(os.urandom)),
        replace(context, job=None, purpose=KeyPurpose.RELEASE, release=release),
    ]
    for other in others:
        with pytest.raises(CorruptError):
            keys.provider.unwrap(TENANT, other, wrapped)
        with pytest.raises(CorruptError):
            keys.provider.unwrap(TENANT, other, replace(wrapped, context=other.digest))
    with pytest.raises(InvalidError):
        keys.provider.unwrap(OTHER, context, wrapped)
    moved = replace(context, tenant=OTHER)
    with pytest.raises(CorruptError):
        keys.provider.unwrap(OTHER, moved, replace(wrapped, context=moved.digest))


def test_two_wraps_of_one_key_differ(keys: Harness) -> None:
    """Every wrap draws a fresh nonce."""
    context, dek = _context(), new_dek(os.urandom)
    first, second = (keys.provider.wrap(TENANT, context, dek) for _ in range(2))
    assert first.nonce != second.nonce
    assert first.ciphertext != second.ciphertext


def test_rotation_keeps_reading_and_wraps_with_the_new_version(keys: Harness) -> None:
    """Old wraps open, new wraps and rewraps carry the new version, and `describe` says so."""
    context, dek = _context(), new_dek(os.urandom)
    old = keys.provider.wrap(TENANT, context, dek)
    assert keys.rotate(TENANT) == 2
    assert keys.provider.unwrap(TENANT, context, old) == dek
    new = keys.provider.rewrap(TENANT, context, old)
    assert (old.kek_version, new.kek_version) == (1, 2)
    assert keys.provider.unwrap(TENANT, context, new) == dek
    described = keys.provider.describe(TENANT)
    assert (described.current, described.floor, [v.number for v in described.versions]) == (2, 1, [1, 2])
    assert keys.provider.describe(OTHER).current == 1


def test_below_the_floor_nothing_unwraps(keys: Harness) -> None:
    """Once the floor is raised an old wrap is refused, and the floor neither falls nor passes the current version."""
    context = _context()
    old = keys.provider.wrap(TENANT, context, new_dek(os.urandom))
    keys.rotate(TENANT)
    new = keys.provider.rewrap(TENANT, context, old)
    keys.raise_floor(TENANT, 2)
    for verb in (keys.provider.unwrap, keys.provider.rewrap):
        with pytest.raises(ConflictError):
            verb(TENANT, context, old)
    keys.provider.unwrap(TENANT, context, new)
    for wrong in (1, 3):
        with pytest.raises(PrivgateError):
            keys.raise_floor(TENANT, wrong)


def test_a_destroyed_version_opens_nothing_any_more(keys: Harness) -> None:
    """Destroying is for good, may be repeated, leaves the number and the time, and never hits the current version."""
    context = _context()
    old = keys.provider.wrap(TENANT, context, new_dek(os.urandom))
    with pytest.raises(ConflictError):
        keys.provider.destroy(TENANT, 1)
    keys.rotate(TENANT)
    keys.provider.destroy(TENANT, 1)
    keys.provider.destroy(TENANT, 1)
    with pytest.raises(NotFoundError):
        keys.provider.unwrap(TENANT, context, old)
    assert keys.provider.describe(TENANT).versions[0].destroyed_at is not None
    with pytest.raises(NotFoundError):
        keys.provider.destroy(TENANT, 9)


def test_an_unknown_tenant_has_no_key(keys: Harness) -> None:
    """Nothing is made by asking."""
    stranger = TenantId.new(os.urandom)
    with pytest.raises(NotFoundError):
        keys.provider.describe(stranger)
    with pytest.raises(NotFoundError):
        keys.provider.wrap(stranger, _context(stranger), new_dek(os.urandom))
