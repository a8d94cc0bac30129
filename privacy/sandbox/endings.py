"""How a child ends, in few words.

Rules
-----
1. An exit code says one of a handful of things, and a signal what the kernel did. There is no text.
2. Being killed for memory is told from running out of time by what was used, never by what the child says.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from privacy.sandbox.limits import Limits


class ExitCode(IntEnum):
    """All that a child's exit says."""

    FINISHED = 0
    REFUSED = 10
    CRASHED = 11
    NO_MEMORY = 12
    UNCONFINED = 13


class Ending(StrEnum):
    """How a child ended, as its parent sees it.

    `refused` is a runner that raised one of our own errors, `stopped` a parent that changed its mind, `over-quota` too
    much written, `timed-out` processor or wall-clock time. Everything unforeseen is `crashed`.
    """

    FINISHED = "finished"
    REFUSED = "refused"
    CRASHED = "crashed"
    KILLED_MEMORY = "killed-memory"
    TIMED_OUT = "timed-out"
    OVER_QUOTA = "over-quota"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a child used. For operators and benchmarks only: durations on private rows are a channel (RULES 14).

    Attributes:
        cpu_seconds: Processor time.
        peak_bytes: At most so much memory. The kernel starts counting at what the parent had when it started the child,
            so that a small child of a large parent shows its parent's peak, up to its own limit.
    """

    cpu_seconds: float
    peak_bytes: int


def ending_of(code: int, usage: Usage, limits: Limits) -> Ending:
    """Classify the end of a child that nobody here stopped.

    Args:
        code: Its exit code, or minus the number of the signal that ended it.
        usage: What it used.
        limits: What it was allowed.
    """
    match code:
        case ExitCode.FINISHED:
            return Ending.FINISHED
        case ExitCode.REFUSED:
            return Ending.REFUSED
        case ExitCode.NO_MEMORY:
            return Ending.KILLED_MEMORY
    if code == -signal.SIGXFSZ:
        return Ending.OVER_QUOTA
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and usage.cpu_seconds >= limits.cpu_seconds):
        return Ending.TIMED_OUT
    # Nobody here sent it: the kernel's out-of-memory killer did, or an operator.
    return Ending.KILLED_MEMORY if code == -signal.SIGKILL else Ending.CRASHED
