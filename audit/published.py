"""The tree as readers get it: full tiles from their store, partial ones made from the leaves when they are asked for.

Rules
-----
1. A full tile never changes; it is written once and read back. A partial tile is never stored: it follows from the
   leaves and from the full tiles below it.
2. What is missing or damaged is an error with a name, never an empty answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from audit.merkle import leaf_hash, perfect_root
from audit.tiles import ENTRIES, TILE_WIDTH, Tile, TileTree, decode_tile, encode_bundle
from kernel.errors import CorruptError

_MOST_ROOTS = 1 << 16


class LeafStore(Protocol):
    """Leaves by their index in the log."""

    def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return the leaves with index `start` to `end` - 1, in order; all of them are integrated."""
        ...


class TileStore(Protocol):
    """Full tiles and bundles, written once."""

    def put(self, path: str, data: bytes) -> None:
        """Store bytes durably. The same bytes again are accepted; others at a path that exists are a ConflictError."""
        ...

    def get(self, path: str) -> bytes | None:
        """Return the bytes, or nothing if the path was never written."""
        ...


class PublishedLog:
    """Tiles, bundles and nodes of every tree size that was integrated."""

    def __init__(self, leaves: LeafStore, tiles: TileStore) -> None:
        self._leaves = leaves
        self._tiles = tiles
        self._roots: dict[Tile, bytes] = {}

    def read(self, tile: Tile) -> bytes:
        """Return a tile or bundle as it is served and exported; raise `CorruptError` if a full one is missing."""
        if not tile.full:
            return self.render(tile)
        data = self._tiles.get(tile.path)
        if data is None:
            raise CorruptError("a tile of the log is missing from its store")
        return data

    def render(self, tile: Tile) -> bytes:
        """Make a tile or bundle from the leaves and the full tiles below it."""
        if tile.level > 0:
            below = (Tile(tile.level - 1, tile.index * TILE_WIDTH + i) for i in range(tile.width))
            return b"".join(self._root(lower) for lower in below)
        start = tile.index * TILE_WIDTH
        leaves = self._leaves.leaves(start, start + tile.width)
        if len(leaves) != tile.width:
            raise CorruptError("leaves of the log are missing from their store")
        return encode_bundle(leaves) if tile.level == ENTRIES else b"".join(map(leaf_hash, leaves))

    def tree(self, size: int) -> TileTree:
        """The nodes of the tree at `size`, for proofs."""
        return TileTree(size, self.read)

    def _root(self, tile: Tile) -> bytes:
        root = self._roots.get(tile)
        if root is None:
            root = perfect_root(decode_tile(self.read(tile), tile.width))
            if len(self._roots) >= _MOST_ROOTS:
                self._roots.clear()
            self._roots[tile] = root
        return root
