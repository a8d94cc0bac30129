"""The sequencer: order, redo after a crash anywhere, and the refusal to extend a wrong tree."""

from __future__ import annotations

from typing import Any

import pytest

from audit.checkpoint import sign_checkpoint, verify_checkpoint
from audit.entry import parse_leaf
from audit.merkle import Frontier, leaf_hash
from audit.proofs import consistency_proof, verify_consistency
from audit.published import PublishedLog
from audit.sequencer import POINTS
from audit.tiles import ENTRIES, Tile, decode_bundle, decode_tile, levels_of, tiles_of
from kernel.canonical import Digest
from kernel.errors import ConflictError, CorruptError, StaleError
from kernel.signing import Ed25519Signer


class CrashError(Exception):
    """The process dies here."""


class CrashAt:
    """A `point` that dies at the n-th call, and remembers what it passed."""

    def __init__(self, call: int) -> None:
        self._left = call
        self.passed: list[str] = []

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        self._left -= 1
        if self._left == 0:
            raise CrashError(name)


def test_the_first_step_publishes_the_empty_log(world: Any) -> None:
    """So that a reader can be enrolled before anything happened."""
    sequencer = world.sequencer()
    assert sequencer.step().size == 0
    assert sequencer.step() is None


def test_entries_are_integrated_in_the_order_of_their_insertion(world: Any) -> None:
    """And each tenant's counter rises with the index."""
    for tenant in (0, 0, 1, 0, 1, 1):
        world.write(tenant)
    checkpoint = world.publish()
    leaves = world.log.leaves(0, 6)
    assert leaves == [entry.leaf for entry in world.log.entries()]
    assert checkpoint.root == Frontier().extended(map(leaf_hash, leaves)).root
    for tenant in world.ids:
        assert [leaf.seq for leaf in map(parse_leaf, leaves) if leaf.tenant == tenant] == [0, 1, 2]


def test_a_step_integrates_one_batch_and_publishes_it(world: Any) -> None:
    """Each checkpoint covers what was integrated, and proves to be an extension of the one before."""
    world.write(0, 25)
    sequencer, sizes = world.sequencer(batch=10), []
    previous = None
    while (checkpoint := sequencer.step()) is not None:
        sizes.append(checkpoint.size)
        if previous is not None:
            tree = PublishedLog(world.log, world.tiles).tree(checkpoint.size)
            proof = consistency_proof(previous.size, checkpoint.size, tree.node)
            verify_consistency(previous.size, checkpoint.size, proof, previous.root.raw, checkpoint.root.raw)
        previous = checkpoint
    assert sizes == [10, 20, 25]


def test_only_full_tiles_are_stored_and_all_tiles_can_be_read(world: Any) -> None:
    """After 600 entries two full tiles and bundles are stored; partial ones follow from the leaves."""
    world.fill(600)
    assert sorted(world.tiles.files) == ["tile/0/000", "tile/0/001", "tile/entries/000", "tile/entries/001"]
    log = PublishedLog(world.log, world.tiles)
    leaves = world.log.leaves(0, 600)
    for bundle in tiles_of(ENTRIES, 600):
        assert (
            decode_bundle(log.read(bundle), bundle.width)
            == leaves[bundle.index * 256 : bundle.index * 256 + bundle.width]
        )
    for level in levels_of(600):
        for tile in tiles_of(level, 600):
            assert len(decode_tile(log.read(tile), tile.width)) == tile.width
    with pytest.raises(CorruptError):
        log.read(Tile(0, 7))
    with pytest.raises(CorruptError):
        log.read(Tile(0, 2, 200))


def test_a_tile_of_the_second_level_is_written_when_it_is_full(world: Any) -> None:
    """65,536 leaves make one full tile on level 1, from the 256 full tiles below it."""
    hashes = [leaf_hash(b"%d" % i) for i in range(256)]
    for index in range(256):
        world.tiles.put(Tile(0, index).path, b"".join(hashes))
    log = PublishedLog(world.log, world.tiles)
    rendered = decode_tile(log.render(Tile(1, 0)), 256)
    assert rendered == [Frontier().extended(hashes).root.raw] * 256
    assert log.render(Tile(1, 0, 3)) == b"".join(rendered[:3])


def _history(make_world: Any, crashes: list[int]) -> tuple[Any, list[str]]:
    """Write 317 entries in three parts, with a crash in each, and go on after it."""
    made, passed = make_world(tenants=2, seed="crash"), []
    for part, crash in zip((255, 2, 60), crashes, strict=True):
        for number in range(part):
            made.write(number % 2)
        point = CrashAt(crash)
        sequencer = made.sequencer(point=point, batch=100)
        try:
            while sequencer.step() is not None:
                pass
        except CrashError:
            made.publish()
        passed += point.passed
    return made, passed


def test_a_crash_at_every_point_changes_nothing(make_world: Any) -> None:
    """Whatever call the sequencer dies at, the log it then makes is the one an undisturbed run makes."""
    undisturbed, passed = _history(make_world, [0, 0, 0])
    assert set(passed) == set(POINTS)
    for call in range(1, 18):
        for crashes in ([call, 0, 0], [0, call, 0], [0, 0, call], [call, call, call]):
            made, _ = _history(make_world, crashes)
            assert made.log.tree() == undisturbed.log.tree()
            assert made.tiles.files == undisturbed.tiles.files
            assert made.log.newest_checkpoint() == undisturbed.log.newest_checkpoint()


def test_nothing_is_signed_before_it_is_committed(world: Any) -> None:
    """A sequencer that dies before integration, and one whose integration fails, leave no checkpoint of that size."""
    world.publish()
    world.write()
    with pytest.raises(CrashError):
        world.sequencer(point=CrashAt(1)).step()
    assert world.log.tree().size == 0
    assert b"\n0\n" in world.log.newest_checkpoint()


def test_a_second_sequencer_fails(world: Any) -> None:
    """It read the same state; the store refuses its integration, and nothing is integrated twice."""
    world.write(0, 3)

    def overtaken(name: str) -> None:
        if name == "sequencer:before-integration":
            world.publish()

    with pytest.raises(StaleError):
        world.sequencer(point=overtaken).step()
    assert world.log.tree().size == 3


def _swap_leaves(made: Any) -> None:
    made.log._by_index[280], made.log._by_index[281] = made.log._by_index[281], made.log._by_index[280]


def _shrink_tree(made: Any) -> None:
    made.log._tree = Frontier().extended(map(leaf_hash, made.log.leaves(0, 200)))


def _other_frontier(made: Any) -> None:
    made.log._tree = Frontier().extended([bytes(32)] * 300)


def _lose_tile(made: Any) -> None:
    del made.tiles.files["tile/0/000"]


def _damage_tile(made: Any) -> None:
    made.tiles.files["tile/0/000"] = bytes(8192)


def _foreign_checkpoint(made: Any) -> None:
    text = verify_checkpoint(made.log.newest_checkpoint(), origin=made.key.name, log_keys=[made.key]).checkpoint
    made.log._checkpoints = {300: sign_checkpoint(text, Ed25519Signer(b"x" * 32))}


@pytest.mark.parametrize(
    "damage",
    [_swap_leaves, _shrink_tree, _other_frontier, _lose_tile, _damage_tile, _foreign_checkpoint],
    ids=lambda f: f.__name__.strip("_"),
)
def test_a_sequencer_refuses_to_start_on_a_log_that_contradicts_itself(make_world: Any, damage: Any) -> None:
    """Altered leaves, an older database, lost or damaged tiles, a checkpoint by another key: no step is taken."""
    made = make_world()
    made.fill(300)
    damage(made)
    before = dict(made.log._checkpoints)
    made.write()
    with pytest.raises(CorruptError):
        made.sequencer().step()
    assert made.log._checkpoints == before


def test_a_running_sequencer_does_not_sign_a_wrong_tree(make_world: Any) -> None:
    """Leaves that change under its feet are noticed before the next signature."""
    made = make_world()
    made.fill(300)
    sequencer = made.sequencer()
    sequencer.check()
    _swap_leaves(made)
    made.write()
    before = dict(made.log._checkpoints)
    with pytest.raises(CorruptError, match="nothing was signed"):
        sequencer.step()
    assert made.log._checkpoints == before


def test_a_tile_that_exists_with_other_bytes_stops_the_sequencer(world: Any) -> None:
    """Tiles are created once; a different one at the path is a conflict, not overwritten."""
    world.publish()
    running = world.sequencer()
    running.check()
    world.tiles.put("tile/entries/000", b"something else")
    world.write(0, 256)
    with pytest.raises(ConflictError):
        running.step()


def test_a_full_tile_beyond_the_tree_stops_the_sequencer_when_it_starts(world: Any) -> None:
    """The database was put back to before that tile: its log would be a second history."""
    world.publish()
    world.tiles.put("tile/entries/000", b"what was there before")
    with pytest.raises(CorruptError, match="older than its tiles"):
        world.sequencer().check()


def test_a_key_is_rotated_by_signing_with_both(world: Any) -> None:
    """During the overlap either key verifies; afterwards the former one is still accepted at the start."""
    world.fill(3)
    fresh = Ed25519Signer(b"f" * 32)
    world.write()
    world.sequencer(signers=[world.signer, fresh]).step()
    world.write()
    checkpoint = world.sequencer(signers=[fresh], former_keys=[world.key]).step()
    assert checkpoint.size == 5
    assert checkpoint.root != Digest.of(b"")
