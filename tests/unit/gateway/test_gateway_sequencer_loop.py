"""The sequencer's thread: it integrates, survives failures, stops for good at a contradiction, and leads alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from audit.memory import MemoryTiles
from audit.sequencer import Sequencer, no_point
from gateway import sequencer_loop
from gateway.sequencer_loop import SequencerLoop
from gateway.storage.engine import build_engine
from gateway.storage.sql.log import SqlIntegration
from gateway.unit_of_work import Database, Surroundings
from kernel.clock import ManualClock
from kernel.ids import CredentialId, TenantId
from kernel.signing import Ed25519Signer
from policies.events import CredentialRevoked
from tests.support.budgets import fresh
from tests.support.databases import DATABASES, cases

SIGNER = Ed25519Signer.generate(os.urandom)
TILES = MemoryTiles()
Point = Callable[[str], None]


@pytest.fixture(params=cases(DATABASES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Each database, as an engine."""
    with DATABASES[request.param](tmp_path) as url:
        made = build_engine(url)
        yield made
        made.dispose()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer_loop, "FOLLOWER_SECONDS", 0.02)
    monkeypatch.setattr(sequencer_loop, "RETRY_SECONDS", 0.02)


class Log:
    """A log in a database, and loops that integrate it."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self.engine = engine
        self.database = Database(engine, Surroundings(clock, os.urandom))
        self.integration = SqlIntegration(self.database)
        self.tiles = MemoryTiles()

    def loop(self, point: Point = no_point, engine: Engine | None = None) -> SequencerLoop:
        """A loop, not started."""
        sequencer = Sequencer(
            store=self.integration, tiles=self.tiles, origin="gw.example/log", signers=[SIGNER], point=point
        )
        return SequencerLoop(sequencer, engine or self.engine, 0.01)

    def write(self, entries: int = 1) -> None:
        """Commit entries."""
        tenant = fresh(TenantId)
        with self.database.work(tenant) as work:
            for _ in range(entries):
                work.record(CredentialRevoked(credential=fresh(CredentialId)))
            work.commit("entries")

    def size(self) -> int:
        """How many entries the newest checkpoint covers."""
        note = self.integration.newest_checkpoint()
        return 0 if note is None else int(note.splitlines()[1])


@pytest.fixture
def log(engine: Engine, clock: ManualClock) -> Log:
    """An empty log."""
    return Log(engine, clock)


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it becomes true."""
    until = time.monotonic() + 20
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_what_is_committed_is_published_while_it_runs(log: Log) -> None:
    """Entries from before and after its start; nothing after its end."""
    log.write(3)
    loop = log.loop()
    loop.start()
    assert eventually(lambda: log.size() == 3)
    log.write(2)
    assert eventually(lambda: log.size() == 5)
    loop.stop()
    log.write()
    assert log.size() == 5
    assert loop.healthy


def test_a_failure_is_tried_again(log: Log) -> None:
    """A lost connection in the middle of a step costs time and nothing else, and the lock is not lost on the way."""
    struck = threading.Event()

    def point(name: str) -> None:
        if name == "sequencer:integrated" and not struck.is_set():
            struck.set()
            raise ConnectionError("gone")

    log.write(3)
    loop = log.loop(point)
    loop.start()
    assert eventually(lambda: log.size() == 3)
    assert struck.is_set()
    loop.stop()
    assert loop.healthy


def test_a_log_that_contradicts_itself_stops_it_for_good(log: Log) -> None:
    """Nothing more is signed, and readiness will say so."""
    log.write(3)
    first = log.loop()
    first.start()
    assert eventually(lambda: log.size() == 3)
    first.stop()
    with log.database.writing() as connection:
        connection.execute(text("UPDATE log_tree SET size = 2"))
    log.write()
    loop = log.loop()
    loop.start()
    assert eventually(lambda: not loop.healthy)
    loop.stop()
    assert log.size() == 3


def test_a_loop_that_never_started_can_be_stopped(log: Log) -> None:
    """An app whose start was cut off still closes."""
    log.loop().stop()


@pytest.mark.parametrize("engine", cases(["postgres"]), indirect=True)
def test_of_two_replicas_one_leads_and_the_other_takes_over(log: Log) -> None:
    """The second integrates nothing while the first lives, and everything after it stopped."""
    steps: dict[str, int] = {"first": 0, "second": 0}

    def counting(name: str) -> Point:
        def point(_: str) -> None:
            steps[name] += 1

        return point

    other = build_engine(log.engine.url.render_as_string(hide_password=False))
    first, second = log.loop(counting("first")), log.loop(counting("second"), other)
    log.write()
    first.start()
    assert eventually(lambda: log.size() == 1)
    second.start()
    for size in range(2, 6):
        log.write()
        assert eventually(lambda size=size: log.size() == size)  # type: ignore[misc]
    assert steps["second"] == 0
    first.stop()
    log.write()
    assert eventually(lambda: log.size() == 6)
    assert steps["second"] > 0
    second.stop()
    other.dispose()
