"""SQLite's one writer within a process: one connection, taken in turns.

Rules
-----
1. Writers of a process queue here, first come first served. At the lock of the database file they would sleep for up to
   a tenth of a second at a time, however soon it is free; that is left to other processes.
2. All write on the same connection, because SQLite drops what a connection has cached as soon as another one commits.
3. A connection that a failed writer leaves behind is not used again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from gateway.storage.engine import BUSY_MILLISECONDS
from kernel.errors import UnavailableError


class SoleWriter:
    """Lends the writing connection to one thread at a time.

    Args:
        engine: Where the connection comes from.
        patience: How many seconds a writer waits for its turn.
    """

    def __init__(self, engine: Engine, patience: float = BUSY_MILLISECONDS / 1000) -> None:
        self._engine = engine
        self._patience = patience
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()
        self._kept: Connection | None = None

    @contextmanager
    def turn(self) -> Iterator[Connection]:
        """Wait for the turn and lend the connection, outside any transaction.

        Raises:
            UnavailableError: The turn did not come in time.
        """
        self._take()
        try:
            connection, self._kept = self._kept or self._engine.connect(), None
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._kept = connection
        finally:
            self._give()

    def close(self) -> None:
        """Close the connection; a later turn opens another."""
        self._take()
        try:
            if self._kept is not None:
                self._kept.close()
                self._kept = None
        finally:
            self._give()

    def _take(self) -> None:
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        if mine.acquire(timeout=self._patience):
            return
        with self._mutex:
            if mine.acquire(blocking=False):  # handed over in the last moment
                return
            self._waiting.remove(mine)
        raise UnavailableError("the database is busy; try again shortly")

    def _give(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
