"""Tampering with an archive: whatever is changed, the verifier does not say VERIFIED, and it says where.

What the trust file cannot tell apart, and what the tests therefore list as accepted: an older, genuine export whose
checkpoint is not below the pinned one. Nothing else.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from audit.archive import Archive
from audit.checkpoint import Checkpoint, read_unverified
from audit.findings import Verdict
from audit.note import KeyKind, Note, NoteKey, cosign
from audit.tiles import decode_bundle
from audit.verify import LogVerification, Outcome, verify_log
from kernel.signing import Ed25519Signer

TENANTS, ENTRIES = 6, 270
QUICK = 130
FULL = 2000
FILES = (
    "checkpoint",
    "archive.json",
    "payloads/000000.jsonl",
    "tile/entries/000",
    "tile/entries/001.p/14",
    "tile/0/000",
    "tile/0/001.p/14",
    "tile/1/000.p/1",
)


def draw(seed: str, below: int) -> int:
    """A number below a bound, the same in every run."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % below


@dataclass(frozen=True)
class Bench:
    """An archive to tamper with, and what its reader pinned."""

    made: Any
    root: Path

    def verify(self) -> LogVerification:
        """Verify the archive as it lies there now."""
        return verify_log(Archive.open(self.root), self.made.trust())

    def path(self, name: str) -> Path:
        """The path of a file below `audit/`."""
        return self.root / "audit" / name


@pytest.fixture(scope="module")
def bench(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """An archive shared by this module; each case restores what it changed."""
    made, root = make_world(tenants=TENANTS), tmp_path_factory.mktemp("tamper")
    made.fill(ENTRIES)
    made.export(root)
    return Bench(made, root)


def bit_flips(name: str, data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Flip one bit."""
    for case in range(count):
        place = draw(f"{name}/flip/{case}", len(data) * 8)
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        yield f"flip {place}", bytes(changed)


def cuts(name: str, data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Cut the end off, cut a piece out, or append something."""
    for case in range(count):
        place = draw(f"{name}/cut/{case}", len(data))
        length = 1 + draw(f"{name}/length/{case}", min(200, len(data) - place))
        kind = case % 4
        if kind == 0:
            yield f"truncated at {place}", data[:place]
        elif kind == 1:
            yield f"cut out {place}+{length}", data[:place] + data[place + length :]
        elif kind == 2:
            yield f"doubled {place}+{length}", data[: place + length] + data[place:]
        else:
            yield f"appended {length}", data + data[:length]


def overwrites(name: str, data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Write zeros over a piece, or exchange two pieces of equal length."""
    for case in range(count):
        length = 1 + draw(f"{name}/size/{case}", min(64, len(data) // 2))
        place = draw(f"{name}/place/{case}", len(data) - length + 1)
        other = draw(f"{name}/other/{case}", len(data) - length + 1)
        if case % 2 == 0:
            changed = data[:place] + bytes(length) + data[place + length :]
        else:
            piece = data[other : other + length]
            changed = data[:place] + piece + data[place + length :]
        if changed != data:
            yield f"overwritten {place}+{length}", changed


def changes(name: str, data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """All ways to damage one file, `count` in all."""
    yield from bit_flips(name, data, count // 2)
    yield from cuts(name, data, count // 4)
    yield from overwrites(name, data, count // 4)


def tamper(bench: Bench, name: str, count: int) -> int:
    """Damage one file in many ways; return how many cases there were."""
    path, cases = bench.path(name), 0
    pristine = path.read_bytes()
    try:
        for what, data in changes(name, pristine, count):
            path.write_bytes(data)
            found = bench.verify()
            assert found.outcome in (Outcome.FAILED, Outcome.CANNOT_TELL), f"{name}: {what} was not noticed"
            wrong = [step for step in found.steps if step.verdict is not Verdict.OK]
            assert all(step.locations for step in wrong), f"{name}: {what} has no place"
            cases += 1
    finally:
        path.write_bytes(pristine)
    assert bench.verify().outcome is Outcome.VERIFIED
    return cases


@pytest.mark.parametrize("name", FILES)
def test_no_damage_to_a_file_is_silent(bench: Bench, name: str) -> None:
    """Bit flips, cuts, insertions and overwritten pieces of each kind of file: none is accepted, each has a place."""
    assert tamper(bench, name, QUICK) >= QUICK * 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_no_damage_to_a_file_is_silent_in_full(bench: Bench, name: str) -> None:
    """The same, two thousand times for each kind of file."""
    assert tamper(bench, name, FULL) >= FULL * 0.9


def test_a_flipped_bit_of_a_payload_names_its_entry(bench: Bench) -> None:
    """Wherever in the line the bit is, the entry of that line is the one that is named."""
    path = bench.path("payloads/000000.jsonl")
    pristine = path.read_bytes()
    for case in range(100):
        place = draw(f"payload {case}", len(pristine) * 8)
        changed = bytearray(pristine)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        line = pristine[: place // 8].count(b"\n")
        named = {location.entry for location in bench.verify().steps[7].locations}
        assert line * TENANTS in named
        assert named <= {line * TENANTS, (line + 1) * TENANTS, None}
    path.write_bytes(pristine)


@pytest.mark.parametrize(("name", "width"), [("tile/entries/000", 256), ("tile/entries/001.p/14", 14)])
def test_a_flipped_bit_of_a_bundle_names_its_entry(bench: Bench, name: str, width: int) -> None:
    """The length before a leaf belongs to its entry, too."""
    path = bench.path(name)
    pristine = path.read_bytes()
    ends, end = [], 0
    for leaf in decode_bundle(pristine, width):
        end += 2 + len(leaf)
        ends.append(end)
    for case in range(60):
        place = draw(f"{name} {case}", len(pristine) * 8)
        changed = bytearray(pristine)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        entry = sum(1 for end in ends if end <= place // 8) + (0 if width == 256 else 256)
        found = bench.verify().steps[4]
        assert found.locations[0].entry == entry
        assert found.locations[0].file == f"audit/{name}"
    path.write_bytes(pristine)


def test_no_missing_or_exchanged_file_is_silent(bench: Bench) -> None:
    """Each file deleted, emptied, and exchanged with each other one."""
    pristine = {name: bench.path(name).read_bytes() for name in FILES}
    for name in FILES:
        bench.path(name).unlink()
        assert bench.verify().outcome is Outcome.FAILED
        bench.path(name).write_bytes(b"")
        assert bench.verify().outcome is Outcome.FAILED
        for other in FILES:
            if other != name:
                bench.path(name).write_bytes(pristine[other])
                bench.path(other).write_bytes(pristine[name])
                assert bench.verify().outcome is Outcome.FAILED
                bench.path(other).write_bytes(pristine[other])
        bench.path(name).write_bytes(pristine[name])
    assert bench.verify().outcome is Outcome.VERIFIED


def test_no_file_of_an_older_export_is_silent(make_world: Any, tmp_path: Path) -> None:
    """Any of the files replaced by those of an older export of the same log: noticed, unless it is all of them."""
    made = make_world()
    made.fill(290)
    older = made.export(tmp_path / "older").root / "audit"
    pinned = made.fill(2)
    made.fill(20)
    newer = made.export(tmp_path / "newer").root / "audit"
    names = sorted(p.relative_to(older).as_posix() for p in older.rglob("*") if p.is_file())
    differing = [n for n in names if not (newer / n).exists() or (newer / n).read_bytes() != (older / n).read_bytes()]
    assert len(differing) >= 4
    for case in range(1, 1 << len(differing)):
        mixed = tmp_path / "mixed"
        shutil.copytree(newer, mixed / "audit")
        for bit, name in enumerate(differing):
            if case >> bit & 1:
                (mixed / "audit" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(older / name, mixed / "audit" / name)
        assert verify_log(Archive.open(mixed), made.trust()).outcome is Outcome.FAILED
        shutil.rmtree(mixed)
    whole = Archive.open(older.parent)
    assert verify_log(whole, made.trust(pinned)).outcome is Outcome.FAILED
    assert verify_log(whole, made.trust()).outcome is Outcome.VERIFIED


def test_fifty_deleted_checkpoints_are_rollbacks(make_world: Any, tmp_path: Path) -> None:
    """Of fifty checkpoints, an older one fails below the pin; what is not below it is accepted, and only that."""
    made, notes = make_world(), []
    for _ in range(50):
        made.fill(3)
        notes.append(made.log.newest_checkpoint())
    pins = [read_unverified(note) for note in notes]
    archives = [made.export(tmp_path / str(number), note=note) for number, note in enumerate(notes)]
    for shown, archive in enumerate(archives):
        for pinned in (0, 25, 49):
            outcome = verify_log(archive, made.trust(pins[pinned])).outcome
            assert outcome is (Outcome.FAILED if shown < pinned else Outcome.VERIFIED)
    (tmp_path / "0/audit/checkpoint").unlink()
    assert verify_log(archives[0], made.trust()).outcome is Outcome.FAILED


def test_thirty_damaged_witness_lines_are_noticed(bench: Bench) -> None:
    """Flips and cuts in a witness's line: never VERIFIED, whether the witness is pinned or not."""
    path = bench.path("checkpoint")
    pristine = path.read_bytes()
    signer = Ed25519Signer(b"w" * 32)
    witness = NoteKey("witness.example", signer.public_key, KeyKind.COSIGNATURE)
    trust = replace(bench.made.trust(), witness_keys=(witness,))
    note = Note.from_bytes(pristine)
    line = cosign(note.text, witness.name, signer, 1_764_000_000)
    cosigned = replace(note, signatures=(*note.signatures, line)).to_bytes()
    path.write_bytes(cosigned)
    assert verify_log(Archive.open(bench.root), trust).outcome is Outcome.VERIFIED
    tail = len(cosigned) - len(pristine)
    for case in range(30):
        place = len(pristine) + draw(f"witness {case}", tail)
        flipped = bytearray(cosigned)
        flipped[place] ^= 1 << case % 8
        for data in (bytes(flipped), cosigned[:place]):
            path.write_bytes(data)
            for pins in (trust, bench.made.trust()):
                found = verify_log(Archive.open(bench.root), pins)
                silent = found.outcome is Outcome.VERIFIED
                assert not silent or (data == pristine and pins is not trust)
    path.write_bytes(pristine)


def test_keys_mixed_up_between_purposes_are_of_no_use(bench: Bench) -> None:
    """A certificate, report or witness key that signs a checkpoint signs nothing."""
    other = Ed25519Signer(b"c" * 32)
    text = read_unverified(bench.path("checkpoint").read_bytes())
    pristine = bench.path("checkpoint").read_bytes()
    trust = replace(bench.made.trust(), certificate_keys=(other.public_key,), report_keys=(other.public_key,))
    line = cosign(text.text, text.origin, other, 1)
    cosigner = NoteKey(text.origin, other.public_key, KeyKind.COSIGNATURE)
    bench.path("checkpoint").write_bytes(Note(text.text, (line,)).to_bytes())
    for pins in (trust, replace(trust, witness_keys=(cosigner,))):
        assert verify_log(Archive.open(bench.root), pins).outcome is Outcome.FAILED
    bench.path("checkpoint").write_bytes(pristine)
    assert isinstance(text, Checkpoint)
