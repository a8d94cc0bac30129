"""Receipts: one entry, proven offline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from audit.archive import Opening
from audit.note import NoteKey
from audit.published import PublishedLog
from audit.receipt import RECEIPT_LIMIT, LeafOpening, Receipt, write_receipt
from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError
from kernel.signing import Ed25519Signer


def receipt_of(made: Any, opening: Opening, size: int = 300) -> Receipt:
    """Make the receipt of one entry under the newest checkpoint."""
    tree = PublishedLog(made.log, made.tiles).tree(size)
    return write_receipt(opening.index, LeafOpening(opening.payload, opening.salt), tree, made.log.newest_checkpoint())


def openings(made: Any) -> list[Opening]:
    """All openings of the first tenant."""
    return list(made.log.openings(made.ids[0], 0, 1000, 300))


def test_a_receipt_proves_the_entry_it_holds(published: Any) -> None:
    """For every entry of the tenant: index, payload and checkpoint are those of the log."""
    for opening in openings(published):
        receipt = Receipt.from_bytes(receipt_of(published, opening).to_bytes())
        shown = receipt.verify(origin=published.key.name, log_keys=[published.key])
        assert shown.index == opening.index
        assert shown.checkpoint.size == 300
        assert shown.leaf_hash == published.log.entries()[opening.index].leaf_hash
        assert shown.payload.id == published.log.entries()[opening.index].id


def test_a_receipt_looks_as_the_specification_says(published: Any) -> None:
    """Header, extra, index, hashes, an empty line, the checkpoint as it stands."""
    opening = openings(published)[3]
    written = receipt_of(published, opening).to_bytes()
    head, _, note = written.partition(b"\n\n")
    lines = head.split(b"\n")
    assert lines[0] == b"c2sp.org/tlog-proof@v1"
    assert lines[1].startswith(b"extra ")
    assert lines[2] == b"index %d" % opening.index
    assert len(lines) == 3 + 9
    assert note == published.log.newest_checkpoint()


def test_a_receipt_without_an_opening_is_verified_by_leaf_hash(published: Any) -> None:
    """Whoever knows the leaf's hash needs no opening; whoever does not is told that it is missing."""
    opening = openings(published)[0]
    bare = replace(receipt_of(published, opening), extra=None)
    assert Receipt.from_bytes(bare.to_bytes()) == bare
    hashed = published.log.entries()[opening.index].leaf_hash
    pins = {"origin": published.key.name, "log_keys": [published.key]}
    assert bare.verify_leaf(hashed, **pins).size == 300
    with pytest.raises(CorruptError):
        bare.verify(**pins)
    with pytest.raises(CorruptError):
        bare.verify_leaf(Digest.of(b"another leaf"), **pins)


def test_every_changed_byte_of_a_receipt_is_noticed(published: Any) -> None:
    """Each byte, one bit each: the receipt is malformed or proves nothing."""
    written = receipt_of(published, openings(published)[7]).to_bytes()
    for place in range(len(written)):
        changed = bytearray(written)
        changed[place] ^= 1 << place % 8
        with pytest.raises(PrivgateError):
            Receipt.from_bytes(bytes(changed)).verify(origin=published.key.name, log_keys=[published.key])


def test_a_receipt_is_judged_by_the_pinned_key_alone(published: Any) -> None:
    """A log of another operator with the same name proves nothing."""
    receipt = receipt_of(published, openings(published)[0])
    stranger = NoteKey(published.key.name, Ed25519Signer(b"x" * 32).public_key)
    for origin, keys in (
        (published.key.name, [stranger]),
        ("other.example", [published.key]),
        (published.key.name, []),
    ):
        with pytest.raises(CorruptError):
            receipt.verify(origin=origin, log_keys=keys)


def test_the_opening_of_another_entry_does_not_pass(published: Any) -> None:
    """Openings and indices of two receipts cannot be exchanged."""
    first, second = (receipt_of(published, opening) for opening in openings(published)[:2])
    for mixed in (
        replace(first, extra=second.extra),
        replace(first, index=second.index),
        replace(first, proof=second.proof),
    ):
        with pytest.raises(CorruptError):
            mixed.verify(origin=published.key.name, log_keys=[published.key])


def test_what_is_not_a_receipt_is_refused(published: Any) -> None:
    """Another header, no index, a hash of another size, too many bytes."""
    written = receipt_of(published, openings(published)[0]).to_bytes()
    for data in (
        b"",
        written.replace(b"@v1", b"@v2"),
        written.replace(b"index 0\n", b""),
        written.replace(b"index 0\n", b"index 00\n"),
        written.replace(b"\n\n", b"\nAAAA\n\n", 1),
        written.replace(b"extra ", b"extra  "),
    ):
        with pytest.raises(InvalidError):
            Receipt.from_bytes(data)
    with pytest.raises(TooLargeError):
        Receipt.from_bytes(b"x" * (RECEIPT_LIMIT + 1))
