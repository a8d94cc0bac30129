"""How much memory an engine needs while it trains: the peak of a process of its own.

Rules
-----
1. Only what the engine imports is in the process. Its peak is forgotten after it was built and has warmed up, so that
   making up the rows does not count and what the engine keeps does.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
STEPS = 2


def peak_mb(engine: str, case: str) -> float | None:
    """Run the engine in a fresh process; nothing where the system does not tell."""
    if not _CLEAR.exists():
        return None
    command = [sys.executable, "-m", "benchmarks.dp", "--peak", case, engine]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def peak_here(engine: str, case: str) -> float:
    """The peak of this process over a few steps, in MB."""
    from benchmarks.dp_cases import case_named
    from benchmarks.dp_engines import built

    steps = built(engine, case_named(case))
    steps(1)
    _CLEAR.write_text(_FORGET_PEAK, encoding="ascii")
    steps(STEPS)
    return _peak_kb(_STATUS.read_text(encoding="ascii")) / 1024


def _peak_kb(status: str) -> int:
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
