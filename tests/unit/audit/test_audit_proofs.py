"""Inclusion and consistency proofs: published vectors, their invalid variants, every small tree."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.merkle import EMPTY_ROOT, leaf_hash, perfect_root, range_root
from audit.proofs import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from kernel.errors import CorruptError, InvalidError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/rfc6962/proofs.json").read_text("utf-8"))
MOST = 70
HASHES = [leaf_hash(b"leaf %d" % i) for i in range(MOST)]
GARBAGE = leaf_hash(b"garbage")


def node(level: int, index: int) -> bytes:
    """Nodes of the test tree."""
    return perfect_root(HASHES[index << level : (index + 1) << level])


ROOTS = [range_root(0, size, node) for size in range(MOST + 1)]


def naive_path(index: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1, word for word."""
    if len(hashes) <= 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return [*naive_path(index, hashes[:k]), _root(hashes[k:])]
    return [*naive_path(index - k, hashes[k:]), _root(hashes[:k])]


def naive_consistency(old: int, hashes: list[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2, word for word."""
    if old == len(hashes):
        return [] if whole else [_root(hashes)]
    k = _split(len(hashes))
    if old <= k:
        return [*naive_consistency(old, hashes[:k], whole=whole), _root(hashes[k:])]
    return [*naive_consistency(old - k, hashes[k:], whole=False), _root(hashes[:k])]


def _root(hashes: list[bytes]) -> bytes:
    return range_root(0, len(hashes), lambda level, index: perfect_root(hashes[index << level : (index + 1) << level]))


def _split(width: int) -> int:
    k = 1
    while k * 2 < width:
        k *= 2
    return k


def _raw(vector: dict[str, object]) -> dict[str, object]:
    decoded = {n: base64.b64decode(v) if isinstance(v, str) else v for n, v in vector.items()}
    return decoded | {"proof": [base64.b64decode(h) for h in vector["proof"] or []]}


def _changed_proofs(proof: list[bytes], *roots: bytes) -> Iterator[list[bytes]]:
    """The published families of invalid proofs."""
    for extra in (GARBAGE, b"", *roots):
        yield [*proof, extra]
        yield [extra, *proof]
    yield from ([*proof[:place], GARBAGE, *proof[place:]] for place in range(len(proof) + 1))
    yield from ([*proof[:place], *proof[place + 1 :]] for place in range(len(proof)))
    for place, hashed in enumerate(proof):
        for bit in (0, 4, 255):
            flipped = bytearray(hashed)
            flipped[bit // 8] ^= 1 << bit % 8
            yield [*proof[:place], bytes(flipped), *proof[place + 1 :]]
        yield [*proof[:place], hashed[:-1], *proof[place + 1 :]]
    if proof:
        yield []


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda v: f"{v['leafIdx']} of {v['treeSize']}")
def test_published_inclusion_proofs_hold_and_their_variants_do_not(vector: dict[str, object]) -> None:
    """The published proof is accepted; each change of index, size, leaf, root or proof is refused."""
    v = _raw(vector)
    index, size, leaf, root, proof = v["leafIdx"], v["treeSize"], v["leafHash"], v["root"], v["proof"]
    verify_inclusion(leaf, index, size, proof, root)
    variants = [(leaf, i, size, proof, root) for i in (index - 1, index + 1, index ^ 2, size, -1, 2**60)]
    variants += [(leaf, index, s, proof, root) for s in (size * 2, size // 2, 0, -1, 2**60)]
    variants += [(h, index, size, proof, root) for h in (GARBAGE, b"", root + b"\x00")]
    variants += [(leaf, index, size, proof, r) for r in (GARBAGE, b"", EMPTY_ROOT)]
    variants += [(leaf, index, size, p, root) for p in _changed_proofs(proof, root)]
    assert len(variants) >= 18
    for variant in variants:
        with pytest.raises(CorruptError):
            verify_inclusion(*variant)


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda v: f"{v['size1']} in {v['size2']}")
def test_published_consistency_proofs_hold_and_their_variants_do_not(vector: dict[str, object]) -> None:
    """The published proof is accepted; each change of a size, a root or the proof is refused."""
    v = _raw(vector)
    old, new, old_root, new_root, proof = v["size1"], v["size2"], v["root1"], v["root2"], v["proof"]
    verify_consistency(old, new, proof, old_root, new_root)
    variants = [(s, new, proof, old_root, new_root) for s in (old - 1, old + 1, old ^ 2, 0, -1, 2**60)]
    variants += [(old, s, proof, old_root, new_root) for s in (new * 2, new // 2, 0, -1, 2**60) if s != new]
    variants += [(old, new, proof, r, new_root) for r in (GARBAGE, b"", EMPTY_ROOT)]
    variants += [(old, new, proof, old_root, r) for r in (GARBAGE, b"", EMPTY_ROOT)]
    variants += [(old, new, p, old_root, new_root) for p in _changed_proofs(proof, old_root, new_root)]
    if old_root != new_root:
        variants.append((old, new, proof, new_root, old_root))
    assert len(variants) >= 18
    for variant in variants:
        with pytest.raises(CorruptError):
            verify_consistency(*variant)


def test_every_inclusion_proof_up_to_size_70_is_the_recursive_one_and_verifies() -> None:
    """For all 2,485 pairs of index and size."""
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            assert list(proof) == naive_path(index, HASHES[:size])
            verify_inclusion(HASHES[index], index, size, proof, ROOTS[size])


def test_every_consistency_proof_up_to_size_70_is_the_recursive_one_and_verifies() -> None:
    """For all pairs of sizes, the empty tree included."""
    for new in range(MOST + 1):
        for old in range(new + 1):
            proof = consistency_proof(old, new, node)
            assert list(proof) == ([] if old == 0 else naive_consistency(old, HASHES[:new]))
            verify_consistency(old, new, proof, ROOTS[old], ROOTS[new])


@given(st.data())
def test_an_inclusion_proof_proves_nothing_else(data: st.DataObject) -> None:
    """It holds for no other leaf, index or root of any tree size."""
    size = data.draw(st.integers(2, MOST))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, node)
    other, other_size = data.draw(st.integers(0, MOST - 1)), data.draw(st.integers(1, MOST))
    if other != index:
        with pytest.raises(CorruptError):
            verify_inclusion(HASHES[other], index, size, proof, ROOTS[size])
        with pytest.raises(CorruptError):
            verify_inclusion(HASHES[index], other, size, proof, ROOTS[size])
    if other_size != size:
        with pytest.raises(CorruptError):
            verify_inclusion(HASHES[index], index, size, proof, ROOTS[other_size])


@given(st.data())
def test_a_consistency_proof_proves_nothing_else(data: st.DataObject) -> None:
    """It holds for no rewritten older tree and no other newer one."""
    new = data.draw(st.integers(2, MOST))
    old = data.draw(st.integers(1, new - 1))
    proof = consistency_proof(old, new, node)
    other = data.draw(st.integers(0, MOST))
    if other != old:
        with pytest.raises(CorruptError):
            verify_consistency(old, new, proof, ROOTS[other], ROOTS[new])
    if other != new:
        with pytest.raises(CorruptError):
            verify_consistency(old, new, proof, ROOTS[old], ROOTS[other])


def test_makers_refuse_what_lies_outside_the_tree() -> None:
    """No proof is made for an index or an older size that the tree does not have."""
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(InvalidError):
            inclusion_proof(index, size, node)
    for old, new in ((6, 5), (-1, 5)):
        with pytest.raises(InvalidError):
            consistency_proof(old, new, node)
