"""Appending, and the in-memory store that is the reference for the others."""

from __future__ import annotations

from typing import Any

import pytest

from audit.entry import opens, parse_leaf
from audit.merkle import Frontier
from kernel.canonical import Digest
from kernel.errors import ConflictError, StaleError


def test_a_tenants_counter_has_no_gap(world: Any) -> None:
    """Each tenant counts 0, 1, 2, ... whatever the others do."""
    for tenant in (0, 1, 1, 0, 1):
        world.write(tenant)
    assert [entry.seq for entry in world.log.entries(world.ids[0])] == [0, 1]
    assert [entry.seq for entry in world.log.entries(world.ids[1])] == [0, 1, 2]


def test_salts_and_ids_are_fresh(world: Any) -> None:
    """Equal events never give equal leaves: 32 bytes and an identifier are drawn for each entry."""
    world.write(0, 50)
    entries = world.log.entries()
    assert len({entry.salt for entry in entries}) == len({entry.id for entry in entries}) == 50
    assert all(len(entry.salt) == 32 for entry in entries)


def test_the_leaf_hash_is_known_before_integration_and_stays(world: Any) -> None:
    """What a permit cites is what the tree later holds."""
    entry = world.write()
    cited = entry.leaf_hash
    assert world.log.index_of(cited) is None
    world.publish()
    assert world.log.index_of(cited) == 0
    leaf = world.log.leaves(0, 1)[0]
    assert Digest.of(b"\x00" + leaf) == cited
    assert opens(parse_leaf(leaf), entry.payload, entry.salt).id == entry.id


def test_a_rolled_back_transaction_leaves_no_trace(world: Any) -> None:
    """Neither an entry nor a gap in the counter."""
    kept = world.write()
    mark = world.log.mark()
    world.write(0, 3)
    world.write(1)
    world.log.rollback(mark)
    assert world.log.entries() == [kept]
    assert (world.log.next_seq(world.ids[0]), world.log.next_seq(world.ids[1])) == (1, 0)
    world.write()
    assert [entry.seq for entry in world.log.entries()] == [0, 1]


def test_an_integrated_entry_cannot_be_rolled_back(world: Any) -> None:
    """What is in the tree stays."""
    mark = world.log.mark()
    world.write()
    world.publish()
    with pytest.raises(ConflictError):
        world.log.rollback(mark)


def test_nothing_is_stored_twice(world: Any) -> None:
    """The same entry, another tile at a path, another checkpoint of a size: each is a conflict."""
    entry = world.write()
    with pytest.raises(ConflictError):
        world.log.insert(entry, None)
    world.publish()
    note = world.log.newest_checkpoint()
    world.log.insert_checkpoint(1, note)
    with pytest.raises(ConflictError):
        world.log.insert_checkpoint(1, note + b"x")
    world.tiles.put("tile/0/000", b"a")
    world.tiles.put("tile/0/000", b"a")
    with pytest.raises(ConflictError):
        world.tiles.put("tile/0/000", b"b")


def test_integration_needs_the_state_it_read(world: Any) -> None:
    """A second sequencer with an older state changes nothing."""
    world.write()
    world.publish()
    world.write()
    (pending,) = world.log.pending(10)
    with pytest.raises(StaleError):
        world.log.integrate(Frontier(), [pending.row], Frontier())
    assert world.log.tree().size == 1


def test_two_worlds_from_one_seed_are_equal(make_world: Any) -> None:
    """Entropy is an argument: the same entropy gives the same log, byte for byte."""
    roots = set()
    for _ in range(2):
        made = make_world(tenants=2, seed="equal")
        roots.add(made.fill(40).root)
    assert len(roots) == 1
