"""The tree of RFC 6962: hashing, frontier, nodes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import EMPTY_ROOT, Frontier, fold, leaf_hash, node_hash, perfect_root, range_root
from kernel.errors import CorruptError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/rfc6962/proofs.json").read_text("utf-8"))
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
HASHES = [leaf_hash(b"leaf %d" % i) for i in range(80)]


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()


def test_the_published_roots_are_reproduced() -> None:
    """Each prefix of the reference leaves has the published root."""
    for size, root in enumerate(VECTORS["roots"], 1):
        assert Frontier().extended(map(leaf_hash, LEAVES[:size])).root.hex == root


def test_the_frontier_agrees_with_the_recursive_definition() -> None:
    """For every size up to 80 the frontier's root is the recursive one, however the growth was cut into batches."""
    frontier = Frontier()
    for size in range(len(HASHES) + 1):
        assert frontier.root.raw == naive_root(HASHES[:size])
        assert Frontier().extended(HASHES[:size]) == frontier
        frontier = frontier.extended(HASHES[size : size + 1])


def test_leaves_and_nodes_are_hashed_apart() -> None:
    """Two children's hashes as a leaf do not hash to their parent."""
    left, right = HASHES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


@given(st.integers(0, 300))
def test_a_frontier_survives_storage(size: int) -> None:
    """What was stored is read back, and a damaged state is refused."""
    frontier = Frontier().extended(leaf_hash(b"%d" % i) for i in range(size))
    joined = frontier.to_bytes()
    assert Frontier.from_bytes(size, joined) == frontier
    for wrong_size, wrong in ((size + 1, joined), (size, joined + b"x"), (size, joined + bytes(32)), (-1, joined)):
        if wrong_size.bit_count() * 32 == len(wrong) and wrong_size >= 0:
            continue
        with pytest.raises(CorruptError):
            Frontier.from_bytes(wrong_size, wrong)


def test_a_range_is_rooted_from_its_nodes() -> None:
    """From nodes alone come the root of any aligned range and the frontier of any size."""

    def node(level: int, index: int) -> bytes:
        return perfect_root(HASHES[index << level : (index + 1) << level])

    for size in range(len(HASHES) + 1):
        assert range_root(0, size, node) == naive_root(HASHES[:size])
        assert Frontier.at(size, node) == Frontier().extended(HASHES[:size])
    assert range_root(64, 77, node) == naive_root(HASHES[64:77])


def test_the_empty_tree_has_its_own_root() -> None:
    """The root of nothing is SHA-256 of nothing."""
    assert Frontier().root.raw == fold(()) == EMPTY_ROOT
