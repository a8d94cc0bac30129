"""Signed notes, verifier keys and cosignatures."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from audit.note import MOST_SIGNATURES, NOTE_LIMIT, KeyKind, Note, NoteKey, NoteSignature, cosign, open_note, sign_note
from kernel.errors import CorruptError, InvalidError, TooLargeError
from kernel.signing import Ed25519Signer

TEXT = "gw.example/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
LOG, OTHER = Ed25519Signer(b"l" * 32), Ed25519Signer(b"o" * 32)
KEY = NoteKey("gw.example/audit", LOG.public_key)
OTHER_KEY = NoteKey("other.example", OTHER.public_key)

# From the documentation of golang.org/x/mod/sumdb/note (BSD-3-Clause).
PUBLISHED_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def test_a_published_note_opens_under_its_published_key() -> None:
    """A note and a key made by another implementation are read as it reads them."""
    key = NoteKey.parse(PUBLISHED_VKEY)
    assert key.written() == PUBLISHED_VKEY
    opened = open_note(PUBLISHED_NOTE, [key])
    assert opened.text.startswith("If you think")
    assert (opened.signed_by, opened.unknown) == ((key,), 0)
    assert Note.from_bytes(PUBLISHED_NOTE).to_bytes() == PUBLISHED_NOTE


def test_signing_then_opening_returns_the_text() -> None:
    """With one signer, and with two while a key is rotated: either key alone is enough."""
    note = sign_note(TEXT, KEY.name, LOG)
    assert open_note(note, [KEY]).text == TEXT
    rotated = NoteKey(KEY.name, OTHER.public_key)
    both = sign_note(TEXT, KEY.name, LOG, OTHER)
    for keys in ([KEY], [rotated], [rotated, KEY]):
        opened = open_note(both, keys)
        assert opened.text == TEXT
        assert opened.unknown == 2 - len(keys)


def test_a_note_by_nobody_known_is_refused() -> None:
    """Neither another key, nor the right key under another name, nor no key opens a note."""
    note = sign_note(TEXT, KEY.name, LOG)
    for keys in ([], [OTHER_KEY], [NoteKey("elsewhere", LOG.public_key)], [replace(KEY, kind=KeyKind.COSIGNATURE)]):
        with pytest.raises(CorruptError):
            open_note(note, keys)


def test_one_failing_pinned_signature_rejects_the_note() -> None:
    """A good signature beside it does not save it."""
    good = Note.from_bytes(sign_note(TEXT, KEY.name, LOG))
    bad = NoteSignature(OTHER_KEY.name, OTHER_KEY.key_id, bytes(64))
    note = Note(TEXT, (*good.signatures, bad)).to_bytes()
    assert open_note(note, [KEY]).unknown == 1
    with pytest.raises(CorruptError):
        open_note(note, [KEY, OTHER_KEY])


def test_every_changed_byte_of_a_note_is_noticed() -> None:
    """Whichever byte is changed in whichever bit, the note no longer opens."""
    note = sign_note(TEXT, KEY.name, LOG)
    for place in range(len(note)):
        for bit in range(8):
            changed = bytearray(note)
            changed[place] ^= 1 << bit
            with pytest.raises((CorruptError, InvalidError)):
                open_note(bytes(changed), [KEY])


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash\n",
        b"text\n\n\xe2\x80\x94 name\n",
        b"\xff\n\n\xe2\x80\x94 n AAAAAAA=\n",
        "text\n\n— n AAAAAAA=".encode(),
        "te\rxt\n\n— n AAAAAAA=\n".encode(),
        "text\n\n— n+m AAAAAAA=\n".encode(),
        "text\n\n— n AAAAAAB=\n".encode(),
        "text\n\n— n AAAA\n".encode(),
        "text\n\n—  AAAAAAA=\n".encode(),
        "text\n\n— n AAAAAAA= \n".encode(),
        b"text\n\n- n AAAAAAA=\n",
    ],
    ids=repr,
)
def test_what_is_not_a_note_is_refused(note: bytes) -> None:
    """A missing part, a control character, a plus in a name, stray base64 bits: each is refused."""
    with pytest.raises(InvalidError):
        Note.from_bytes(note)


def test_the_text_may_have_empty_lines() -> None:
    """The last empty line separates text and signatures."""
    note = sign_note("a\n\nb\n", "n", LOG)
    assert open_note(note, [NoteKey("n", LOG.public_key)]).text == "a\n\nb\n"


def test_a_note_is_bounded() -> None:
    """By its bytes and by its signature lines."""
    line = NoteSignature("n", b"1234", b"s")
    Note.from_bytes(Note(TEXT, (line,) * MOST_SIGNATURES).to_bytes())
    with pytest.raises(TooLargeError):
        Note.from_bytes(Note(TEXT, (line,) * (MOST_SIGNATURES + 1)).to_bytes())
    with pytest.raises(TooLargeError):
        Note.from_bytes(b"a" * (NOTE_LIMIT + 1))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "name",
        "name+00000000",
        KEY.written()[:-1],
        KEY.written() + "\n",
        KEY.written().replace("+", "-", 1),
        KEY.written().replace("gw", "gx"),
        "n+00000000+" + base64.b64encode(bytes([2, *range(32)])).decode(),
        "n+00000000+",
        7,
        None,
    ],
    ids=repr,
)
def test_what_is_not_a_verifier_key_is_refused(written: object) -> None:
    """A wrong id, another algorithm, stray text: each is refused."""
    with pytest.raises(InvalidError):
        NoteKey.parse(written)


def test_a_cosignature_binds_text_and_time() -> None:
    """A witness's line opens under its key; another time or another text does not."""
    witness = NoteKey("witness.example", OTHER.public_key, KeyKind.COSIGNATURE)
    assert NoteKey.parse(witness.written()) == witness
    line = cosign(TEXT, witness.name, OTHER, 1_764_000_000)
    log_line = Note.from_bytes(sign_note(TEXT, KEY.name, LOG)).signatures
    opened = open_note(Note(TEXT, (*log_line, line)).to_bytes(), [KEY, witness])
    assert opened.signed_by == (KEY, witness)
    later = replace(line, value=(1_764_000_001).to_bytes(8, "big") + line.value[8:])
    short = replace(line, value=line.value[:-1])
    plain = replace(line, value=bytes(8) + OTHER.sign(TEXT.encode()))
    for wrong in (later, short, plain):
        with pytest.raises(CorruptError):
            open_note(Note(TEXT, (*log_line, wrong)).to_bytes(), [KEY, witness])


def test_the_published_cosignature_layout_is_what_is_signed() -> None:
    """Header, time line and note body, as tlog-cosignature writes them."""
    line = cosign("example.com/behind-the-sofa\n", "w", OTHER, 1_679_315_147)
    OTHER.public_key.verify(line.value[8:], b"cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n")
