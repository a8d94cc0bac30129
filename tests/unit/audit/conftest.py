"""A small log for the tests: tenants, entries, a sequencer, an export; all of it from counted entropy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from audit.archive import Archive
from audit.checkpoint import Checkpoint, read_unverified
from audit.entry import Actor, Entry
from audit.events import LogRead, ReadScope
from audit.export import write_archive
from audit.log import append
from audit.memory import MemoryLog, MemoryTiles
from audit.note import NoteKey
from audit.sequencer import Sequencer
from audit.trust import LastSeen, TrustFile
from kernel.ids import DecisionId, PrincipalId, TenantId
from kernel.signing import Ed25519Signer

ORIGIN = "gw.example/audit"
START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


class Counted:
    """Entropy that is a counter, hashed: every run draws the same."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._drawn = 0

    def __call__(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(f"{self._seed}/{self._drawn}".encode()).digest(size)


@dataclass
class World:
    """One log and who writes to it."""

    tenants: int = 2
    seed: str = ""
    log: MemoryLog = field(default_factory=MemoryLog)
    tiles: MemoryTiles = field(default_factory=MemoryTiles)

    def __post_init__(self) -> None:
        self.entropy = Counted(self.seed)
        self.signer = Ed25519Signer.generate(Counted("log key"))
        self.key = NoteKey(ORIGIN, self.signer.public_key)
        self.ids = [TenantId.new(self.entropy) for _ in range(self.tenants)]
        self.actor = Actor(PrincipalId.new(self.entropy), ("auditor",))
        self.decision = DecisionId.new(self.entropy)
        self.written = 0

    def write(self, tenant: int = 0, count: int = 1) -> Entry:
        """Append entries for one tenant, one second apart; return the last."""
        for _ in range(count):
            entry = append(
                self.log,
                LogRead(decision=self.decision, scope=ReadScope.ENTRIES, first=self.written, count=1),
                tenant=self.ids[tenant],
                time=START + timedelta(seconds=self.written),
                actor=self.actor,
                correlation=self.decision if self.written % 3 else None,
                entropy=self.entropy,
            )
            self.written += 1
        return entry

    def fill(self, entries: int) -> Checkpoint:
        """Append entries for the tenants in turn, and publish."""
        for number in range(entries):
            self.write(number % self.tenants)
        return self.publish()

    def sequencer(self, **changes: object) -> Sequencer:
        """Build a sequencer over this log."""
        settings = {"store": self.log, "tiles": self.tiles, "origin": ORIGIN, "signers": [self.signer]}
        return Sequencer(**(settings | changes))

    def publish(self) -> Checkpoint:
        """Run the sequencer until it stands still; return the newest checkpoint."""
        sequencer = self.sequencer()
        while sequencer.step() is not None:
            pass
        note = self.log.newest_checkpoint()
        assert note is not None
        return read_unverified(note)

    def trust(self, pinned: Checkpoint | None = None, tenant: int = 0) -> TrustFile:
        """What an auditor of the tenant pinned."""
        seen = LastSeen() if pinned is None else LastSeen(pinned.size, pinned.root)
        return TrustFile(origin=ORIGIN, tenant=self.ids[tenant], log_keys=(self.key,), last_seen=seen)

    def export(self, directory: Path, tenant: int = 0, note: bytes | None = None) -> Archive:
        """Export for one tenant into a new directory, and open it."""
        directory.mkdir(parents=True, exist_ok=True)
        write_archive(directory, tenant=self.ids[tenant], store=self.log, tiles=self.tiles, note=note)
        return Archive.open(directory)


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    """Build a world: `make_world(tenants=3, seed="...")`."""
    return World


@pytest.fixture
def world() -> World:
    """A log with two tenants and nothing in it."""
    return World()


@pytest.fixture(scope="session")
def published() -> World:
    """A log of 300 entries by three tenants, published; not to be changed."""
    made = World(tenants=3)
    made.fill(300)
    return made
