"""Tiles and entry bundles: how the tree lies in files. Paths and codecs, pure.

Rules
-----
1. A tile is up to 256 consecutive hashes of one tile level; each stands for a full tile of the level below.
2. The size of the tree alone says which tiles and bundles exist and how wide each is.
3. A bundle is as many leaves as its tile has hashes, each behind its length in two bytes.

Reference: C2SP tlog-tiles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from audit.merkle import HASH_SIZE, perfect_root
from kernel.canonical import LARGEST_INTEGER
from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
LEAF_LIMIT = 256
BUNDLE_LIMIT = TILE_WIDTH * (2 + LEAF_LIMIT)
DEEPEST_LEVEL = 6
_PATH = re.compile(r"tile/(entries|[0-6])/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A hash tile of some tile level, or (level -1) an entry bundle."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        whole(-1, DEEPEST_LEVEL, level=self.level)
        whole(0, LARGEST_INTEGER >> TILE_HEIGHT, index=self.index)
        whole(1, TILE_WIDTH, width=self.width)

    @property
    def full(self) -> bool:
        """Whether it will never grow."""
        return self.width == TILE_WIDTH

    @property
    def path(self) -> str:
        """Where it lies, for example `tile/0/x001/067.p/8` or `tile/entries/000`."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        place = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
        return f"tile/{_level_name(self.level)}/{place}" + ("" if self.full else f".p/{self.width}")

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path; raise `InvalidError` for anything that `path` would not write."""
        match = _PATH.fullmatch(path)
        if match is None:
            raise InvalidError("not the path of a tile or an entry bundle", field="path")
        level = -1 if match[1] == "entries" else int(match[1])
        tile = cls(level, int(match[2].replace("/", "").replace("x", "")), int(match[3] or TILE_WIDTH))
        if tile.path != path:
            raise InvalidError("not the path of a tile or an entry bundle", field="path")
        return tile


ENTRIES = -1
"""The level of entry bundles."""

TileReader = Callable[[Tile], bytes]
"""Gives the bytes of a tile or bundle."""


def hashes_at(level: int, size: int) -> int:
    """How many hashes tile level `level` has in a tree of `size`; for bundles, how many leaves."""
    return size >> (TILE_HEIGHT * max(level, 0))


def tile_at(level: int, index: int, size: int) -> Tile:
    """The tile at that place in a tree of `size`; raise `InvalidError` if the tree has none there."""
    return Tile(level, index, min(TILE_WIDTH, hashes_at(level, size) - index * TILE_WIDTH))


def tiles_of(level: int, size: int) -> Iterator[Tile]:
    """All tiles of one level (or all bundles) of a tree of `size`, from the left."""
    for index in range(-(-hashes_at(level, size) // TILE_WIDTH)):
        yield tile_at(level, index, size)


def levels_of(size: int) -> range:
    """The tile levels that a tree of `size` has, from 0."""
    return range(sum(1 for level in range(DEEPEST_LEVEL + 1) if hashes_at(level, size)))


def encode_bundle(leaves: Sequence[bytes]) -> bytes:
    """Join leaves into an entry bundle."""
    whole(1, TILE_WIDTH, leaves=len(leaves))
    if any(not 1 <= len(leaf) <= LEAF_LIMIT for leaf in leaves):
        raise InvalidError(f"a leaf has 1 to {LEAF_LIMIT} bytes", field="leaf_size")
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def split_bundle(data: bytes, width: int) -> tuple[list[bytes], bool]:
    """Cut a bundle into leaves as far as it can be read.

    Returns:
        The leaves, and whether the bundle was exactly `width` leaves and nothing else.
    """
    leaves: list[bytes] = []
    place, end = 0, len(data)
    while place + 2 <= end and len(leaves) < width:
        length = data[place] << 8 | data[place + 1]
        if not 1 <= length <= LEAF_LIMIT or place + 2 + length > end:
            break
        leaves.append(data[place + 2 : place + 2 + length])
        place += 2 + length
    return leaves, place == end and len(leaves) == width


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """Cut a bundle into its leaves; raise `CorruptError` unless it has exactly `width`."""
    leaves, whole_bundle = split_bundle(data, width)
    if not whole_bundle:
        raise CorruptError("an entry bundle is damaged")
    return leaves


def decode_tile(data: bytes, width: int) -> list[bytes]:
    """Cut a tile into its hashes; raise `CorruptError` unless it has exactly `width`."""
    if len(data) != width * HASH_SIZE:
        raise CorruptError("a tile has another size than its width demands")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


class TileTree:
    """The nodes of a tree of one size, read from its tiles. Keeps what it has read: for proofs, not for whole trees."""

    def __init__(self, size: int, read: TileReader) -> None:
        self.size = size
        self._read = read
        self._hashes: dict[Tile, list[bytes]] = {}

    def node(self, level: int, index: int) -> bytes:
        """The hash of node (level, index); raise `CorruptError` if a tile is damaged."""
        tile_level, above = divmod(level, TILE_HEIGHT)
        first = index << above
        hashes = self._tile(tile_at(tile_level, first // TILE_WIDTH, self.size))
        offset = first % TILE_WIDTH
        wanted = hashes[offset : offset + (1 << above)]
        if len(wanted) != 1 << above:
            raise InvalidError("the tree has no such node", field="node")
        return perfect_root(wanted)

    def _tile(self, tile: Tile) -> list[bytes]:
        if tile not in self._hashes:
            self._hashes[tile] = decode_tile(self._read(tile), tile.width)
        return self._hashes[tile]


def _level_name(level: int) -> str:
    return "entries" if level == ENTRIES else str(level)
