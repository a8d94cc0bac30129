"""How much a child may use, and how well a host can confine it.

Rules
-----
1. Limits are declared before the child starts and never depend on what it reads.
2. The level that is reached is compared with the least that is allowed; there is no silent falling back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from kernel.checks import whole
from kernel.errors import InvalidError, UnavailableError
from privacy.sandbox import landlock, seccomp

MIB = 2**20
_TIB = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one child may use.

    Attributes:
        memory_bytes: Address space, libraries included (pyarrow alone maps about 250 MiB, torch about 600).
        cpu_seconds: Processor time.
        wall_seconds: Time from start to kill.
        output_bytes: Longest file it may write, and all it may write into its folder.
        open_files: Descriptors at once.
        processes: Threads at once. Other processes are not allowed at all.
    """

    memory_bytes: int
    cpu_seconds: int
    wall_seconds: int
    output_bytes: int
    open_files: int = 64
    processes: int = 16

    def __post_init__(self) -> None:
        whole(64 * MIB, 64 * _TIB, memory_bytes=self.memory_bytes)
        whole(1, 10**8, cpu_seconds=self.cpu_seconds)
        whole(1, 10**8, wall_seconds=self.wall_seconds)
        whole(0, 64 * _TIB, output_bytes=self.output_bytes)
        whole(16, 4096, open_files=self.open_files)
        whole(1, 1024, processes=self.processes)

    def to_json(self) -> dict[str, int]:
        """Encode for the child's first frame."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Limits:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        try:
            return cls(**body)
        except TypeError:
            raise InvalidError("not the limits of a child", field="limits") from None


class Level(StrEnum):
    """Which confinement holds besides the resource limits."""

    RLIMITS = "rlimits"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"
    LANDLOCK_AND_SECCOMP = "landlock+seccomp"

    @classmethod
    def of(cls, *, files: bool, calls: bool) -> Level:
        """The level at which files are confined by Landlock and system calls by seccomp."""
        if files:
            return cls.LANDLOCK_AND_SECCOMP if calls else cls.LANDLOCK
        return cls.SECCOMP if calls else cls.RLIMITS

    def covers(self, minimum: Level) -> bool:
        """Whether this level gives everything that `minimum` demands."""
        demanded = set(minimum.value.split("+")) - {"rlimits"}
        return demanded <= set(self.value.split("+"))


def probe() -> Level:
    """What this host's kernel offers."""
    return Level.of(files=landlock.abi() > 0, calls=seccomp.supported())


def require(minimum: Level, found: Level | None = None) -> None:
    """Return if the host offers `minimum`; raise `UnavailableError` with what to do otherwise."""
    found = probe() if found is None else found
    if not found.covers(minimum):
        raise UnavailableError(
            f"this host confines children to `{found.value}` only, and `{minimum.value}` is demanded: use Linux 5.13 "
            "or later on x86_64 or aarch64 with Landlock among its security modules, or lower PRIVGATE_SANDBOX_LEVEL",
            field="sandbox_level",
        )
