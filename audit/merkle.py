"""The Merkle tree of RFC 6962: hashing, perfect subtrees, and a frontier that grows. Pure.

Rules
-----
1. SHA-256; a leaf is hashed with prefix 00 and a node with 01, so that neither is ever taken for the other.
2. A tree of size n is the perfect subtrees that n's one-bits name, largest first: its frontier. Frontier and size give
   the root, and are all that is needed to grow.
3. A node is named by (level, index): the root over leaves `index * 2^level` to `(index + 1) * 2^level`.

Reference: RFC 6962 section 2.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kernel.canonical import Digest
from kernel.errors import CorruptError

HASH_SIZE = 32
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"
EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeReader = Callable[[int, int], bytes]
"""Gives the hash of node (level, index) of a tree."""


def leaf_hash(leaf: bytes) -> bytes:
    """Hash an entry's leaf bytes."""
    return hashlib.sha256(LEAF_PREFIX + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over 2^k hashes."""
    sha256, prefix = hashlib.sha256, NODE_PREFIX
    level = list(hashes)
    while len(level) > 1:
        level = [sha256(prefix + level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    return level[0]


def fold(subtrees: Sequence[bytes]) -> bytes:
    """Return the root over a frontier: from the smallest subtree to the largest."""
    if not subtrees:
        return EMPTY_ROOT
    root = subtrees[-1]
    for subtree in reversed(subtrees[:-1]):
        root = node_hash(subtree, root)
    return root


def range_root(start: int, end: int, node: NodeReader) -> bytes:
    """Return RFC 6962's MTH over leaves `start` to `end`, where `start` is where a subtree of that tree begins."""
    subtrees = []
    while start < end:
        level = (end - start).bit_length() - 1
        subtrees.append(node(level, start >> level))
        start += 1 << level
    return fold(subtrees)


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: its size and the roots of its perfect subtrees, largest first."""

    size: int = 0
    subtrees: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        well_formed = self.size >= 0 and len(self.subtrees) == self.size.bit_count()
        if not well_formed or any(len(subtree) != HASH_SIZE for subtree in self.subtrees):
            raise CorruptError("the tree state is damaged: its frontier does not fit its size")

    @property
    def root(self) -> Digest:
        """The root of the tree."""
        return Digest.from_raw(fold(self.subtrees))

    def extended(self, leaf_hashes: Iterable[bytes]) -> Frontier:
        """Return the frontier after these leaves."""
        sha256, prefix = hashlib.sha256, NODE_PREFIX
        subtrees, size = list(self.subtrees), self.size
        for subtree in leaf_hashes:
            ones = size
            while ones & 1:
                subtree = sha256(prefix + subtrees.pop() + subtree).digest()
                ones >>= 1
            subtrees.append(subtree)
            size += 1
        return Frontier(size, tuple(subtrees))

    def to_bytes(self) -> bytes:
        """The subtrees, joined; the size is stored beside them."""
        return b"".join(self.subtrees)

    @classmethod
    def from_bytes(cls, size: int, joined: bytes) -> Frontier:
        """Read what `to_bytes` wrote; raise `CorruptError` if it does not fit the size."""
        if len(joined) % HASH_SIZE:
            raise CorruptError("the tree state is damaged: its frontier is cut")
        return cls(size, tuple(joined[i : i + HASH_SIZE] for i in range(0, len(joined), HASH_SIZE)))

    @classmethod
    def at(cls, size: int, node: NodeReader) -> Frontier:
        """Read the frontier of a tree of that size from its nodes."""
        subtrees, start = [], 0
        while start < size:
            level = (size - start).bit_length() - 1
            subtrees.append(node(level, start >> level))
            start += 1 << level
        return cls(size, tuple(subtrees))
