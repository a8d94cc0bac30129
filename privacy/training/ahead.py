"""The next step's noise, made on another thread while this step runs. Child only.

Rules
-----
1. It hands out what its stream makes, in order, each number once: the thread changes when noise is made, never which.
2. Whether it is used follows from the declared size of the vector and the processors that the process may use, never
   from rows: below `WORTH_IT` numbers, or on one processor, making noise in place is quicker.
3. Denormals are flushed in the thread (RULES 14). Its time counts towards the process' own.
4. It ends with its run: whoever opens one closes it. What the thread raises is raised where the noise is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread

import torch

from kernel.ids import Entropy
from privacy.training.stream import Floats, Gaussians, NoiseStream

WORTH_IT = 30_000
"""Numbers per step: 4 ns each in place, and handing an array over takes about 30 microseconds."""
ENOUGH_PROCESSORS = 4
"""On two that others use, too, a second thread made steps up to 40 % longer: it takes what the step itself needs."""


class NoiseAhead:
    """A stream with a thread that stays one vector ahead.

    Args:
        stream: From now on the thread's own.
        size: How long every vector is.
    """

    def __init__(self, stream: Gaussians, size: int) -> None:
        self._stream, self._size = stream, size
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._ready: SimpleQueue[Floats | Exception] = SimpleQueue()
        self._thread = Thread(target=self._work, name="noise", daemon=True)
        self._wanted.put(True)
        self._thread.start()

    def gaussians(self, size: int) -> Floats:
        """The vector that is ready; the next one is begun."""
        if size != self._size:
            raise ValueError("every vector of a run has one length")
        made = self._ready.get()
        if isinstance(made, Exception):
            raise made
        self._wanted.put(True)
        return made

    def close(self) -> None:
        """End the thread, and wait for it."""
        self._wanted.put(False)
        self._thread.join()

    def _work(self) -> None:
        torch.set_flush_denormal(True)
        while self._wanted.get():
            try:
                self._ready.put(self._stream.gaussians(self._size))
            except Exception as error:  # noqa: BLE001 - whatever it is belongs to the thread that waits
                self._ready.put(error)
                return


@contextmanager
def noise_source(size: int, entropy: Entropy = os.urandom) -> Iterator[Gaussians]:
    """A stream of its own key for vectors of one size, ahead on another thread where that pays."""
    stream = NoiseStream(entropy)
    if size < WORTH_IT or processors() < ENOUGH_PROCESSORS:
        yield stream
        return
    ahead = NoiseAhead(stream, size)
    try:
        yield ahead
    finally:
        ahead.close()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
