"""Inclusion and consistency proofs: made from nodes, verified from roots alone. Pure.

Rules
-----
1. Makers are RFC 6962's recursive definitions, unrolled; verifiers are the iterative algorithms of RFC 9162.
2. A verifier returns nothing or raises: there is no boolean to forget.
3. Every hash has 32 bytes, every index and size is checked before anything is hashed, and a proof has exactly as many
   hashes as the sizes demand.

Reference: RFC 6962 sections 2.1.1 and 2.1.2; RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.merkle import EMPTY_ROOT, HASH_SIZE, NodeReader, node_hash, range_root
from kernel.canonical import LARGEST_INTEGER
from kernel.checks import whole
from kernel.errors import CorruptError

Proof = tuple[bytes, ...]
LONGEST_PROOF = 64


def inclusion_proof(index: int, size: int, node: NodeReader) -> Proof:
    """Return the hashes that lead from leaf `index` to the root of a tree of `size`; 0 <= index < size."""
    whole(1, LARGEST_INTEGER, size=size)
    whole(0, size - 1, index=index)
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(middle, end, node))
            end = middle
        else:
            path.append(range_root(start, middle, node))
            start = middle
    return tuple(reversed(path))


def consistency_proof(old: int, new: int, node: NodeReader) -> Proof:
    """Return the hashes that show a tree of size `old` to be a prefix of one of size `new`; 0 <= old <= new."""
    whole(0, LARGEST_INTEGER, new=new)
    whole(0, new, old=old)
    if old == 0:
        return ()
    path, start, end, leftmost = [], 0, new, True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_root(middle, end, node))
            end = middle
        else:
            path.append(range_root(start, middle, node))
            start, leftmost = middle, False
    if not leftmost:
        path.append(range_root(start, end, node))
    return tuple(reversed(path))


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if the proof leads from the leaf at `index` to the root of a tree of `size`.

    Raises:
        CorruptError: It does not, or any part has no valid form.
    """
    _require(_sizes(index, size) and index < size, "the index lies outside the tree")
    _require(_hashes(leaf_hash, root, *proof[:LONGEST_PROOF]), "a hash has another length than 32 bytes")
    node, last, hashed = index, size - 1, leaf_hash
    for sibling in proof:
        _require(last > 0, "the inclusion proof is too long")
        if node & 1 or node == last:
            hashed = node_hash(sibling, hashed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        node, last = node >> 1, last >> 1
    _require(last == 0, "the inclusion proof is too short")
    _require(hashed == root, "the inclusion proof does not lead to the root")


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Return if the tree with `old_root` is a prefix of the tree with `new_root`.

    Raises:
        CorruptError: It is not, or any part has no valid form.
    """
    _require(_sizes(old, new) and old <= new, "the older tree is larger than the newer one")
    _require(_hashes(old_root, new_root, *proof[:LONGEST_PROOF]), "a hash has another length than 32 bytes")
    if old in (0, new):
        _require(not proof, "the consistency proof must be empty")
        expected = EMPTY_ROOT if old == 0 else new_root
        _require(old_root == expected, "the older root is not a root of this log")
        return
    _require(len(proof) > 0, "the consistency proof is empty")
    from_old, from_new = _climb(old, new, proof if old & (old - 1) else (old_root, *proof))
    _require(from_old == old_root, "the consistency proof does not lead to the older root")
    _require(from_new == new_root, "the consistency proof does not lead to the newer root")


def _climb(old: int, new: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    from_old = from_new = path[0]
    for sibling in path[1:]:
        _require(last > 0, "the consistency proof is too long")
        if node & 1 or node == last:
            from_old, from_new = node_hash(sibling, from_old), node_hash(sibling, from_new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            from_new = node_hash(from_new, sibling)
        node, last = node >> 1, last >> 1
    _require(last == 0, "the consistency proof is too short")
    return from_old, from_new


def _split(width: int) -> int:
    # The largest power of two below `width` (RFC 6962 calls it k).
    return 1 << ((width - 1).bit_length() - 1)


def _sizes(*numbers: object) -> bool:
    return all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= LARGEST_INTEGER for n in numbers)


def _hashes(*hashes: object) -> bool:
    return all(isinstance(h, bytes) and len(h) == HASH_SIZE for h in hashes)


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise CorruptError(sentence)
