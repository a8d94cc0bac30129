"""Tampering with a bundle: whatever is changed in whatever file, the verifier does not say VERIFIED, and says where.

The bundle has no list of digests here: every file of it is held by a signature, directly or through what it must follow
from. `make test` runs a sample, the slow suite runs it whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit.findings import Verdict
from audit.verify import Outcome
from privgate.verify import BundleVerdict, verify_bundle
from tests.support.cycles import Cycle

KINDS = ("flip", "truncate", "cut out", "swap", "zero", "append", "delete", "replace")
QUICK, FULL = 80, 2100


def draw(seed: str, below: int) -> int:
    """A number below a bound, the same in every run."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % below


@dataclass(frozen=True)
class Bench:
    """A copy of the cycle's bundle to tamper with; each case restores what it changed."""

    cycle: Cycle
    root: Path
    pristine: dict[str, bytes]

    def verify(self) -> BundleVerdict:
        """Verify the bundle as it lies there now."""
        return verify_bundle(self.root, self.cycle.trust)


@pytest.fixture(scope="module")
def bench(cycle: Cycle, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One copy for this module."""
    root = cycle.copy(tmp_path_factory.mktemp("tamper") / "bundle")
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return Bench(cycle, root, {name: (root / name).read_bytes() for name in names})


def cases(bench: Bench, count: int) -> Iterator[tuple[str, str, bytes | None]]:
    """Name, kind of tampering and new content (nothing for a deleted file), each file and kind in turn."""
    names = list(bench.pristine)
    for case in range(count):
        name, kind = names[case % len(names)], KINDS[case // len(names) % len(KINDS)]
        if kind in KINDS[6:] and case >= len(names) * len(KINDS):
            kind = "flip"  # a file is deleted, and replaced, once; flips never end
        data = tampered(bench, name, kind, f"{name}/{case}")
        # A bundle needs no trust file of its own: the reader has one, and this one proves nothing.
        if data != bench.pristine[name] and (name, data) != ("trust.json", None):
            yield name, kind, data


def tampered(bench: Bench, name: str, kind: str, seed: str) -> bytes | None:
    """What a file becomes."""
    data = bench.pristine[name]
    place = draw(seed, len(data))
    length = 1 + draw(f"{seed}/length", min(64, len(data) - place))
    match kind:
        case "flip":
            changed = bytearray(data)
            changed[place] ^= 1 << draw(f"{seed}/bit", 8)
            return bytes(changed)
        case "truncate":
            return data[:place]
        case "cut out":
            return data[:place] + data[place + length :]
        case "swap":
            other = draw(f"{seed}/other", len(data))
            changed = bytearray(data)
            changed[place], changed[other] = changed[other], changed[place]
            return bytes(changed)
        case "zero":
            return data[:place] + bytes(length) + data[place + length :]
        case "append":
            return data + data[place : place + length]
        case "replace":
            names = list(bench.pristine)
            return bench.pristine[names[draw(f"{seed}/with", len(names))]]
        case _:
            return None


def tamper(bench: Bench, count: int) -> int:
    """Run the cases; return how many there were."""
    done = 0
    for name, kind, data in cases(bench, count):
        path = bench.root / name
        path.unlink() if data is None else path.write_bytes(data)
        try:
            verdict = bench.verify()
        finally:
            path.write_bytes(bench.pristine[name])
        places = {at.file for step in verdict.steps if step.verdict is not Verdict.OK for at in step.locations}
        assert verdict.outcome in (Outcome.FAILED, Outcome.CANNOT_TELL), (name, kind)
        if name.startswith("audit/"):
            # Where leaves, tiles and root disagree, the root decides which is named; it is a file of the log.
            assert any(place.startswith("audit") for place in places), (name, kind, places)
        elif kind == "replace":
            # Another genuine certificate in its place: which of the folder's files is the stranger, nobody can say.
            assert any(place.startswith(name.rpartition("/")[0]) for place in places), (name, kind, places)
        else:
            assert name in places, (name, kind, places)
        done += 1
    assert bench.verify().outcome is Outcome.VERIFIED
    return done


def test_nothing_that_is_done_to_a_bundle_is_silent(bench: Bench) -> None:
    """A sample over every file: never VERIFIED, and the file is named."""
    assert tamper(bench, QUICK) > QUICK * 0.9


@pytest.mark.slow
def test_two_thousand_things_done_to_a_bundle_and_none_is_silent(bench: Bench) -> None:
    """Every file, every kind of damage, and flips without end."""
    assert tamper(bench, FULL) >= 2000


def test_a_flipped_byte_is_named_with_its_entry(bench: Bench) -> None:
    """In a payload file the verifier says which entry was hit."""
    name = "audit/payloads/000000.jsonl"
    data = bytearray(bench.pristine[name])
    data[len(data) // 2] ^= 1
    entry = bytes(data[: len(data) // 2]).count(b"\n")
    (bench.root / name).write_bytes(bytes(data))
    found = bench.verify().step("Payloads")
    (bench.root / name).write_bytes(bench.pristine[name])
    assert found.verdict is Verdict.NOT_OK
    assert (found.locations[0].file, found.locations[0].entry) == (name, entry)
