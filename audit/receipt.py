"""The receipt: offline proof that one entry is in the log, and what it says.

Rules
-----
1. A receipt is judged by the pinned keys of the log alone; nothing in it is believed before the proof leads to a root
   that they signed.
2. The opening in it is made into a leaf and hashed; it is the proof that authenticates it, not its presence.
3. Reading is strict, verification returns or raises.

Format: C2SP tlog-proof; `docs/formats/receipt.md`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass

from audit.checkpoint import Checkpoint, verify_checkpoint
from audit.entry import PAYLOAD_LIMIT, SALT_SIZE, Payload, commitment, parse_payload, write_leaf
from audit.merkle import HASH_SIZE, leaf_hash
from audit.note import NoteKey
from audit.proofs import LONGEST_PROOF, Proof, inclusion_proof, verify_inclusion
from audit.tiles import TileTree
from kernel import canonical
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.checks import size, whole
from kernel.errors import CorruptError, InvalidError, TooLargeError
from kernel.signing import unbase64

HEADER = "c2sp.org/tlog-proof@v1"
RECEIPT_LIMIT = 256 * 1024
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class LeafOpening:
    """Payload and salt of one entry: from them anybody can make its leaf."""

    payload: bytes
    salt: bytes

    def __post_init__(self) -> None:
        size(SALT_SIZE, salt=self.salt)

    @property
    def leaf(self) -> bytes:
        """The leaf they belong to; raise `InvalidError` if the payload is malformed."""
        header = parse_payload(self.payload)
        return write_leaf(commitment(self.payload, self.salt), header.id, header.seq, header.tenant)

    def to_bytes(self) -> bytes:
        """Write payload and salt as canonical JSON."""
        return b'{"payload":%s,"salt":"%s"}' % (self.payload, base64.b64encode(self.salt))

    @classmethod
    def from_bytes(cls, data: bytes) -> LeafOpening:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        body = canonical.decode(data, limit=PAYLOAD_LIMIT + 128, canonical=True)
        if not isinstance(body, dict) or set(body) != {"payload", "salt"}:
            raise InvalidError("an opening has `payload` and `salt`", field="extra")
        return cls(canonical.encode(body["payload"]), unbase64(body["salt"], "salt"))


@dataclass(frozen=True, slots=True)
class ReceiptedEntry:
    """What a verified receipt shows: this entry, at this index, under this checkpoint."""

    index: int
    leaf_hash: Digest
    payload: Payload
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Receipt:
    """An inclusion proof with its checkpoint; `extra` is the opening, unauthenticated by itself."""

    index: int
    proof: Proof
    note: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        whole(0, LARGEST_INTEGER, index=self.index)
        whole(0, LONGEST_PROOF, proof=len(self.proof))
        for hashed in self.proof:
            size(HASH_SIZE, hash=hashed)

    def to_bytes(self) -> bytes:
        """Write the receipt."""
        extra = [] if self.extra is None else [f"extra {_base64(self.extra)}"]
        lines = [HEADER, *extra, f"index {self.index}", *map(_base64, self.proof), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def from_bytes(cls, data: bytes) -> Receipt:
        """Read a receipt; raise `InvalidError` or `TooLargeError` otherwise."""
        if len(data) > RECEIPT_LIMIT:
            raise TooLargeError(f"a receipt has at most {RECEIPT_LIMIT} bytes")
        head, gap, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise InvalidError("a receipt begins with ASCII lines") from None
        if not gap or lines.pop(0) != HEADER:
            raise InvalidError(f"a receipt begins with `{HEADER}`")
        extra = unbase64(lines.pop(0)[6:], "extra") if lines and lines[0].startswith("extra ") else None
        match = _INDEX.fullmatch(lines.pop(0)) if lines else None
        if match is None:
            raise InvalidError("a receipt names the entry's index", field="index")
        return cls(int(match[1]), tuple(unbase64(line, "proof") for line in lines), note, extra)

    def verify_leaf(self, hashed: Digest, *, origin: str, log_keys: Iterable[NoteKey]) -> Checkpoint:
        """Return the checkpoint under which the leaf with that hash is in the log.

        Raises:
            PrivgateError: The checkpoint is not the log's, or the proof does not lead to its root.
        """
        checkpoint = verify_checkpoint(self.note, origin=origin, log_keys=log_keys).checkpoint
        verify_inclusion(hashed.raw, self.index, checkpoint.size, self.proof, checkpoint.root.raw)
        return checkpoint

    def verify(self, *, origin: str, log_keys: Iterable[NoteKey]) -> ReceiptedEntry:
        """Return the entry that the receipt proves.

        Raises:
            PrivgateError: There is no opening, it is malformed, or `verify_leaf` fails for its leaf.
        """
        if self.extra is None:
            raise CorruptError("the receipt does not hold the entry's opening", field="extra")
        opening = LeafOpening.from_bytes(self.extra)
        hashed = Digest.from_raw(leaf_hash(opening.leaf))
        checkpoint = self.verify_leaf(hashed, origin=origin, log_keys=log_keys)
        return ReceiptedEntry(self.index, hashed, parse_payload(opening.payload), checkpoint)


def write_receipt(index: int, opening: LeafOpening, tree: TileTree, note: bytes) -> Receipt:
    """Make the receipt of the entry at `index`, under the checkpoint of the tree's size.

    Args:
        index: The entry's index; it is integrated and below the tree's size.
        opening: The entry's payload and salt.
        tree: The nodes of the tree at the checkpoint's size (`PublishedLog.tree`).
        note: The signed checkpoint of that size.
    """
    return Receipt(index, inclusion_proof(index, tree.size, tree.node), note, opening.to_bytes())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
