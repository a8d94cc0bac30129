"""What a child does to itself before it touches the first untrusted byte.

Rules
-----
1. No new privileges, no capabilities, not dumpable, killed with its parent, files by Landlock, resources by limits,
   system calls by seccomp: in this order, because each makes the next irrevocable or unnecessary.
2. If the demanded level is not reached, the child does not go on.
3. The interpreter's own libraries stay readable for imports that come later; configuration, temporary folders, other
   users' files and other processes do not.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import kernel
import privacy
from kernel.errors import UnavailableError
from privacy.sandbox import landlock, seccomp, system
from privacy.sandbox.limits import Level, Limits, probe, require

_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache",
    "/etc/localtime", "/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu",
)  # fmt: skip


def confine(limits: Limits, *, readable: Iterable[Path], writable: Path | None, minimum: Level, parent: int) -> Level:
    """Confine this process for good; return the level that holds.

    Args:
        limits: What it may use from here on.
        readable: Files and folders it may read, besides the interpreter's.
        writable: A folder it may write into.
        minimum: The least level to go on with.
        parent: Process id of the parent; the child ends when it is gone.

    Raises:
        UnavailableError: The kernel offers less than `minimum`, or the parent is gone.
        OSError: The kernel refused a step.
    """
    found = probe()
    require(minimum, found)
    tasks = _tasks_of_this_user()
    system.prctl(system.SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise UnavailableError("the parent is gone")
    system.prctl(system.SET_NO_NEW_PRIVS, 1)
    system.prctl(system.SET_DUMPABLE, 0)
    system.drop_capabilities()
    os.umask(0o077)
    files, calls = found.covers(Level.LANDLOCK), found.covers(Level.SECCOMP)
    if files:
        landlock.restrict([*library_paths(), *readable], writable)
    _limit(limits, tasks)
    if calls:
        seccomp.restrict()
    return Level.of(files=files, calls=calls)


def library_paths() -> list[Path]:
    """What imports need: the interpreter's libraries, the system's, and this program's own packages below the edge."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    folders = {str(Path(prefix) / lib) for prefix in prefixes for lib in ("lib", "lib64")}
    folders |= {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    own = {str(Path(package.__path__[0])) for package in (kernel, privacy)}
    found = [Path(path) for path in sorted(folders | own | set(_SYSTEM))]
    return [path for path in found if path.exists()]


def _limit(limits: Limits, tasks: int) -> None:
    bounds = {
        resource.RLIMIT_AS: (limits.memory_bytes, limits.memory_bytes),
        # At the soft limit SIGXCPU ends the process; a process that blocks it is killed a second later.
        resource.RLIMIT_CPU: (limits.cpu_seconds, limits.cpu_seconds + 1),
        resource.RLIMIT_FSIZE: (limits.output_bytes, limits.output_bytes),
        resource.RLIMIT_NOFILE: (limits.open_files, limits.open_files),
        # Counted over all processes of this user; without effect for root, whom seccomp keeps from forking.
        resource.RLIMIT_NPROC: (tasks + limits.processes, tasks + limits.processes),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
    }
    for kind, (soft, hard) in bounds.items():
        _, allowed = resource.getrlimit(kind)
        if allowed != resource.RLIM_INFINITY:
            soft, hard = min(soft, allowed), min(hard, allowed)
        resource.setrlimit(kind, (soft, hard))
    # Python ignores this signal; by default it ends a process that writes beyond its limit.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _tasks_of_this_user() -> int:
    total, user = 0, os.getuid()
    for process in Path("/proc").glob("[0-9]*"):
        # Processes end while we count.
        with contextlib.suppress(OSError):
            if process.stat().st_uid == user:
                total += sum(1 for _ in (process / "task").iterdir())
    return total
