"""Forging with the real keys: a cycle's history told differently, hashed and signed as the gateway would have done it.

What cites a changed entry or certificate follows: leaf hashes and digests are renewed in the order of the log, counters
are renewed, certificates, cards and receipts are made again. So the one thing that is wrong in a forgery is what the
test changed; everything the log verifier looks at holds.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.archive import ENTRIES_PER_FILE, Opening, payload_file, tree_files
from audit.checkpoint import Checkpoint, sign_checkpoint
from audit.entry import commitment, write_leaf
from audit.memory import MemoryTiles
from audit.merkle import Frontier, leaf_hash
from audit.published import PublishedLog
from audit.receipt import LeafOpening, write_receipt
from kernel import canonical
from kernel.canonical import Digest
from kernel.signing import Ed25519Signer, Envelope, sign_envelope
from privacy.release.model_card import model_card
from tests.support.cycles import Cycle

Fields = dict[str, Any]


@dataclass
class Told:
    """One entry as it will be told: change `payload` at will; `fields` is the event's part of it."""

    payload: dict[str, Any]
    salt: bytes
    was: str | None = None
    leaf: bytes = b""

    @property
    def type(self) -> str:
        """Its event's type."""
        return str(self.payload["type"])

    @property
    def fields(self) -> Fields:
        """Its event's fields."""
        return self.payload["fields"]  # type: ignore[no-any-return]

    def another(self) -> Told:
        """A copy with an id of its own, to be put somewhere."""
        payload = json.loads(json.dumps(self.payload))
        seed = base64.b32encode(Digest.of(self.payload["id"].encode()).raw).decode().lower()[:25]
        payload["id"] = f"ent_{seed}a"
        return Told(payload, Digest.of(self.salt).raw)


@dataclass
class Story:
    """A whole history: entries in the order of the log, and the statements of the certificates."""

    entries: list[Told]
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, *types: str) -> list[Told]:
        """The entries of these types."""
        return [entry for entry in self.entries if entry.type in types]

    def first(self, type_: str, **fields: Any) -> Told:
        """The first entry of a type whose fields have these values."""
        return next(e for e in self.of(type_) if all(e.fields.get(name) == value for name, value in fields.items()))

    def remove(self, *gone: Told) -> None:
        """Leave entries out."""
        self.entries = [entry for entry in self.entries if not any(entry is one for one in gone)]

    def insert_after(self, place: Told, entry: Told) -> None:
        """Put an entry behind another."""
        index = next(i for i, one in enumerate(self.entries) if one is place)
        self.entries.insert(index + 1, entry)


def read_story(bundle: Path) -> Story:
    """Read a bundle whose log holds one tenant alone, as a cycle's does."""
    lines: list[bytes] = []
    for file in sorted((bundle / "audit/payloads").iterdir()):
        lines += file.read_bytes().splitlines(keepends=True)
    openings = [Opening.parse(line) for line in lines]
    assert [opening.index for opening in openings] == list(range(len(openings)))
    told = [Told(json.loads(o.payload), o.salt, _leaf_hash_of(o)) for o in openings]
    certificates = {
        path.stem: json.loads(Envelope.from_bytes(path.read_bytes()).payload)
        for path in sorted((bundle / "certificates").iterdir())
    }
    return Story(told, certificates)


def forge(
    cycle: Cycle,
    target: Path,
    change: Callable[[Story], object],
    *,
    keys: Mapping[str, bytes] | None = None,
    certificates_follow: bool = True,
) -> Path:
    """Write the cycle's bundle to `target` with a history that `change` altered.

    A change before the checkpoint that `cycle.trust` pins is caught as such; pin none to see what else catches it.

    Args:
        cycle: The real one.
        target: A directory that does not exist yet.
        change: Alters the story in place.
        keys: Seeds by the names of `Cycle.keys`; the gateway's own unless a stranger forges.
        certificates_follow: Whether certificates are made again; otherwise they stay as they were signed.
    """
    cycle.copy(target)
    story = read_story(target)
    change(story)
    seeds = dict(cycle.keys if keys is None else keys)
    _Teller(target, story, seeds, follow=certificates_follow).write()
    return target


class _Teller:
    def __init__(self, bundle: Path, story: Story, seeds: Mapping[str, bytes], *, follow: bool) -> None:
        self.bundle = bundle
        self.story = story
        self.signers = {name: Ed25519Signer(seed) for name, seed in seeds.items()}
        self.follow = follow
        self.renewed: dict[str, str] = {}
        self.envelopes: dict[str, bytes] = {}

    def write(self) -> None:
        origin = (self.bundle / "audit/checkpoint").read_text().split("\n")[0]
        for seq, entry in enumerate(self.story.entries):
            self._settle(seq, entry)
        self._write_log(origin)
        for release, envelope in self.envelopes.items():
            (self.bundle / "certificates" / f"{release}.json").write_bytes(envelope)
        for folder in ("release", "evaluation"):
            self._write_release(self.bundle / folder)

    def _settle(self, seq: int, entry: Told) -> None:
        if entry.type == "release:held" and self.follow:
            self._certify(entry)
        entry.payload = json.loads(self._renew(json.dumps(entry.payload)))
        entry.payload["seq"] = seq
        data = canonical.encode(entry.payload)
        entry.leaf = write_leaf(
            commitment(data, entry.salt), entry.payload["id"], entry.payload["seq"], entry.payload["tenant"]
        )
        if entry.was is not None:
            self.renewed[entry.was] = Digest.from_raw(leaf_hash(entry.leaf)).hex

    def _certify(self, held: Told) -> None:
        release = held.fields["release"]
        statement = self.story.certificates.get(release)
        if statement is None or release in self.envelopes:
            return
        before = Digest.of((self.bundle / "certificates" / f"{release}.json").read_bytes()).hex
        renewed = json.loads(self._renew(json.dumps(statement)))
        envelope = sign_envelope(
            "application/vnd.in-toto+json", canonical.encode(renewed), self.signers["certificate"]
        ).to_bytes()
        self.envelopes[release] = envelope
        self.renewed[before] = Digest.of(envelope).hex

    def _renew(self, text: str) -> str:
        for old, new in self.renewed.items():
            text = text.replace(old, new)
        return text

    def _write_log(self, origin: str) -> None:
        leaves = [entry.leaf for entry in self.story.entries]
        size, audit = len(leaves), self.bundle / "audit"
        for part in ("tile", "payloads"):
            shutil.rmtree(audit / part)
        tiles = MemoryTiles()
        published = PublishedLog(_Leaves(leaves), tiles)
        for tile in tree_files(size):
            path = audit / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            data = published.render(tile)
            path.write_bytes(data)
            if tile.full:
                tiles.put(tile.path, data)
        self._write_payloads(audit)
        root = Frontier().extended(list(map(leaf_hash, leaves))).root
        self.note = sign_checkpoint(Checkpoint(origin, size, root), self.signers["log"])
        (audit / "checkpoint").write_bytes(self.note)
        self.published = published

    def _write_payloads(self, audit: Path) -> None:
        (audit / "payloads").mkdir()
        lines = [
            Opening(index, canonical.encode(entry.payload), entry.salt).line()
            for index, entry in enumerate(self.story.entries)
        ]
        for start in range(0, len(lines), ENTRIES_PER_FILE):
            part = b"".join(lines[start : start + ENTRIES_PER_FILE])
            (audit / payload_file(start // ENTRIES_PER_FILE)).write_bytes(part)

    def _write_release(self, folder: Path) -> None:
        if not folder.exists():
            return
        name = json.loads(Envelope.from_bytes((folder / "certificate.json").read_bytes()).payload)["predicate"]
        release = name["release"]
        if release in self.envelopes:
            (folder / "certificate.json").write_bytes(self.envelopes[release])
            (folder / "MODEL_CARD.md").write_text(model_card(Envelope.from_bytes(self.envelopes[release])))
        for index, entry in enumerate(self.story.entries):
            if entry.type == "release:published" and entry.fields["release"] == release:
                opening = LeafOpening(canonical.encode(entry.payload), entry.salt)
                tree = self.published.tree(len(self.story.entries))
                receipt = write_receipt(index, opening, tree, self.note)
                (folder / "receipt.tlog-proof").write_bytes(receipt.to_bytes())


def _leaf_hash_of(opening: Opening) -> str:
    return Digest.from_raw(leaf_hash(LeafOpening(opening.payload, opening.salt).leaf)).hex


class _Leaves:
    """Leaves in a list, as an export reads them."""

    def __init__(self, leaves: list[bytes]) -> None:
        self._leaves = leaves

    def leaves(self, start: int, end: int) -> list[bytes]:
        """The leaves from one index to below another."""
        return self._leaves[start:end]
