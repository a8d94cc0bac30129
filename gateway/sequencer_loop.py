"""The log's sequencer as a thread of the API process: one leader, whatever the number of replicas.

Rules
-----
1. Leadership is a database lock (PostgreSQL) or the process itself (SQLite has one API process).
2. A step that fails is tried again; a log that contradicts itself stops the sequencer for good, and readiness says so.
"""

from __future__ import annotations

import threading

import structlog
from sqlalchemy import Engine, text

from audit.sequencer import Sequencer
from gateway.storage.engine import is_sqlite
from kernel.errors import CorruptError, PrivgateError

LEADER_LOCK = 0x70726976  # a number that nothing else in the database uses
FOLLOWER_SECONDS = 2.0
RETRY_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class SequencerLoop:
    """Runs the sequencer until it is stopped."""

    def __init__(self, sequencer: Sequencer, engine: Engine, interval_seconds: float) -> None:
        self._sequencer = sequencer
        self._engine = engine
        self._interval = interval_seconds
        self._stopping = threading.Event()
        self._broken = False
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the present step and stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def healthy(self) -> bool:
        """Whether the log is not known to contradict itself."""
        return not self._broken

    def _run(self) -> None:
        while not self._stopping.is_set() and not self._broken:
            try:
                self._lead()
            except Exception as error:  # noqa: BLE001 - a lost connection is tried again; nothing is signed meanwhile
                _log.warning("sequencer", kind=type(error).__name__)
                self._stopping.wait(RETRY_SECONDS)

    def _lead(self) -> None:
        """Hold the leader's lock and step until told to stop."""
        with self._engine.connect() as connection:
            if not is_sqlite(connection):
                query = text("SELECT pg_try_advisory_lock(:key)").bindparams(key=LEADER_LOCK)
                leads = bool(connection.execute(query).scalar_one())
                connection.commit()
                if not leads:
                    self._stopping.wait(FOLLOWER_SECONDS)
                    return
                # Closed at the end, not given back to the pool, where it would go on holding the lock.
                connection.detach()
            while not self._stopping.is_set() and not self._broken:
                self._step()
                self._stopping.wait(self._interval)

    def _step(self) -> None:
        try:
            while self._sequencer.step() is not None and self._sequencer.behind:
                if self._stopping.is_set():
                    return
        except CorruptError:
            self._broken = True
            _log.error("log-contradicts-itself")
        except PrivgateError as error:
            _log.warning("sequencer", kind=type(error).__name__)
