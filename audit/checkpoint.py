"""The checkpoint: origin, size and root of the tree, signed by the log.

Rules
-----
1. Exactly three lines. Extension lines are refused: nobody could audit what they say.
2. It is trusted only under a pinned key that is named as the origin, and only for that origin.
3. It carries no time. What orders history is the tree.

Reference: C2SP tlog-checkpoint.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from audit.merkle import EMPTY_ROOT
from audit.note import KeyKind, Note, NoteKey, OpenedNote, open_note, sign_note
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.checks import matching, whole
from kernel.errors import CorruptError, InvalidError
from kernel.signing import Signer, unbase64

_ORIGIN = re.compile(r"[^\s+\x00-\x1f\x7f]{1,200}")
_TEXT = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/=]{44})\n")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head of one log."""

    origin: str
    size: int
    root: Digest

    def __post_init__(self) -> None:
        matching(_ORIGIN, "must have 1 to 200 characters without white space and `+`", origin=self.origin)
        whole(0, LARGEST_INTEGER, size=self.size)
        if self.size == 0 and self.root.raw != EMPTY_ROOT:
            raise InvalidError("an empty tree has the empty root", field="root")

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root.raw).decode('ascii')}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read what `text` writes; raise `InvalidError` for anything else."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InvalidError("a checkpoint has three lines: origin, size and root", field="checkpoint")
        return cls(match[1], int(match[2]), Digest.from_raw(unbase64(match[3], "root")))


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint whose signatures were verified, and by which keys."""

    checkpoint: Checkpoint
    note: OpenedNote


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> bytes:
    """Sign a checkpoint in the log's name."""
    return sign_note(checkpoint.text, checkpoint.origin, *signers)


def verify_checkpoint(
    note: bytes, *, origin: str, log_keys: Iterable[NoteKey], witnesses: Iterable[NoteKey] = ()
) -> VerifiedCheckpoint:
    """Return the checkpoint if a pinned key of the log signed it.

    Args:
        note: The signed note.
        origin: The log that it must be of.
        log_keys: The log's pinned keys; at least one must have signed.
        witnesses: Keys whose cosignatures are verified where present; whether they must be there is the caller's rule.

    Raises:
        InvalidError, TooLargeError: Not a signed checkpoint.
        CorruptError: Of another log, or a signature by a pinned key fails, or none of the log's keys signed.
    """
    opened = open_note(note, [*log_keys, *witnesses])
    if not any(key.kind is KeyKind.ED25519 and key.name == origin for key in opened.signed_by):
        raise CorruptError("no pinned key of the log signed this checkpoint")
    checkpoint = Checkpoint.parse(opened.text)
    if checkpoint.origin != origin:
        raise CorruptError("the checkpoint is of another log")
    return VerifiedCheckpoint(checkpoint, opened)


def read_unverified(note: bytes) -> Checkpoint:
    """Read a checkpoint without its signatures: only for a reader who tells the person in front of him so."""
    return Checkpoint.parse(Note.from_bytes(note).text)
