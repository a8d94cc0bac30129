"""Signed notes: text with Ed25519 signatures by named keys.

Rules
-----
1. A text is trusted only after a signature by a key the caller pinned; opening returns the text or raises.
2. A pinned key's signature that fails rejects the whole note, whatever else is on it.
3. Signatures by other keys are no evidence. They are counted, so that a strict reader can say he cannot check them.
4. One note has one spelling: strict UTF-8, strict base64, no control characters.

Reference: C2SP signed-note (type 0x01) and tlog-cosignature (type 0x04).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from kernel.checks import matching
from kernel.errors import CorruptError, InvalidError, TooLargeError
from kernel.signing import PublicKey, Signer, unbase64

NOTE_LIMIT = 64 * 1024
MOST_SIGNATURES = 32
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,200}")
_VKEY = re.compile(r"([^\s+]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{1,100})")
_LINE = re.compile(r"— (\S+) (\S+)")
_ID_SIZE, _SIGNATURE_SIZE, _STAMP_SIZE = 4, 64, 8


class KeyKind(IntEnum):
    """What a note key signs, as its type byte says."""

    ED25519 = 1
    COSIGNATURE = 4


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A named public key for notes.

    Attributes:
        name: Who signs; without white space and `+`. A log's key is named as its origin.
        public_key: The Ed25519 key.
        kind: What it signs.
    """

    name: str
    public_key: PublicKey
    kind: KeyKind = KeyKind.ED25519

    def __post_init__(self) -> None:
        matching(_NAME, "must have 1 to 200 characters without white space and `+`", name=self.name)

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that a signature line names the key with."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed).digest()[:_ID_SIZE]

    def written(self) -> str:
        """The key as a verifier key (vkey): name, key id, type and key."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._typed).decode('ascii')}"

    @classmethod
    def parse(cls, written: str) -> NoteKey:
        """Read what `written` writes; raise `InvalidError` for anything else."""
        match = _VKEY.fullmatch(written) if isinstance(written, str) else None
        if match is None:
            raise InvalidError("a verifier key is `name+<8 hex digits>+<base64>`", field="key")
        typed = unbase64(match[3], "key")
        if not typed or typed[0] not in tuple(KeyKind):
            raise InvalidError("a verifier key must be of type 01 (Ed25519) or 04 (cosignature)", field="key")
        key = cls(match[1], PublicKey(typed[1:]), KeyKind(typed[0]))
        if key.key_id.hex() != match[2]:
            raise InvalidError("the verifier key's id does not fit its name and key", field="key")
        return key

    @property
    def _typed(self) -> bytes:
        return bytes([self.kind]) + self.public_key.raw


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line."""

    name: str
    key_id: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends in a newline, and its signature lines; unverified."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Write the note."""
        lines = (f"— {s.name} {base64.b64encode(s.key_id + s.value).decode('ascii')}\n" for s in self.signatures)
        return (self.text + "\n" + "".join(lines)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Note:
        """Read a note strictly; raise `InvalidError` or `TooLargeError`."""
        if len(data) > NOTE_LIMIT:
            raise TooLargeError(f"a note has at most {NOTE_LIMIT} bytes")
        try:
            written = data.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidError("a note is UTF-8 text") from None
        if any(character < " " and character != "\n" for character in written):
            raise InvalidError("a note has no control characters")
        text, gap, tail = written.rpartition("\n\n")
        if not gap or not tail.endswith("\n"):
            raise InvalidError("a note is a text, an empty line and signature lines")
        lines = tail[:-1].split("\n")
        if len(lines) > MOST_SIGNATURES:
            raise TooLargeError(f"a note has at most {MOST_SIGNATURES} signatures")
        return cls(text + "\n", tuple(_signature(line) for line in lines))


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A text that was verified, and what signed it.

    Attributes:
        text: The signed text.
        signed_by: The pinned keys whose signature was verified.
        unknown: How many signature lines belong to no pinned key.
    """

    text: str
    signed_by: tuple[NoteKey, ...]
    unknown: int


def sign_note(text: str, name: str, *signers: Signer) -> bytes:
    """Sign a text (ending in a newline) in the name given; two signers while a key is being rotated."""
    if not text.endswith("\n"):
        raise InvalidError("a note's text ends in a newline", field="text")
    message = text.encode()
    keys = [(NoteKey(name, signer.public_key), signer) for signer in signers]
    note = Note(text, tuple(NoteSignature(name, key.key_id, signer.sign(message)) for key, signer in keys))
    Note.from_bytes(note.to_bytes())
    return note.to_bytes()


def open_note(data: bytes, keys: Iterable[NoteKey]) -> OpenedNote:
    """Return the text if at least one of the keys signed it.

    Raises:
        InvalidError, TooLargeError: Not a note.
        CorruptError: A signature by one of the keys fails, or there is none by any of them.
    """
    note = Note.from_bytes(data)
    pinned = {(key.name, key.key_id): key for key in keys}
    signed_by, unknown = [], 0
    for signature in note.signatures:
        key = pinned.get((signature.name, signature.key_id))
        if key is None:
            unknown += 1
        else:
            _verify(key, signature.value, note.text.encode())
            signed_by.append(key)
    if not signed_by:
        raise CorruptError("no pinned key signed this note")
    return OpenedNote(note.text, tuple(signed_by), unknown)


def cosign(text: str, name: str, signer: Signer, seconds: int) -> NoteSignature:
    """Make a witness's signature line: that at this POSIX time the checkpoint was the newest it had seen."""
    key = NoteKey(name, signer.public_key, KeyKind.COSIGNATURE)
    stamp = seconds.to_bytes(_STAMP_SIZE, "big")
    return NoteSignature(name, key.key_id, stamp + signer.sign(_cosigned(text.encode(), stamp)))


def _verify(key: NoteKey, value: bytes, text: bytes) -> None:
    if key.kind is KeyKind.COSIGNATURE:
        stamp, value = value[:_STAMP_SIZE], value[_STAMP_SIZE:]
        text = _cosigned(text, stamp)
    if len(value) != _SIGNATURE_SIZE:
        raise CorruptError("an Ed25519 signature has 64 bytes")
    key.public_key.verify(value, text)


def _cosigned(text: bytes, stamp: bytes) -> bytes:
    return b"cosignature/v1\ntime %d\n%s" % (int.from_bytes(stamp, "big"), text)


def _signature(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    if match is None or _NAME.fullmatch(match[1]) is None:
        raise InvalidError("a signature line is an em dash, a name and base64")
    value = unbase64(match[2], "signature")
    if len(value) <= _ID_SIZE:
        raise InvalidError("a signature line holds a key id and a signature")
    return NoteSignature(match[1], value[:_ID_SIZE], value[_ID_SIZE:])
