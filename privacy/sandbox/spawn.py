"""Starting a confined child, watching it, and saying how it ended.

Rules
-----
1. A child starts with a clean environment, in a session of its own, with no input, no output and no descriptor but its
   two pipes. What it prints goes nowhere.
2. A child that has not said which confinement holds is not handed to the caller.
3. Every child ends: by itself, at its wall-clock limit, over its quota, or with its parent.
4. Of how it ended the caller learns one of a few words. Text, traces and core dumps do not exist.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import privacy
from kernel.errors import PrivgateError, UnavailableError
from privacy.sandbox.endings import Ending, Usage, ending_of
from privacy.sandbox.frames import Channel
from privacy.sandbox.limits import Level, Limits, require

MOST_FILES = 100_000
_READY_SECONDS = 60
_WATCH_SECONDS = 0.2
_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "ARROW_IO_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "USER": "child",
}


class Child:
    """A running child. As a context manager it is gone, whatever happens, when the block is left."""

    def __init__(
        self, process: subprocess.Popen[bytes], channel: Channel, limits: Limits, writable: Path | None
    ) -> None:
        self.channel = channel
        self.level = Level.RLIMITS
        self._process = process
        self._limits = limits
        self._writable = writable
        self._deadline = time.monotonic() + limits.wall_seconds
        self._mutex = threading.Lock()
        self._cause: Ending | None = None
        self._ending: Ending | None = None
        self._usage: Usage | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name=f"child-{process.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def usage(self) -> Usage | None:
        """What it used; known once it ended."""
        return self._usage

    def poll(self) -> Ending | None:
        """How it ended, or nothing while it runs."""
        return self._ending

    def wait(self, timeout_seconds: float | None = None) -> Ending | None:
        """Wait until it ended, at most so long; the wall-clock limit ends it in any case."""
        self._ended.wait(timeout_seconds)
        return self._ending

    def terminate(self) -> None:
        """Ask it to end; a child without a handler of its own ends at once."""
        self._signal(signal.SIGTERM, Ending.STOPPED)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL, Ending.STOPPED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self.wait()
        self.channel.close()

    def _signal(self, number: signal.Signals, cause: Ending) -> None:
        # The lock keeps the number from going to another process after this one was reaped.
        with self._mutex:
            if self._ending is None:
                self._cause = self._cause or cause
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)

    def _watch(self) -> None:
        while not self._exited():
            if time.monotonic() >= self._deadline:
                self._signal(signal.SIGKILL, Ending.TIMED_OUT)
            elif self._over_quota():
                self._signal(signal.SIGKILL, Ending.OVER_QUOTA)
        self._reap()

    def _exited(self) -> bool:
        """Whether it ended within the next fifth of a second; it stays to be reaped."""
        try:
            handle = os.pidfd_open(self._process.pid)
        except OSError:
            # A kernel without process descriptors.
            time.sleep(_WATCH_SECONDS)
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            return bool(poll.poll(int(_WATCH_SECONDS * 1000)))
        finally:
            os.close(handle)

    def _reap(self) -> None:
        with self._mutex:
            _, status, used = os.wait4(self._process.pid, 0)
            code = self._process.returncode = os.waitstatus_to_exitcode(status)
            # The peak survives exec, so it may be this process's own; what the child had is below its limit.
            peak = min(used.ru_maxrss * 1024, self._limits.memory_bytes)
            self._usage = Usage(used.ru_utime + used.ru_stime, peak)
            if self._cause is None and self._over_quota():
                self._cause = Ending.OVER_QUOTA
            self._ending = self._cause or ending_of(code, self._usage, self._limits)
        self._ended.set()

    def _over_quota(self) -> bool:
        if self._writable is None:
            return False
        size = files = 0
        for folder, _, names in os.walk(self._writable):
            for name in names:
                files += 1
                with contextlib.suppress(FileNotFoundError):
                    size += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
        return size > self._limits.output_bytes or files > MOST_FILES


def spawn(
    role: str,
    *,
    limits: Limits,
    readable: Sequence[Path] = (),
    writable: Path | None = None,
    request: Mapping[str, Any] | None = None,
    minimum: Level = Level.LANDLOCK_AND_SECCOMP,
) -> Child:
    """Start a confined child and wait until its confinement holds.

    Args:
        role: One of the roles that `privacy.child` knows: `ingest`, `train`, `evaluate`.
        limits: What it may use.
        readable: The files it may read. Everything else but the interpreter's own libraries is out of reach.
        writable: An existing folder it may write into.
        request: What its runner is called with, besides `role`; no secrets, these go over the channel afterwards.
        minimum: The least confinement to go on with.

    Raises:
        UnavailableError: This host cannot confine it that far, or the child did not come up.
    """
    require(minimum)
    command = [sys.executable, "-P", "-s", "-m", "privacy.child"]
    return _start(command, role, limits, readable, writable, request or {}, minimum)


def _start(
    command: Sequence[str],
    role: str,
    limits: Limits,
    readable: Sequence[Path],
    writable: Path | None,
    request: Mapping[str, Any],
    minimum: Level,
) -> Child:
    to_child, from_child = os.pipe(), os.pipe()
    theirs = (to_child[0], from_child[1])
    try:
        process = _spawner().submit(_popen, command, theirs).result()
    except BaseException:
        for descriptor in (*to_child, *from_child):
            os.close(descriptor)
        raise
    for descriptor in theirs:
        os.close(descriptor)
    deadline = time.monotonic() + limits.wall_seconds
    child = Child(process, Channel(from_child[0], to_child[1], deadline=deadline), limits, writable)
    order = {
        "limits": limits.to_json(),
        "minimum": minimum.value,
        "readable": [str(path.absolute()) for path in readable],
        "request": dict(request),
        "role": role,
        "writable": None if writable is None else str(writable.absolute()),
    }
    try:
        child.channel.send(order, timeout_seconds=_READY_SECONDS)
        header, _ = child.channel.receive(timeout_seconds=_READY_SECONDS)
        child.level = Level(header["level"])
        require(minimum, child.level)
    except (PrivgateError, KeyError, ValueError):
        child.kill()
        child.wait()
        child.channel.close()
        raise UnavailableError("a confined child did not come up; nothing was given to it") from None
    return child


def _popen(command: Sequence[str], theirs: tuple[int, int]) -> subprocess.Popen[bytes]:
    root = Path(privacy.__path__[0]).parent
    return subprocess.Popen(  # noqa: S603
        [*command, *(str(descriptor) for descriptor in theirs), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=theirs,
        cwd=Path("/"),
        env={**_ENVIRONMENT, "PYTHONPATH": str(root)},
        start_new_session=True,
    )


def _spawner() -> ThreadPoolExecutor:
    return _spawner_of(os.getpid())


@functools.cache
def _spawner_of(_: int) -> ThreadPoolExecutor:
    """One thread for the life of the process.

    A child asks to be killed when its parent dies, and to the kernel the parent is the thread that started it: started
    from a passing thread, a child would end with that thread.
    """
    return ThreadPoolExecutor(1, thread_name_prefix="spawner")
