"""The log verifier: one test per step, and the attacks it exists for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.archive import Archive, Opening
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.entry import commitment, compose, parse_payload, write_leaf
from audit.events import LogRead, ReadScope
from audit.findings import Verdict
from audit.merkle import Frontier, leaf_hash
from audit.note import KeyKind, Note, NoteKey, cosign
from audit.tiles import Tile, decode_bundle, encode_bundle
from audit.trust import LastSeen
from audit.verify import LogVerification, Outcome, verify_directory, verify_log
from kernel.canonical import Digest
from kernel.ids import EntryId
from kernel.signing import Ed25519Signer


@pytest.fixture
def copy(published: Any, tmp_path: Path) -> Path:
    """A fresh archive of the first tenant (100 of 300 entries)."""
    published.export(tmp_path)
    return tmp_path


def verdicts(verification: LogVerification) -> dict[int, Verdict]:
    """The steps that are not OK."""
    return {step.number: step.verdict for step in verification.steps if step.verdict is not Verdict.OK}


def places(verification: LogVerification, step: int) -> list[str]:
    """The locations of one step, in words."""
    return [str(location) for location in verification.steps[step - 1].locations]


def test_an_untouched_archive_is_verified(published: Any, copy: Path) -> None:
    """Every step is OK, also against a pinned checkpoint, and the answer says what was looked at."""
    for pinned in (None, Checkpoint(published.key.name, 300, published.log.tree().root)):
        found = verify_log(Archive.open(copy), published.trust(pinned))
        assert found.outcome is Outcome.VERIFIED
        assert [step.number for step in found.steps] == list(range(1, 10))
        assert (found.entries, found.tenant) == (100, published.ids[0])
        assert found.checkpoint is not None
        assert found.checkpoint.size == 300


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513, 1001])
def test_archives_of_every_shape_are_verified(make_world: Any, tmp_path: Path, size: int) -> None:
    """Empty, full and partial tiles, one and several payload files; pinned at every tenth size on the way."""
    made, pins = make_world(tenants=1), []
    sequencer = made.sequencer(batch=max(1, size // 10))
    if size:
        made.write(0, size)
    while (checkpoint := sequencer.step()) is not None:
        pins.append(checkpoint)
    archive = made.export(tmp_path)
    for pinned in pins:
        assert verify_log(archive, made.trust(pinned)).outcome is Outcome.VERIFIED


def test_without_a_trust_file_nothing_is_anchored(published: Any, copy: Path) -> None:
    """The other steps are carried out, but the outcome says UNANCHORED; damage still says FAILED."""
    found = verify_log(Archive.open(copy), None)
    assert found.outcome is Outcome.UNANCHORED
    assert verdicts(found) == dict.fromkeys((1, 3, 4), Verdict.CANNOT_TELL)
    assert found.tenant == published.ids[0]
    _flip(copy / "audit/tile/0/000", 100)
    assert verify_log(Archive.open(copy), None).outcome is Outcome.FAILED


def test_step_1_wants_the_trust_file_of_this_tenant(published: Any, copy: Path) -> None:
    """Another tenant's archive does not pass for one's own."""
    found = verify_log(Archive.open(copy), published.trust(tenant=1))
    assert verdicts(found)[1] is Verdict.NOT_OK
    assert found.outcome is Outcome.FAILED


def test_step_2_wants_exactly_the_files_that_belong(published: Any, copy: Path) -> None:
    """Missing, surplus, oversized and linked files are each named."""
    (copy / "audit/tile/1/000.p/1").unlink()
    (copy / "audit/tile/0/001.p/43").write_bytes(b"")
    (copy / "audit/payloads/000001.jsonl").write_bytes(b"")
    (copy / "audit/notes.txt").write_bytes(b"")
    (copy / "audit/link").symlink_to(copy / "audit/checkpoint")
    (copy / "audit/tile/0/000").write_bytes(bytes(8193))
    found = verify_log(Archive.open(copy), published.trust())
    named = " ".join(places(found, 2))
    assert verdicts(found)[2] is Verdict.NOT_OK
    for name in ("tile/1/000.p/1: missing", "001.p/43", "000001.jsonl", "notes.txt", "link", "tile/0/000: longer"):
        assert name in named


def test_step_3_wants_a_pinned_keys_signature(published: Any, copy: Path) -> None:
    """Another key, another origin, no checkpoint, a broken one: NOT OK, and the later steps are still taken."""
    stranger = Ed25519Signer(b"x" * 32)
    for trust in (
        replace(published.trust(), log_keys=(NoteKey(published.key.name, stranger.public_key),)),
        replace(published.trust(), origin="o.example", log_keys=(NoteKey("o.example", published.key.public_key),)),
    ):
        found = verify_log(Archive.open(copy), trust)
        assert verdicts(found) == {3: Verdict.NOT_OK}
    for data in (b"", b"junk", b"\xff" * 100, b"x" * 100_000):
        (copy / "audit/checkpoint").write_bytes(data)
        found = verify_log(Archive.open(copy), published.trust())
        assert verdicts(found) == {3: Verdict.NOT_OK} | dict.fromkeys(range(4, 10), Verdict.CANNOT_TELL)
    (copy / "audit/checkpoint").unlink()
    assert verify_log(Archive.open(copy), published.trust()).outcome is Outcome.FAILED


def test_step_3_wants_every_pinned_witness(published: Any, copy: Path) -> None:
    """Missing: CANNOT TELL. Wrong: NOT OK. Right: OK. A signature nobody can check: CANNOT TELL."""
    signer = Ed25519Signer(b"w" * 32)
    witness = NoteKey("witness.example", signer.public_key, KeyKind.COSIGNATURE)
    trust = replace(published.trust(), witness_keys=(witness,))
    note = Note.from_bytes((copy / "audit/checkpoint").read_bytes())
    line = cosign(note.text, witness.name, signer, 1_764_000_000)
    wrong = replace(line, value=line.value[:-1] + bytes([line.value[-1] ^ 1]))
    for lines, pinned, verdict in (
        ((), trust, Verdict.CANNOT_TELL),
        ((line,), trust, None),
        ((wrong,), trust, Verdict.NOT_OK),
        ((line,), published.trust(), Verdict.CANNOT_TELL),
        ((wrong,), published.trust(), Verdict.CANNOT_TELL),
    ):
        (copy / "audit/checkpoint").write_bytes(replace(note, signatures=(*note.signatures, *lines)).to_bytes())
        assert verdicts(verify_log(Archive.open(copy), pinned)) == ({} if verdict is None else {3: verdict})


def test_step_4_sees_a_rollback_below_the_pinned_checkpoint(make_world: Any, tmp_path: Path) -> None:
    """An honest older export is refused once a newer checkpoint was pinned, and accepted above the pin."""
    made = make_world()
    made.fill(100)
    old = made.export(tmp_path / "old")
    between = made.fill(50)
    pinned = made.fill(50)
    assert verify_log(old, made.trust(pinned)).outcome is Outcome.FAILED
    assert verdicts(verify_log(old, made.trust(pinned))) == {4: Verdict.NOT_OK}
    made.fill(1)
    assert verify_log(made.export(tmp_path / "new"), made.trust(between)).outcome is Outcome.VERIFIED


@pytest.mark.parametrize("pinned", [1, 100, 255, 256, 257, 299, 300])
def test_step_4_sees_a_rewritten_past(published: Any, copy: Path, pinned: int) -> None:
    """The log's own key signs, everything fits together, and still the pinned root tells."""
    trust = replace(published.trust(), last_seen=LastSeen(pinned, Digest.of(b"what it was")))
    assert verdicts(verify_log(Archive.open(copy), trust)) == {4: Verdict.NOT_OK}


def test_a_forgery_signed_again_by_another_key_fails(make_world: Any, tmp_path: Path) -> None:
    """A whole new log with the same origin and tenant, consistent in itself, is refused by the pinned key alone."""
    honest = make_world()
    honest.fill(20)
    forged = make_world(seed="forged")
    forged.ids, forged.signer = honest.ids, Ed25519Signer(b"f" * 32)
    forged.fill(20)
    archive = forged.export(tmp_path)
    assert verdicts(verify_log(archive, honest.trust())) == {3: Verdict.NOT_OK}
    assert verify_log(archive, None).outcome is Outcome.UNANCHORED


def test_a_forgery_signed_by_the_log_itself_fails_below_the_pin_alone(make_world: Any, tmp_path: Path) -> None:
    """The operator rewrites history with the real key: seen if it was pinned before, and not seen if it was not."""
    honest, forged = make_world(), make_world(seed="forged")
    forged.ids = honest.ids
    pinned = honest.fill(20)
    forged.fill(30)
    archive = forged.export(tmp_path)
    assert verdicts(verify_log(archive, honest.trust(pinned))) == {4: Verdict.NOT_OK}
    assert verify_log(archive, honest.trust()).outcome is Outcome.VERIFIED


def test_step_5_tells_an_altered_leaf_from_an_altered_tile(published: Any, copy: Path) -> None:
    """The signed root decides, and the entry or the hash is named."""
    pristine = shutil.copytree(copy, copy / "pristine")
    for name, index, expected in (
        ("tile/entries/000", 77, "audit/tile/entries/000, entry 77: the leaf was altered"),
        ("tile/entries/001.p/44", 299, "audit/tile/entries/001.p/44, entry 299: the leaf was altered"),
        ("tile/0/000", 77, "audit/tile/0/000, entry 77: hash 77 is not that of its leaf"),
        ("tile/0/001.p/44", 256, "audit/tile/0/001.p/44, entry 256: hash 0 is not that of its leaf"),
        ("tile/1/000.p/1", 0, "audit/tile/1/000.p/1: hash 0 is not what the leaves give"),
    ):
        path, is_bundle = copy / "audit" / name, "entries" in name
        data = path.read_bytes()
        if is_bundle:
            _alter_leaf(path, index)
        else:
            _flip(path, 32 * (index % 256) + 7)
        found = verify_log(Archive.open(copy), published.trust())
        assert places(found, 5) == [expected]
        assert found.outcome is Outcome.FAILED
        path.write_bytes(data)
    assert (pristine / "audit/checkpoint").exists()
    assert verify_log(Archive.open(copy), published.trust()).outcome is Outcome.VERIFIED


def test_step_5_finds_damage_in_several_places(published: Any, copy: Path) -> None:
    """A leaf and a tile at once: both are named; the number of places is counted."""
    _alter_leaf(copy / "audit/tile/entries/000", 3)
    _flip(copy / "audit/tile/0/001.p/44", 0)
    found = verify_log(Archive.open(copy), published.trust())
    named = " ".join(places(found, 5))
    assert "entries/000, entry 3" in named
    assert "entry 256" in named
    (copy / "audit/tile/0/000").write_bytes(bytes(8192))
    step = verify_log(Archive.open(copy), published.trust()).steps[4]
    assert len(step.locations) + step.more >= 256


def test_a_cut_bundle_costs_its_own_entries(published: Any, copy: Path) -> None:
    """Each truncation and each swollen length is named from the first entry that cannot be read; others stay OK."""
    path = copy / "audit/tile/entries/001.p/44"
    data = path.read_bytes()
    leaf = len(data) // 44
    for cut in (0, 1, leaf * 10 + 5, len(data) - 1):
        path.write_bytes(data[:cut])
        found = verify_log(Archive.open(copy), published.trust())
        first = 256 + len(_readable(data[:cut]))
        assert f"entry {first}: the leaf cannot be read" in places(found, 5)[0]
    path.write_bytes(data + b"\x00")
    assert "bytes after its last entry" in places(verify_log(Archive.open(copy), published.trust()), 5)[0]


def test_step_6_wants_well_formed_leaves_with_distinct_ids(make_world: Any, tmp_path: Path) -> None:
    """A log that signs a malformed leaf or one id twice is found out."""
    made = make_world(tenants=1)
    made.write(0, 3)
    first = made.log.entries()[0]
    payload = parse_payload(made.log.entries()[2].payload)
    twin = compose(
        LogRead(decision=made.decision, scope=ReadScope.ENTRIES, first=0, count=1),
        entry_id=EntryId(first.id),
        tenant=payload.tenant,
        seq=3,
        time=payload.time,
        actor=payload.actor,
        salt=bytes(32),
    )
    made.log._known.clear()
    made.log.insert(twin, payload.time)
    made.publish()
    found = verify_log(made.export(tmp_path / "twin"), made.trust())
    assert verdicts(found) == {6: Verdict.NOT_OK}
    assert "entry 3: the entry id occurs twice" in places(found, 6)[0]

    made = make_world(tenants=1)
    made.write(0, 3)
    object.__setattr__(made.log._rows[1].entry, "leaf", b"not a leaf")
    made.publish()
    found = verify_log(made.export(tmp_path / "odd"), made.trust())
    assert verdicts(found)[6] is Verdict.NOT_OK
    assert "entry 1" in places(found, 6)[0]


def _resequenced(made: Any, seqs: list[int]) -> None:
    """Give the entries other counters: what a dishonest log could do before it signs."""
    for row, seq in zip(made.log._rows, seqs, strict=True):
        entry = row.entry
        payload = entry.payload.replace(b'"seq":%d' % entry.seq, b'"seq":%d' % seq)
        leaf = write_leaf(commitment(payload, entry.salt), entry.id, seq, entry.tenant)
        row.entry = replace(entry, seq=seq, payload=payload, leaf=leaf)


@pytest.mark.parametrize(
    ("seqs", "first_wrong"),
    [([0, 1, 3, 4], 2), ([1, 2, 3, 4], 0), ([0, 1, 1, 2], 2), ([0, 2, 1, 3], 1), ([3, 2, 1, 0], 0)],
    ids=str,
)
def test_step_7_wants_a_counter_without_a_gap(
    make_world: Any, tmp_path: Path, seqs: list[int], first_wrong: int
) -> None:
    """An entry that was left out, doubled or moved before signing shows in the counter, at its place."""
    made = make_world(tenants=1)
    made.write(0, 4)
    _resequenced(made, seqs)
    made.publish()
    found = verify_log(made.export(tmp_path), made.trust())
    assert verdicts(found)[7] is Verdict.NOT_OK
    assert f"entry {first_wrong}:" in places(found, 7)[0]


Lines = list[bytes]


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        (lambda lines: [*lines[:7], lines[7].replace(b"auditor", b"trainer"), *lines[8:]], 21),
        (lambda lines: [*lines[:7], lines[7][:-30] + b"A" + lines[7][-29:], *lines[8:]], 21),
        (lambda lines: lines[:7] + lines[8:], 21),
        (lambda lines: lines[:-1], 297),
        (lambda lines: [*lines[:7], lines[7][:-1] + b" \n", *lines[8:]], 21),
        (lambda lines: [*lines[:7], lines[7][:-1], *lines[8:]], 21),
        (lambda lines: [*lines[:99], lines[99][:-1]], 297),
        (lambda lines: [*lines[:7], lines[8], lines[7], *lines[9:]], 21),
        (lambda lines: [*lines[:7], b"\n", *lines[7:]], 21),
        (lambda lines: [*lines, lines[7]], 21),
        (lambda lines: [*lines[:7], b"\n", *lines[8:]], 21),
        (lambda lines: [b"\xff\xfe\n", *lines[1:]], 0),
        (lambda lines: [*lines, Opening(1, b"{}", bytes(32)).line()], None),
    ],
    ids=[
        "payload",
        "salt",
        "missing",
        "last missing",
        "space",
        "joined",
        "cut",
        "swapped",
        "inserted",
        "doubled",
        "blank",
        "junk",
        "foreign",
    ],
)
def test_step_8_wants_every_entry_opened_and_nothing_left_over(
    published: Any, copy: Path, change: Callable[[Lines], Lines], entry: int | None
) -> None:
    """Whatever is done to the payload lines, the entry that was hit is named, and only that one or its neighbour."""
    path = copy / "audit/payloads/000000.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    found = verify_log(Archive.open(copy), published.trust())
    assert verdicts(found) == {8: Verdict.NOT_OK}
    assert 1 <= len(found.steps[7].locations) <= 2
    if entry is not None:
        assert any(location.entry == entry for location in found.steps[7].locations)


def test_step_8_wants_the_payload_files(published: Any, copy: Path) -> None:
    """A missing file leaves its entries unopened."""
    (copy / "audit/payloads/000000.jsonl").unlink()
    found = verify_log(Archive.open(copy), published.trust())
    assert verdicts(found) == {2: Verdict.NOT_OK, 8: Verdict.NOT_OK}


@pytest.mark.parametrize(("seconds", "verdict"), [(60, Verdict.OK), (61, Verdict.CANNOT_TELL)])
def test_step_9_reports_a_clock_that_ran_backwards(
    make_world: Any, tmp_path: Path, seconds: int, verdict: Verdict
) -> None:
    """By more than a minute it is said, with the entry; order is the tree's, so it is not NOT OK."""
    made = make_world(tenants=1)
    made.write(0, 200)
    entry = made.log._rows[100].entry
    header = parse_payload(entry.payload)
    latest = parse_payload(made.log._rows[99].entry.payload).time
    event = LogRead(decision=made.decision, scope=ReadScope.ENTRIES, first=0, count=1)
    made.log._rows[100].entry = compose(
        event,
        entry_id=header.id,
        tenant=header.tenant,
        seq=header.seq,
        time=latest - timedelta(seconds=seconds),
        actor=header.actor,
        salt=entry.salt,
    )
    made.publish()
    found = verify_log(made.export(tmp_path), made.trust())
    assert found.steps[8].verdict is verdict
    assert verdicts(found) == ({} if verdict is Verdict.OK else {9: verdict})
    if verdict is not Verdict.OK:
        assert found.outcome is Outcome.CANNOT_TELL
        assert found.steps[8].locations[0].entry == 100


def test_a_size_beyond_all_files_costs_nothing(published: Any, copy: Path) -> None:
    """A checkpoint of 2^50 entries over a small archive is answered at once, also without keys."""
    lie = Checkpoint(published.key.name, 2**50, Digest.of(b"huge"))
    (copy / "audit/checkpoint").write_bytes(sign_checkpoint(lie, published.signer))
    for trust in (published.trust(), None):
        found = verify_log(Archive.open(copy), trust)
        assert found.outcome is Outcome.FAILED
        assert verdicts(found)[2] is Verdict.NOT_OK


def test_what_is_no_archive_fails(tmp_path: Path, published: Any) -> None:
    """An empty directory and one that is not there."""
    for path in (tmp_path, tmp_path / "missing"):
        found = verify_directory(path, published.trust())
        assert found.outcome is Outcome.FAILED
    published.export(tmp_path)
    assert verify_directory(tmp_path, published.trust()).outcome is Outcome.VERIFIED


def test_other_tenants_payloads_are_of_no_use(published: Any, copy: Path, tmp_path: Path) -> None:
    """Lines of another tenant's export in the place of one's own open nothing."""
    other = published.export(tmp_path / "other", tenant=1)
    (copy / "audit/payloads/000000.jsonl").write_bytes(other.read("audit/payloads/000000.jsonl"))
    found = verify_log(Archive.open(copy), published.trust())
    assert verdicts(found) == {8: Verdict.NOT_OK}
    assert found.steps[7].more + len(found.steps[7].locations) >= 100


def test_a_tree_that_follows_from_altered_leaves_is_not_the_signed_one(published: Any, copy: Path) -> None:
    """Leaves and tiles changed together, consistently, down to the root: the checkpoint tells."""
    path = copy / "audit/tile/entries/001.p/44"
    leaves = decode_bundle(path.read_bytes(), 44)
    leaves[5] = leaves[4]
    path.write_bytes(encode_bundle(leaves))
    (copy / "audit" / Tile(0, 1, 44).path).write_bytes(b"".join(map(leaf_hash, leaves)))
    found = verify_log(Archive.open(copy), published.trust())
    assert places(found, 5) == ["audit/checkpoint: the root is not what the entries give"]
    assert Frontier().extended(map(leaf_hash, leaves)).root != published.log.tree().root


def _readable(data: bytes) -> list[bytes]:
    leaves, place = [], 0
    while place + 2 <= len(data) and place + 2 + int.from_bytes(data[place : place + 2], "big") <= len(data):
        length = int.from_bytes(data[place : place + 2], "big")
        leaves.append(data[place + 2 : place + 2 + length])
        place += 2 + length
    return leaves


def _alter_leaf(path: Path, index: int) -> None:
    width = 256 if ".p" not in str(path) else int(path.name)
    leaves = decode_bundle(path.read_bytes(), width)
    leaves[index % 256] = leaves[index % 256].replace(b'"c":"', b'"c":"f', 1)[: len(leaves[index % 256])]
    path.write_bytes(encode_bundle(leaves))


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
