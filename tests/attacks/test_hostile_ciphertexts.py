"""Ciphertexts and keys of somebody who wants a crash, a wrong sum or a second look: refused, or no sum."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import time

import pytest
import zstandard

from kernel.errors import CorruptError, PrivgateError
from privacy.homomorphic.confined import Confined, FailedTaskError
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.envelope import open_upload
from privacy.homomorphic.validator import require_upload
from tests.support.homomorphic import SUMMING, Cast, encrypted, keys_of, layout_of
from tests.support.sources import ROOT

FEW, MANY = 60, 2_200


def died_or_seen(what: str, name: str, count: int) -> dict[str, int]:
    """What a process of its own saw; a crash fails the test."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.hostile_ciphertexts", what, name, str(count), "7"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    seen: dict[str, int] = json.loads(done.stdout)
    return seen


def require_harmless(seen: dict[str, int], count: int) -> None:
    """Every mutant was refused, was no sum, or changed nothing that counts (a bit of noise)."""
    assert "WRONG" not in seen
    assert sum(seen.get(end, 0) for end in ("refused", "no-sum", "right")) > 0.9 * count
    assert seen["refused"] > 0.3 * count


@pytest.mark.parametrize("name", ["bfv-4096-public", "bfv-2048-wide-seeded"])
def test_no_mutant_crashes_or_spoils_a_sum_unseen(name: str) -> None:
    """Behind the signature, as a dishonest site stands: what loads at all decrypts to the true sum, or to none."""
    require_harmless(died_or_seen("uploads", name, FEW), FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUMMING)
def test_no_mutant_of_thousands_crashes_or_spoils_a_sum_unseen(name: str) -> None:
    """The same, eleven thousand times over all profiles."""
    require_harmless(died_or_seen("uploads", name, MANY), MANY)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bfv-4096-public", "bfv-2048-seeded"])
def test_mutants_of_keys_are_refused_or_encrypt_nothing(name: str) -> None:
    """A key that was damaged on its way makes no sum that could be taken for one."""
    require_harmless(died_or_seen("keys", name, 500), 500)


@pytest.mark.parametrize("count", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_mutants_of_a_clients_keys_and_features_crash_nothing(count: int) -> None:
    """Refused, or evaluated to an answer that only its sender can read."""
    seen = died_or_seen("inference", "any", count)
    assert sum(seen.values()) == count
    assert seen["refused"] > 0.5 * count


@pytest.mark.parametrize("name", ["bfv-2048-wide-public", "bfv-2048-seeded"])
def test_no_mutant_of_a_signed_upload_is_taken(name: str) -> None:
    """From outside nothing passes: document, length or digest gives every change away."""
    cast, source = Cast(name), random.Random(9)
    parcel = cast.parcel()
    for turn in range(400):
        data = bytearray(parcel)
        # Half of them in the document, which is short.
        at = source.randrange(1500 if turn % 2 else len(data))
        match turn % 4:
            case 0:
                data[at] ^= 1 << source.randrange(8)
            case 1:
                data[at : at + 4] = source.randbytes(4)
            case 2:
                del data[at : at + source.randint(1, 40)]
            case _:
                data[at:at] = source.randbytes(source.randint(1, 40))
        if bytes(data) != parcel:
            with pytest.raises(PrivgateError):
                open_upload(cast.expected, bytes(data), cast.site.public_key, cast.private)


@pytest.mark.slow
def test_no_mutant_of_ten_thousand_is_taken() -> None:
    """Every byte of a document, changed in several ways."""
    cast, source = Cast("bfv-2048-seeded"), random.Random(10)
    parcel = cast.parcel()
    document = len(Parcel.from_bytes(parcel).document) + 23
    for turn in range(10_000):
        at = turn % document if turn % 3 else source.randrange(len(parcel))
        data = parcel[:at] + bytes([parcel[at] ^ source.randint(1, 255)]) + parcel[at + 1 :]
        with pytest.raises(PrivgateError):
            open_upload(cast.expected, data, cast.site.public_key, cast.private)


def test_nothing_compressed_is_unpacked() -> None:
    """A few kilobytes that would become a gigabyte are refused by their length, and by their mode if that fits."""
    layout = layout_of("bfv-4096-public")
    body = encrypted(layout, [1] * 100)
    bomb = zstandard.ZstdCompressor().compress(bytes(2**28))
    for mode in (1, 2, 3):
        header = body[:5] + bytes([mode]) + body[6:8]
        for data in (
            header + struct.pack("<Q", 16 + len(bomb)) + bomb,
            header + struct.pack("<Q", len(body)) + bomb.ljust(len(body) - 16, b"\0"),
            header + body[8:],
        ):
            began = time.monotonic()
            with pytest.raises(CorruptError):
                require_upload(layout, data)
            assert time.monotonic() - began < 5


def test_a_secret_key_within_an_upload_is_refused() -> None:
    """Beside, instead of, or in the middle of ciphertexts."""
    layout, secret = layout_of("bfv-2048-wide-public"), keys_of("bfv-2048-wide-public").secret.reveal()
    body = encrypted(layout, [1] * 100)
    for data in (secret, body + secret, secret + body[len(secret) :], body[: len(body) // 2] + secret):
        with pytest.raises(CorruptError):
            require_upload(layout, data)


def test_one_hostile_upload_spoils_a_task_and_nothing_else() -> None:
    """Coefficients beyond their prime pass every length and byte, and SEAL's reader refuses them in its child."""
    confined, layout = Confined(), layout_of("bfv-2048-seeded", summands=3)
    honest = [encrypted(layout, [k] * 100) for k in (1, 2, 3)]
    hostile = honest[2][:113] + b"\xff" * 8 * 2048 + honest[2][113 + 8 * 2048 :]
    require_upload(layout, hostile)
    secret = keys_of("bfv-2048-seeded").secret
    with pytest.raises(FailedTaskError) as failed:
        confined.decrypt(layout, secret, [*honest[:2], hostile])
    with pytest.raises(FailedTaskError) as other:
        confined.aggregate(layout, [*honest[:2], hostile])
    assert str(failed.value) == str(other.value), "a refusal tells nothing about which byte, key or site"
    assert confined.decrypt(layout, secret, honest) == [6] * 100
