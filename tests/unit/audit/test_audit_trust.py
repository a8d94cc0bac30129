"""The trust file: strict, one purpose to a key, and it only moves forward."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from audit.checkpoint import Checkpoint
from audit.note import KeyKind, NoteKey
from audit.trust import TRUST_LIMIT, LastSeen, TrustFile
from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError, TooLargeError
from kernel.ids import TenantId
from kernel.signing import Ed25519Signer

ORIGIN = "gw.example/audit"
KEYS = [Ed25519Signer(bytes([i]) * 32).public_key for i in range(5)]
WITNESS = NoteKey("witness.example", KEYS[4], KeyKind.COSIGNATURE)
TRUST = TrustFile(
    origin=ORIGIN,
    tenant=TenantId("ten_" + "a" * 26),
    log_keys=(NoteKey(ORIGIN, KEYS[0]), NoteKey(ORIGIN, KEYS[1])),
    certificate_keys=(KEYS[2],),
    report_keys=(KEYS[3],),
    witness_keys=(WITNESS,),
    last_seen=LastSeen(10, Digest.of(b"root")),
)


def test_a_trust_file_is_read_back() -> None:
    """With all pins, and with nothing but the log's key."""
    least = TrustFile(origin=ORIGIN, tenant=TRUST.tenant, log_keys=TRUST.log_keys[:1])
    for trust in (TRUST, least):
        assert TrustFile.from_bytes(trust.to_bytes()) == trust
    assert least.last_seen.size == 0


def test_a_pin_is_never_dropped_silently() -> None:
    """A missing or unknown member, or a member of another kind, is refused."""
    body = dict(canonical.decode(TRUST.to_bytes(), limit=TRUST_LIMIT))
    wrong: list[Any] = [{k: v for k, v in body.items() if k != name} for name in body]
    wrong += [body | {name: value} for name in body for value in (None, 7, "x", [None], {}, [["x"]], True)]
    wrong += [body | {"more": 1}, [], "x", None, 1]
    for changed in wrong:
        if changed == body:
            continue
        with pytest.raises(InvalidError):
            TrustFile.from_bytes(canonical.encode(changed))
    with pytest.raises(TooLargeError):
        TrustFile.from_bytes(b" " * (TRUST_LIMIT + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"log_keys": ()},
        {"log_keys": (NoteKey("other.example", KEYS[0]),)},
        {"log_keys": (NoteKey(ORIGIN, KEYS[0], KeyKind.COSIGNATURE),)},
        {"witness_keys": (NoteKey("witness.example", KEYS[0]),)},
        {"origin": "gw example"},
        {"log_keys": TRUST.log_keys * 20},
    ],
    ids=", ".join,
)
def test_a_key_has_one_purpose(changes: dict[str, Any]) -> None:
    """A log key is named as the origin, a witness key is a cosignature key, and there is at least one log key."""
    with pytest.raises(InvalidError):
        replace(TRUST, **changes)


def test_the_pinned_checkpoint_only_moves_forward() -> None:
    """A newer one replaces it; an older one, another of the same size, or one of another log does not."""
    newer = Checkpoint(ORIGIN, 11, Digest.of(b"newer"))
    assert TRUST.advanced(newer).last_seen == LastSeen(11, Digest.of(b"newer"))
    assert TRUST.advanced(Checkpoint(ORIGIN, 10, Digest.of(b"root"))) == TRUST
    for wrong in (
        Checkpoint(ORIGIN, 9, Digest.of(b"root")),
        Checkpoint(ORIGIN, 10, Digest.of(b"another")),
        Checkpoint("other.example", 11, Digest.of(b"newer")),
    ):
        with pytest.raises(ConflictError):
            TRUST.advanced(wrong)


def test_the_empty_root_belongs_to_size_zero() -> None:
    """A pin that could match anything is refused."""
    for size, root in ((0, Digest.of(b"root")), (5, LastSeen().root), (-1, LastSeen().root)):
        with pytest.raises(InvalidError):
            LastSeen(size, root)
