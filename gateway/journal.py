"""The group-commit door: decisions on reads are durable before they are answered, many to one commit.

Rules
-----
1. A read is answered after its decision's entry is committed, never before. If the journal is down, reads fail closed.
2. It has one thread and one connection of its own, so that it never waits for what waits for it.
3. One batch is one transaction: whatever has gathered while the last one committed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime

import structlog

from audit import log
from audit.entry import Actor
from gateway.storage.sql.log import SqlLog
from gateway.unit_of_work import Database
from kernel.errors import UnavailableError
from kernel.events import Event
from kernel.ids import Entropy, TenantId

MOST_IN_BATCH = 1000
MOST_WAITING = 20_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Item:
    tenant: TenantId
    event: Event
    time: datetime
    actor: Actor
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Journal:
    """Commits events of reads in groups. Start it, use it from any event loop, stop it."""

    def __init__(self, database: Database, entropy: Entropy) -> None:
        self._database = database
        self._entropy = entropy
        self._waiting: deque[_Item] = deque()
        self._condition = threading.Condition()
        self._running = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the writer."""
        self._running = True
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Commit what is waiting and stop."""
        with self._condition:
            self._running = False
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the writer runs; the readiness probe asks."""
        return self._running and self._thread is not None and self._thread.is_alive()

    async def record(self, tenant: TenantId, event: Event, time: datetime, actor: Actor) -> None:
        """Return once the event is durable in the log.

        Raises:
            UnavailableError: The journal is down, full, or its commit failed; nothing may be answered.
        """
        if not self.alive or len(self._waiting) >= MOST_WAITING:
            raise UnavailableError("the log cannot be written now, so nothing is answered; try again shortly")
        loop = asyncio.get_running_loop()
        item = _Item(tenant, event, time, actor, loop, loop.create_future())
        with self._condition:
            if not self._running:  # stopped meanwhile: nobody would ever take the item up
                raise UnavailableError("the log cannot be written now, so nothing is answered; try again shortly")
            self._waiting.append(item)
            self._condition.notify()
        await item.done

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and self._running:
                    self._condition.wait()
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_IN_BATCH))]
                if not batch and not self._running:
                    return
            self._commit(batch)

    def _commit(self, batch: list[_Item]) -> None:
        try:
            with self._database.writing() as connection:
                store = SqlLog(connection)
                for item in sorted(batch, key=lambda item: item.tenant):
                    log.append(
                        store,
                        item.event,
                        tenant=item.tenant,
                        time=item.time,
                        actor=item.actor,
                        entropy=self._entropy,
                    )
                store.flush()
        except Exception as error:  # noqa: BLE001 - every waiter must learn of it, whatever it was
            _log.error("journal", kind=type(error).__name__)
            _tell(batch, UnavailableError("the log could not be written, so nothing is answered; try again shortly"))
        else:
            _tell(batch, None)


def _tell(batch: list[_Item], error: Exception | None) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for item in batch:
        loops.setdefault(item.loop, []).append(item.done)
    for loop, futures in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, futures, error)


def _resolve(futures: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
