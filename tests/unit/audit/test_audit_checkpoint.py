"""Checkpoints: three lines, one log, one pinned key."""

from __future__ import annotations

import pytest

from audit.checkpoint import Checkpoint, read_unverified, sign_checkpoint, verify_checkpoint
from audit.merkle import EMPTY_ROOT
from audit.note import NoteKey, sign_note
from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError
from kernel.signing import Ed25519Signer

ORIGIN = "gw.example/audit"
SIGNER = Ed25519Signer(b"s" * 32)
KEY = NoteKey(ORIGIN, SIGNER.public_key)
ROOT = Digest.of(b"a root")
CHECKPOINT = Checkpoint(ORIGIN, 20_852_163, ROOT)


def test_the_published_example_is_read() -> None:
    """The example of the specification gives its three parts, and is written as it stands."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    read = Checkpoint.parse(text)
    assert (read.origin, read.size, read.root.hex[:8]) == ("example.com/behind-the-sofa", 20_852_163, "0ac5186a")
    assert read.text == text


def test_what_the_log_signed_is_verified() -> None:
    """Under the pinned key and for the pinned origin, the checkpoint is what was signed."""
    verified = verify_checkpoint(sign_checkpoint(CHECKPOINT, SIGNER), origin=ORIGIN, log_keys=[KEY])
    assert verified.checkpoint == CHECKPOINT
    assert verified.note.unknown == 0


def test_a_checkpoint_of_another_log_or_key_is_refused() -> None:
    """Another origin, another key, or the log's key over another log's text: each is refused."""
    note = sign_checkpoint(CHECKPOINT, SIGNER)
    stranger = NoteKey(ORIGIN, Ed25519Signer(b"x" * 32).public_key)
    foreign = sign_note(Checkpoint("other.example", 1, ROOT).text, ORIGIN, SIGNER)
    elsewhere = NoteKey("other.example", SIGNER.public_key)
    for data, origin, keys in (
        (note, ORIGIN, [stranger]),
        (note, "other.example", [KEY]),
        (foreign, ORIGIN, [KEY]),
        (sign_note(CHECKPOINT.text, "other.example", SIGNER), ORIGIN, [elsewhere]),
    ):
        with pytest.raises(CorruptError):
            verify_checkpoint(data, origin=origin, log_keys=keys)


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n1\n",
        f"{ORIGIN}\n01\n{'A' * 43}=\n",
        f"{ORIGIN}\n-1\n{'A' * 43}=\n",
        f"{ORIGIN}\n1\n{'A' * 44}\n",
        f"{ORIGIN}\n1\n{'A' * 42}B=\n",
        f"{ORIGIN}\n1\n{'A' * 43}=\nextension\n",
        f"\n1\n{'A' * 43}=\n",
        f"a b\n1\n{'A' * 43}=\n",
        f"a+b\n1\n{'A' * 43}=\n",
        f"{ORIGIN}\n9007199254740992\n{'A' * 43}=\n",
        f"{ORIGIN}\n\u0663\n{'A' * 43}=\n",
        f"{ORIGIN}\n1\n{'A' * 43}=",
        f"{ORIGIN}\n0\n{'A' * 43}=\n",
        "",
    ],
    ids=repr,
)
def test_what_is_not_a_checkpoint_is_refused(text: str) -> None:
    """Missing, extra or misspelt lines, sizes beyond 2^53, and a size 0 with another root than the empty one."""
    with pytest.raises(InvalidError):
        Checkpoint.parse(text)


def test_the_empty_log_has_a_checkpoint() -> None:
    """Size 0 with the empty root."""
    empty = Checkpoint(ORIGIN, 0, Digest.from_raw(EMPTY_ROOT))
    assert read_unverified(sign_checkpoint(empty, SIGNER)) == empty
