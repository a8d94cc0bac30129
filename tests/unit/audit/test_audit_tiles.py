"""Tiles and bundles: paths, widths, codecs, nodes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import Frontier, leaf_hash, perfect_root
from audit.tiles import (
    BUNDLE_LIMIT,
    ENTRIES,
    LEAF_LIMIT,
    Tile,
    TileTree,
    decode_bundle,
    decode_tile,
    encode_bundle,
    hashes_at,
    levels_of,
    split_bundle,
    tile_at,
    tiles_of,
)
from kernel.errors import CorruptError, InvalidError


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 999, 17), "tile/1/999.p/17"),
        (Tile(2, 1000, 1), "tile/2/x001/000.p/1"),
        (Tile(ENTRIES, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    """Groups of three digits, an x before all but the last, the width of a partial tile behind."""
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(st.integers(-1, 6), st.integers(0, 2**45 - 1), st.integers(1, 256))
def test_a_path_is_read_back(level: int, index: int, width: int) -> None:
    """Every tile has one path, and the path names that tile."""
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/7/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/300",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../000",
        "tile/entries/000.p/",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000\n",
    ],
    ids=repr,
)
def test_other_paths_are_refused(path: str) -> None:
    """Anything that is not exactly how the tile would be written."""
    with pytest.raises(InvalidError):
        Tile.parse(path)


def test_the_specifications_example_tree() -> None:
    """70,000 entries: 273 full tiles and one of 112, one full and one of 17 above, one of 1 on top."""
    widths = {level: [tile.width for tile in tiles_of(level, 70_000)] for level in levels_of(70_000)}
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    assert [tile.width for tile in tiles_of(ENTRIES, 70_000)] == widths[0]
    assert {level: [t.width for t in tiles_of(level, 256)] for level in levels_of(256)} == {0: [256], 1: [1]}
    assert list(levels_of(0)) == []
    assert hashes_at(ENTRIES, 70_000) == 70_000


def test_a_bundle_is_read_back_and_nothing_else_passes() -> None:
    """Each truncation and each appended byte is refused; what can be read of it is."""
    leaves = [b"x" * (1 + i * 37 % LEAF_LIMIT) for i in range(256)]
    bundle = encode_bundle(leaves)
    assert len(bundle) <= BUNDLE_LIMIT
    assert decode_bundle(bundle, 256) == leaves
    for cut in range(0, len(bundle), 101):
        readable, whole = split_bundle(bundle[:cut], 256)
        assert not whole
        assert readable == leaves[: len(readable)]
        with pytest.raises(CorruptError):
            decode_bundle(bundle[:cut], 256)
    with pytest.raises(CorruptError):
        decode_bundle(bundle + b"\x00", 256)
    with pytest.raises(CorruptError):
        decode_bundle(bundle, 255)


def test_a_bundle_holds_leaves_of_a_bounded_size() -> None:
    """An empty or oversized leaf is never written and never read."""
    for leaf in (b"", b"x" * (LEAF_LIMIT + 1)):
        with pytest.raises(InvalidError):
            encode_bundle([leaf])
        with pytest.raises(CorruptError):
            decode_bundle(len(leaf).to_bytes(2, "big") + leaf, 1)
    with pytest.raises(InvalidError):
        encode_bundle([])


@given(st.binary(max_size=300), st.integers(1, 256))
def test_no_bytes_make_the_readers_fail_otherwise(data: bytes, width: int) -> None:
    """Whatever is read as a bundle or tile gives a PrivgateError or is what its parts encode to."""
    with contextlib.suppress(CorruptError):
        assert encode_bundle(decode_bundle(data, width)) == data
    with contextlib.suppress(CorruptError):
        assert b"".join(decode_tile(data, width)) == data


def test_nodes_are_read_from_tiles() -> None:
    """Every node of a tree of 700 leaves is the root over its leaves; others do not exist."""
    hashes = [leaf_hash(b"%d" % i) for i in range(700)]

    def read(tile: Tile) -> bytes:
        span = 256**tile.level
        first = tile.index * 256 * span
        return b"".join(perfect_root(hashes[first + i * span : first + (i + 1) * span]) for i in range(tile.width))

    tree = TileTree(700, read)
    for level in range(10):
        for index in range(700 >> level):
            assert tree.node(level, index) == perfect_root(hashes[index << level : (index + 1) << level])
        with pytest.raises(InvalidError):
            tree.node(level, 700 >> level)
    assert Frontier.at(700, tree.node) == Frontier().extended(hashes)
    with pytest.raises(InvalidError):
        tile_at(0, 3, 700)
    with pytest.raises(CorruptError):
        TileTree(700, lambda _: b"short").node(0, 0)
