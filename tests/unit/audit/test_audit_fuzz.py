"""Every parser of the log, fed with anything: a PrivgateError or a value that writes itself back; nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.archive import Archive, Opening
from audit.checkpoint import Checkpoint, read_unverified, verify_checkpoint
from audit.entry import parse_leaf, parse_payload, write_leaf
from audit.merkle import Frontier
from audit.note import Note, NoteKey
from audit.published import PublishedLog
from audit.receipt import LeafOpening, Receipt, write_receipt
from audit.tiles import Tile, decode_bundle, encode_bundle
from audit.trust import TrustFile
from audit.verify import Outcome, verify_directory
from kernel.errors import PrivgateError

EXAMPLES = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@st.composite
def mangled(draw: st.DrawFn, valid: bytes) -> bytes:
    """Valid bytes with a few edits, or no valid bytes at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(valid)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            data[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == 1:
            del data[place : place + draw(st.integers(1, 30))]
        elif kind == 2:
            data[place:place] = draw(
                st.binary(max_size=12) | st.sampled_from([b"\n", b'"', b"{", b"[" * 99, b"\xff", b"-", b"9" * 99])
            )
        else:
            data = data[:place]
    return bytes(data)


def _leaf(data: bytes) -> bytes:
    leaf = parse_leaf(data)
    return write_leaf(leaf.commitment, leaf.id, leaf.seq, leaf.tenant)


def _payload(data: bytes) -> bytes:
    parse_payload(data)
    return data


def _checkpoint(data: bytes) -> bytes:
    text = read_unverified(data).text
    return data if data.startswith(text.encode()) else b"another text"


PARSERS: dict[str, Callable[[bytes], bytes]] = {
    "note": lambda data: Note.from_bytes(data).to_bytes(),
    "checkpoint": _checkpoint,
    "checkpoint text": lambda data: Checkpoint.parse(data.decode("latin-1")).text.encode("latin-1"),
    "key": lambda data: NoteKey.parse(data.decode("latin-1")).written().encode("latin-1"),
    "receipt": lambda data: Receipt.from_bytes(data).to_bytes(),
    "opening": lambda data: LeafOpening.from_bytes(data).to_bytes(),
    "leaf": _leaf,
    "payload": _payload,
    "bundle": lambda data: encode_bundle(decode_bundle(data, 44)),
    "line": lambda data: Opening.parse(data).line(),
    "path": lambda data: Tile.parse(data.decode("latin-1")).path.encode("latin-1"),
    "frontier": lambda data: Frontier.from_bytes(300, data).to_bytes(),
}


@pytest.fixture(scope="module")
def valid(published: Any) -> dict[str, bytes]:
    """One valid example for each parser."""
    made = published
    note = made.log.newest_checkpoint()
    opening = made.log.openings(made.ids[0], 3, 1, 300)[0]
    shown = LeafOpening(opening.payload, opening.salt)
    log = PublishedLog(made.log, made.tiles)
    return {
        "note": note,
        "checkpoint": note,
        "checkpoint text": read_unverified(note).text.encode(),
        "key": made.key.written().encode(),
        "receipt": write_receipt(opening.index, shown, log.tree(300), note).to_bytes(),
        "opening": shown.to_bytes(),
        "leaf": shown.leaf,
        "payload": opening.payload,
        "bundle": log.read(Tile(-1, 1, 44)),
        "line": opening.line(),
        "path": b"tile/0/x001/234.p/17",
        "frontier": made.log.tree().to_bytes(),
    }


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_refuses_or_reads_what_it_would_write(valid: dict[str, bytes], name: str) -> None:
    """On valid bytes, edited bytes and noise."""
    assert PARSERS[name](valid[name]) == valid[name]

    @EXAMPLES
    @given(mangled(valid[name]))
    def check(data: bytes) -> None:
        try:
            again = PARSERS[name](data)
        except PrivgateError:
            return
        assert again == data

    check()


def test_the_trust_parser_refuses_or_reads_an_equal_file(published: Any) -> None:
    """Its JSON need not be canonical, so that the values are compared."""
    written = published.trust().to_bytes()

    @EXAMPLES
    @given(mangled(written))
    def check(data: bytes) -> None:
        try:
            trust = TrustFile.from_bytes(data)
        except PrivgateError:
            return
        assert TrustFile.from_bytes(trust.to_bytes()) == trust

    check()


def test_no_note_verifies_but_the_one_that_was_signed(published: Any) -> None:
    """Edited notes are refused, or they still say what was signed."""
    made, note = published, published.log.newest_checkpoint()

    @EXAMPLES
    @given(mangled(note))
    def check(data: bytes) -> None:
        try:
            verified = verify_checkpoint(data, origin=made.key.name, log_keys=[made.key])
        except PrivgateError:
            return
        assert verified.checkpoint == read_unverified(note)

    check()


def test_the_verifier_answers_whatever_lies_in_the_archive(published: Any, tmp_path: Path) -> None:
    """Several files edited at once: an answer, never an exception, and VERIFIED only if nothing was changed."""
    pristine = published.export(tmp_path / "pristine")
    names = sorted(pristine.files)
    contents = {name: (pristine.root / "audit" / name).read_bytes() for name in names}
    trust = published.trust()

    @settings(EXAMPLES, max_examples=60)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        work = tmp_path / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(pristine.root, work)
        changed = False
        for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)):
            written = data.draw(mangled(contents[name]))
            changed = changed or written != contents[name]
            (work / "audit" / name).write_bytes(written)
        found = verify_directory(work, trust)
        assert (found.outcome is Outcome.VERIFIED) == (not changed)
        try:
            list(Archive.open(work).entries())
        except PrivgateError:
            assert changed

    check()
