"""The only door from async endpoints to the sync core.

Rules
-----
1. Work that may block runs in one bounded pool; when its queue is full the answer is 503 now, not a slow one later.
2. SQLite has one writer, so its pool for writing has one thread.
3. Nothing is cancelled half-way: a request that goes away leaves its work to finish, and commit or roll back whole.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from kernel.errors import UnavailableError

P = ParamSpec("P")
T = TypeVar("T")


class Offload:
    """A bounded pool of threads with a bounded queue."""

    def __init__(self, threads: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="offload")
        self._room = threading.BoundedSemaphore(threads + queue)

    async def __call__(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in the pool and return what it returns.

        Raises:
            UnavailableError: The queue is full.
        """
        if not self._room.acquire(blocking=False):
            raise UnavailableError("the gateway is busy; try again shortly")
        future = asyncio.get_running_loop().run_in_executor(self._pool, lambda: work(*args, **kwargs))
        future.add_done_callback(lambda _: self._room.release())
        return await asyncio.shield(future)

    def close(self) -> None:
        """Let running work finish and take no more."""
        self._pool.shutdown(wait=True)
