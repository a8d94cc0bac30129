"""SQLite's writers of one process take turns on one connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from gateway.storage.engine import MEMORY, build_engine, is_sqlite_file
from gateway.storage.sole_writer import SoleWriter
from kernel.errors import UnavailableError


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A SQLite file."""
    made = build_engine(f"sqlite:///{tmp_path / 'x.sqlite'}")
    yield made
    made.dispose()


def test_all_write_on_the_same_connection(engine: Engine) -> None:
    """Whoever comes next gets what the last one gave back."""
    writer = SoleWriter(engine)
    with writer.turn() as first:
        pass
    with writer.turn() as second:
        pass
    assert second is first


def test_a_writer_that_fails_leaves_its_connection_behind(engine: Engine) -> None:
    """Its transaction ends with it, and the next one starts on another connection."""
    writer = SoleWriter(engine)
    used = []

    def fail() -> None:
        with writer.turn() as connection:
            used.append(connection)
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("CREATE TABLE t (x)")
            connection.exec_driver_sql("nonsense")

    with pytest.raises(OperationalError):
        fail()
    (failed,) = used
    with writer.turn() as fresh:
        assert fresh is not failed
        assert fresh.exec_driver_sql("SELECT name FROM sqlite_master").all() == []


def test_nobody_gets_a_turn_while_another_has_it(engine: Engine) -> None:
    """The wait has an end, and says what to do; afterwards the turn is free as before."""
    writer = SoleWriter(engine, patience=0.01)
    with writer.turn(), pytest.raises(UnavailableError, match="busy"), writer.turn():
        pytest.fail("two writers at once")
    with writer.turn():
        pass


def test_turns_come_in_the_order_of_asking(engine: Engine) -> None:
    """A writer in a loop does not keep the others out."""
    writer, order = SoleWriter(engine), list[int]()

    def take(number: int) -> None:
        with writer.turn():
            order.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    with writer.turn():
        for waiting, thread in enumerate(threads, 1):
            thread.start()
            while len(writer._waiting) < waiting:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_a_closed_writer_opens_again(engine: Engine) -> None:
    """Closing gives the connection back, and no more."""
    writer = SoleWriter(engine)
    with writer.turn() as first:
        pass
    writer.close()
    assert first.closed
    with writer.turn() as second:
        assert not second.closed


def test_only_a_file_has_a_sole_writer(engine: Engine) -> None:
    """In memory there is one connection for everything."""
    memory = build_engine(MEMORY)
    assert is_sqlite_file(engine)
    assert not is_sqlite_file(memory)
    memory.dispose()
