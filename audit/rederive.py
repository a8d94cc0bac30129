"""Making the tree of an archive again from its leaves, and saying where it differs from the tiles.

Rules
-----
1. Every leaf is hashed, every hash of every tile is compared with what the leaves give, and the root with the
   checkpoint's.
2. Where a leaf and its tile disagree, the signed root decides which of the two was altered; only that one is named.
3. A damaged bundle costs its own entries and no others: the tile stands in for what cannot be read, and it is said so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from audit.findings import Findings
from audit.merkle import HASH_SIZE, Frontier, fold, leaf_hash, perfect_root
from audit.tiles import ENTRIES, TILE_HEIGHT, TILE_WIDTH, Tile, levels_of, split_bundle, tile_at, tiles_of

TileOrNothing = Callable[[Tile], bytes | None]
_ZERO = bytes(HASH_SIZE)


@dataclass(frozen=True, slots=True)
class _Dispute:
    """Leaves and tile of one bundle disagree: hashes of the leaves (none where unreadable), and the tile's."""

    bundle: Tile
    from_leaves: list[bytes | None]
    stored: list[bytes]

    def hashes(self, *, believe_tile: bool) -> list[bytes]:
        return self.stored if believe_tile else [h or s for h, s in zip(self.from_leaves, self.stored, strict=True)]


class Rederivation:
    """One pass over an archive's tree. Call `leaves` to its end, then `finish`, then `root_at`.

    Args:
        read: Gives a tile's bytes, or nothing where it is missing (which the caller has noted).
        size: The size of the tree.
        tree: Where disagreements are noted.
        keep: A size whose root is asked for afterwards.
    """

    def __init__(self, read: TileOrNothing, size: int, tree: Findings, keep: int = 0) -> None:
        self._read = read
        self._size = size
        self._tree = tree
        self._keep = keep
        self._roots: list[bytes] = []
        self._parts: dict[int, list[bytes]] = {}
        self._disputes: list[_Dispute] = []

    def leaves(self) -> Iterator[tuple[int, bytes]]:
        """Read all bundles; give each readable leaf with its index."""
        for bundle in tiles_of(ENTRIES, self._size):
            start = bundle.index * TILE_WIDTH
            leaves, whole = split_bundle(self._read(bundle) or b"", bundle.width)
            hashes = list(map(leaf_hash, leaves))
            self._compare(bundle, hashes, whole=whole)
            yield from enumerate(leaves, start)

    def finish(self, root: bytes) -> None:
        """Decide the disputes by `root`, compare the upper tiles, and compare the root."""
        self._settle(root)
        level, hashes = 1, self._roots
        while level in levels_of(self._size):
            for tile in tiles_of(level, self._size):
                first = tile.index * TILE_WIDTH
                self._compare_tile(tile, hashes[first : first + tile.width])
            hashes = [
                perfect_root(hashes[i : i + TILE_WIDTH]) for i in range(0, len(hashes) - TILE_WIDTH + 1, TILE_WIDTH)
            ]
            level += 1
        if self.root_at(self._size) != root:
            self._tree.wrong("audit/checkpoint", "the root is not what the entries give")

    def root_at(self, size: int) -> bytes:
        """The root over the first `size` leaves; `size` is the tree's or the one to keep."""
        full = Frontier().extended(self._roots[: size >> TILE_HEIGHT])
        part = self._parts.get(size >> TILE_HEIGHT, [])[: size % TILE_WIDTH]
        return fold((*full.subtrees, *Frontier().extended(part).subtrees))

    def _compare(self, bundle: Tile, hashes: list[bytes], *, whole: bool) -> None:
        data = self._read(tile_at(0, bundle.index, self._size))
        if whole and data == b"".join(hashes):
            self._accept(bundle, hashes)
            return
        found: list[bytes | None] = [*hashes, *[None] * (bundle.width - len(hashes))]
        usable = data is not None and len(data) == bundle.width * HASH_SIZE
        if data is not None and not usable:
            self._tree.wrong(f"audit/{Tile(0, bundle.index, bundle.width).path}", "has another size than it must have")
        if not whole and len(hashes) == bundle.width:
            self._tree.wrong(f"audit/{bundle.path}", "has bytes after its last entry")
        stored = [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)] if data and usable else None
        if stored is None:
            # Without its tile a leaf that cannot be read is a hole: it is reported, and the root will not fit.
            stored = [h or _ZERO for h in found]
        self._disputes.append(_Dispute(bundle, found, stored))
        self._accept(bundle, self._disputes[-1].hashes(believe_tile=False))

    def _accept(self, bundle: Tile, hashes: list[bytes]) -> None:
        if bundle.full:
            self._roots[bundle.index : bundle.index + 1] = [perfect_root(hashes)]
        if not bundle.full or bundle.index == self._keep >> TILE_HEIGHT:
            self._parts[bundle.index] = hashes

    def _settle(self, root: bytes) -> None:
        if not self._disputes:
            return
        if self.root_at(self._size) == root:
            verdicts = [False] * len(self._disputes)
        else:
            self._believe([True] * len(self._disputes))
            all_tiles = self.root_at(self._size) == root
            verdicts = [all_tiles or self._parent_agrees(dispute) for dispute in self._disputes]
            self._believe(verdicts)
        for dispute, believe_tile in zip(self._disputes, verdicts, strict=True):
            self._report(dispute, believe_tile=believe_tile)

    def _believe(self, verdicts: list[bool]) -> None:
        for dispute, believe_tile in zip(self._disputes, verdicts, strict=True):
            self._accept(dispute.bundle, dispute.hashes(believe_tile=believe_tile))

    def _parent_agrees(self, dispute: _Dispute) -> bool:
        """Whether the tile above holds the root of the disputed tile as it is stored."""
        index = dispute.bundle.index
        if not dispute.bundle.full:
            return False
        above = self._read(tile_at(1, index // TILE_WIDTH, self._size)) or b""
        place = index % TILE_WIDTH * HASH_SIZE
        return above[place : place + HASH_SIZE] == perfect_root(dispute.stored)

    def _report(self, dispute: _Dispute, *, believe_tile: bool) -> None:
        start = dispute.bundle.index * TILE_WIDTH
        tile = Tile(0, dispute.bundle.index, dispute.bundle.width)
        for place, (found, stored) in enumerate(zip(dispute.from_leaves, dispute.stored, strict=True)):
            if found is None:
                self._tree.wrong(f"audit/{dispute.bundle.path}", "the leaf cannot be read", start + place)
            elif found == stored:
                continue
            elif believe_tile:
                self._tree.wrong(f"audit/{dispute.bundle.path}", "the leaf was altered", start + place)
            else:
                self._tree.wrong(f"audit/{tile.path}", f"hash {place} is not that of its leaf", start + place)

    def _compare_tile(self, tile: Tile, expected: list[bytes]) -> None:
        data = self._read(tile)
        if data is None or data == b"".join(expected):
            return
        for place, hashed in enumerate(expected):
            if data[place * HASH_SIZE : (place + 1) * HASH_SIZE] != hashed:
                self._tree.wrong(f"audit/{tile.path}", f"hash {place} is not what the leaves give")
        if len(data) != tile.width * HASH_SIZE:
            self._tree.wrong(f"audit/{tile.path}", "has another size than it must have")
