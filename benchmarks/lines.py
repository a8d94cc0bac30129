"""Result lines and paired timing."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measured figure.

    Attributes:
        quantity: What was measured.
        case: Under which circumstances.
        value: The figure: of a ratio the median over pairs, of a duration as the case says.
        unit: Its unit; `ratio` for ratios.
        baseline: What it is compared with; empty if it stands alone.
    """

    quantity: str
    case: str
    value: float
    unit: str
    baseline: str = ""

    def text(self) -> str:
        """The line as JSON."""
        rounded = float(f"{self.value:.{DIGITS}g}")
        return json.dumps(asdict(self) | {"value": rounded}, ensure_ascii=False)


def seconds(act: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def paired_ratio(measured: Callable[[], object], baseline: Callable[[], object], pairs: int) -> float:
    """Median over pairs of measured / baseline; both are warmed up once, and take turns in going first."""
    measured()
    baseline()
    ratios = []
    for number in range(pairs):
        if number % 2:
            below, above = seconds(baseline), seconds(measured)
        else:
            above, below = seconds(measured), seconds(baseline)
        ratios.append(above / below)
    return statistics.median(ratios)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def machine() -> str:
    """Processor and cores, for orientation."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def write(name: str, lines: Iterable[Line]) -> None:
    """Replace a result file."""
    RESULTS.mkdir(exist_ok=True)
    text = "".join(line.text() + "\n" for line in lines)
    (RESULTS / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
