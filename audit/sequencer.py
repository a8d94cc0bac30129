"""The sequencer: gives entries their place in the tree, writes full tiles, signs checkpoints.

Rules
-----
1. sequenced -> integrated -> published: an entry has its counter before it comes here; integration gives it an index
   and is one transaction; publication signs what integration committed.
2. There is one sequencer. If there were two, the second would fail: the tree state is replaced only if it is still the
   one that was read.
3. Everything can be done again after a crash anywhere, with the same result: tiles are created once and compared,
   signatures are deterministic, a state that is not committed is never signed.
4. Before it signs, and when it starts, it recomputes the root from tiles and leaves, and refuses to go on if that is
   not the stored state. A wrong tree is never extended.

`point(name)` is called at each name of `POINTS`; a test that kills the process there finds what is not durable.

Format: `docs/formats/log.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from audit.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from audit.merkle import Frontier, leaf_hash
from audit.note import NoteKey
from audit.published import LeafStore, PublishedLog
from audit.published import TileStore as TileStore
from audit.tiles import ENTRIES, TILE_WIDTH, Tile, hashes_at, levels_of
from kernel.errors import CorruptError
from kernel.signing import Signer

BATCH = 1000
POINTS = (
    "sequencer:before-integration",
    "sequencer:integrated",
    "sequencer:before-tile",
    "sequencer:tile-written",
    "sequencer:before-checkpoint",
    "sequencer:checkpoint-stored",
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A sequenced entry without an index: the store's own name for it, and its leaf."""

    row: int
    leaf: bytes


class IntegrationStore(LeafStore, Protocol):
    """The log's tables as the sequencer sees them. Each method is one transaction."""

    def tree(self) -> Frontier:
        """Return the stored tree state; the empty frontier before the first integration."""
        ...

    def pending(self, limit: int) -> Sequence[Pending]:
        """Return up to `limit` committed entries without an index, in the order of their insertion."""
        ...

    def integrate(self, before: Frontier, rows: Sequence[int], after: Frontier) -> None:
        """In one transaction: give the rows the indices from `before.size` on, and replace the tree state by `after`.

        Raises:
            StaleError: The stored state is not `before`; nothing was changed.
        """
        ...

    def newest_checkpoint(self) -> bytes | None:
        """Return the signed note with the largest size, if there is any."""
        ...

    def insert_checkpoint(self, size: int, note: bytes) -> None:
        """Add a signed checkpoint; the same note again is accepted, another one of that size is a ConflictError."""
        ...


def no_point(_name: str) -> None:
    """Do nothing: the production value of `point`."""


class Sequencer:
    """Integrates and publishes. One instance, one thread, one leader.

    Args:
        store: The log's tables.
        tiles: Where full tiles go.
        origin: The log's name.
        signers: The log's key; two while it is being rotated.
        former_keys: Keys that may have signed the newest checkpoint before the last rotation.
        batch: The most entries that one step integrates.
        point: Called at each name of `POINTS`.
    """

    def __init__(
        self,
        *,
        store: IntegrationStore,
        tiles: TileStore,
        origin: str,
        signers: Sequence[Signer],
        former_keys: Sequence[NoteKey] = (),
        batch: int = BATCH,
        point: Callable[[str], None] = no_point,
    ) -> None:
        self._store = store
        self._tiles = tiles
        self._log = PublishedLog(store, tiles)
        self._origin = origin
        self._signers = tuple(signers)
        self._keys = (*(NoteKey(origin, signer.public_key) for signer in signers), *former_keys)
        self._batch = batch
        self._point = point
        self._checked = False
        self._behind = False

    @property
    def behind(self) -> bool:
        """Whether the last step took as many entries as it may, so that more are likely to wait."""
        return self._behind

    def check(self) -> None:
        """Recompute the newest checkpoint and the tree state; raise `CorruptError` if they disagree."""
        published, state = self._newest(), self._store.tree()
        size = published.size if published else 0
        if size > state.size:
            raise CorruptError("the log's tree state is older than its newest checkpoint; restore the database")
        derived = Frontier.at(size, self._log.tree(size).node)
        if published and derived.root != published.root:
            raise CorruptError("the log's tiles do not give the newest checkpoint; restore the tiles or the database")
        for start in range(size, state.size, BATCH):
            leaves = self._store.leaves(start, min(start + BATCH, state.size))
            derived = derived.extended(map(leaf_hash, leaves))
        if derived != state:
            raise CorruptError("the log's leaves do not give the stored tree state; restore the database")
        if self._tiles.get(Tile(ENTRIES, state.size // TILE_WIDTH).path) is not None:
            raise CorruptError("the database is older than its tiles, and forgets what they hold; restore the newest")
        self._checked = True

    def step(self) -> Checkpoint | None:
        """Integrate up to one batch of entries, and publish.

        Returns:
            The checkpoint, if a new one was published; nothing if the log stands still.

        Raises:
            CorruptError: The stored log contradicts itself. Nothing more was signed.
            StaleError: Another sequencer is at work.
        """
        if not self._checked:
            self.check()
        self._integrate()
        return self._publish()

    def _integrate(self) -> None:
        pending = self._store.pending(self._batch)
        self._behind = len(pending) >= self._batch
        if not pending:
            return
        before = self._store.tree()
        after = before.extended(leaf_hash(entry.leaf) for entry in pending)
        self._point("sequencer:before-integration")
        self._store.integrate(before, [entry.row for entry in pending], after)
        self._point("sequencer:integrated")

    def _publish(self) -> Checkpoint | None:
        published, state = self._newest(), self._store.tree()
        if published and published.size == state.size:
            return None
        for tile in _newly_full(published.size if published else 0, state.size):
            self._point("sequencer:before-tile")
            self._tiles.put(tile.path, self._log.render(tile))
            self._point("sequencer:tile-written")
        checkpoint = Checkpoint(self._origin, state.size, state.root)
        if Frontier.at(state.size, self._log.tree(state.size).node) != state:
            raise CorruptError("the log's tiles do not give the stored tree state; nothing was signed")
        self._point("sequencer:before-checkpoint")
        self._store.insert_checkpoint(state.size, sign_checkpoint(checkpoint, *self._signers))
        self._point("sequencer:checkpoint-stored")
        return checkpoint

    def _newest(self) -> Checkpoint | None:
        note = self._store.newest_checkpoint()
        if note is None:
            return None
        return verify_checkpoint(note, origin=self._origin, log_keys=self._keys).checkpoint


def _newly_full(old: int, new: int) -> Iterator[Tile]:
    """The bundles and tiles that become full between two sizes, lower levels first."""
    for level in (ENTRIES, *levels_of(new)):
        for index in range(hashes_at(level, old) // TILE_WIDTH, hashes_at(level, new) // TILE_WIDTH):
            yield Tile(level, index)
