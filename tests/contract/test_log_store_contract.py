"""What every adapter of the log must do. An adapter joins by adding itself to `tests.support.logs.ADAPTERS`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit.archive import Archive
from audit.entry import Actor, Entry, parse_leaf
from audit.events import LogRead, ReadScope
from audit.export import write_archive
from audit.log import append
from audit.memory import MemoryTiles
from audit.merkle import Frontier, leaf_hash
from audit.note import NoteKey
from audit.sequencer import Sequencer
from audit.trust import TrustFile
from audit.verify import Outcome, verify_log
from kernel.errors import ConflictError, StaleError
from kernel.ids import DecisionId, PrincipalId, TenantId
from kernel.signing import Ed25519Signer
from tests.support.databases import cases
from tests.support.logs import ADAPTERS, Logs

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
ACTOR = Actor(PrincipalId.new(os.urandom), ("auditor",))
ONE, TWO = TenantId.new(os.urandom), TenantId.new(os.urandom)
SIGNER = Ed25519Signer.generate(os.urandom)
ORIGIN = "gw.example/audit"
EVENT = LogRead(decision=DecisionId.new(os.urandom), scope=ReadScope.ENTRIES, first=0, count=1)


@pytest.fixture(params=cases(ADAPTERS))
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Logs]:
    """Each adapter in turn, empty."""
    with ADAPTERS[request.param](tmp_path) as adapter:
        yield adapter


def write(logs: Logs, *tenants: TenantId) -> list[Entry]:
    """Append one entry for each, all in one unit of work."""
    with logs.work() as store:
        return [append(store, EVENT, tenant=t, time=NOW, actor=ACTOR, entropy=os.urandom) for t in tenants]


def integrate(logs: Logs, limit: int = 1000) -> Frontier:
    """Integrate what is pending, as the sequencer does."""
    pending, before = logs.reader.pending(limit), logs.reader.tree()
    after = before.extended(leaf_hash(entry.leaf) for entry in pending)
    logs.reader.integrate(before, [entry.row for entry in pending], after)
    return after


def test_each_tenant_counts_without_a_gap(logs: Logs) -> None:
    """Within one unit of work and across several, whatever other tenants do."""
    written = write(logs, ONE, TWO, ONE) + write(logs, ONE) + write(logs, TWO, TWO)
    assert [entry.seq for entry in written if entry.tenant == ONE] == [0, 1, 2]
    assert [entry.seq for entry in written if entry.tenant == TWO] == [0, 1, 2]


def test_a_unit_of_work_that_fails_leaves_no_trace(logs: Logs) -> None:
    """No entry, no gap."""
    write(logs, ONE)

    def fail() -> None:
        with logs.work() as store:
            append(store, EVENT, tenant=ONE, time=NOW, actor=ACTOR, entropy=os.urandom)
            append(store, EVENT, tenant=TWO, time=NOW, actor=ACTOR, entropy=os.urandom)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(logs.reader.pending(10)) == 1
    assert [entry.seq for entry in write(logs, ONE, TWO)] == [1, 0]


def test_pending_entries_come_in_the_order_of_their_insertion(logs: Logs) -> None:
    """As many as were asked for, with the bytes of their leaves, until they are integrated."""
    written = write(logs, ONE, TWO) + write(logs, ONE)
    assert [entry.leaf for entry in logs.reader.pending(10)] == [entry.leaf for entry in written]
    assert len(logs.reader.pending(2)) == 2
    integrate(logs, 2)
    assert [entry.leaf for entry in logs.reader.pending(10)] == [written[2].leaf]


def test_integration_gives_indices_and_replaces_the_state(logs: Logs) -> None:
    """Leaves are then read by index, and the state is what was stored."""
    assert logs.reader.tree() == Frontier()
    written = write(logs, ONE, TWO, ONE)
    integrate(logs, 2)
    after = integrate(logs)
    assert logs.reader.tree() == after == Frontier().extended(leaf_hash(entry.leaf) for entry in written)
    assert list(logs.reader.leaves(0, 3)) == [entry.leaf for entry in written]
    assert list(logs.reader.leaves(1, 2)) == [written[1].leaf]
    assert list(logs.reader.leaves(2, 2)) == []


def test_integration_on_an_older_state_changes_nothing(logs: Logs) -> None:
    """The second of two sequencers is refused."""
    write(logs, ONE)
    before = logs.reader.tree()
    integrate(logs)
    write(logs, ONE)
    (pending,) = logs.reader.pending(10)
    with pytest.raises(StaleError):
        logs.reader.integrate(before, [pending.row], before.extended([leaf_hash(pending.leaf)]))
    assert logs.reader.tree().size == 1
    assert len(logs.reader.pending(10)) == 1


def test_checkpoints_are_only_added(logs: Logs) -> None:
    """The newest is the largest; the same again is accepted, another of that size is not."""
    assert logs.reader.newest_checkpoint() is None
    for size, note in ((0, b"zero"), (10, b"ten"), (2, b"two"), (10, b"ten")):
        logs.reader.insert_checkpoint(size, note)
    assert logs.reader.newest_checkpoint() == b"ten"
    with pytest.raises(ConflictError):
        logs.reader.insert_checkpoint(10, b"other")
    assert logs.reader.newest_checkpoint() == b"ten"


def test_openings_are_one_tenants_below_a_size(logs: Logs) -> None:
    """In the order of the counter, from where one asks, as many as one asks for; never what is not integrated."""
    written = write(logs, ONE, TWO, ONE, TWO, ONE)
    integrate(logs)
    write(logs, ONE)
    openings = logs.reader.openings(ONE, 0, 10, 5)
    assert [(o.index, o.payload, o.salt) for o in openings] == [
        (i, written[i].payload, written[i].salt) for i in (0, 2, 4)
    ]
    assert [o.index for o in logs.reader.openings(ONE, 1, 1, 5)] == [2]
    assert [o.index for o in logs.reader.openings(ONE, 0, 10, 4)] == [0, 2]
    assert list(logs.reader.openings(TenantId.new(os.urandom), 0, 10, 5)) == []


def test_writers_at_once_leave_no_gap_and_no_disorder(logs: Logs, tmp_path: Path) -> None:
    """Four threads write for two tenants while a sequencer integrates; the export of each tenant is verified."""
    tiles = MemoryTiles()
    sequencer = Sequencer(store=logs.reader, tiles=tiles, origin=ORIGIN, signers=[SIGNER], batch=7)

    def writer(number: int) -> None:
        for _ in range(20):
            write(logs, ONE if number % 2 else TWO)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(writer, number) for number in range(4)]
        while not all(future.done() for future in running):
            sequencer.step()
        for future in running:
            future.result()
    while sequencer.step() is not None:
        pass
    leaves = [parse_leaf(leaf) for leaf in logs.reader.leaves(0, 80)]
    for tenant in (ONE, TWO):
        assert [leaf.seq for leaf in leaves if leaf.tenant == tenant] == list(range(40))
        directory = tmp_path / tenant
        directory.mkdir()
        write_archive(directory, tenant=tenant, store=logs.reader, tiles=tiles)
        trust = TrustFile(origin=ORIGIN, tenant=tenant, log_keys=(NoteKey(ORIGIN, SIGNER.public_key),))
        assert verify_log(Archive.open(directory), trust).outcome is Outcome.VERIFIED
