"""Result lines of `make bench-dp`, and the table of them in docs/BENCHMARKS.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.dp_cases import CASES
from benchmarks.dp_engines import BASELINE, ENGINES
from benchmarks.lines import RESULTS

FILE = RESULTS / "dp.jsonl"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "BENCHMARKS.md"
_BEGIN, _END = "<!-- table of dp.jsonl -->\n", "<!-- end of table -->\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One engine in one case.

    Attributes:
        case: Of the case.
        engine: Of the engine.
        samples_per_s: Samples per second of processor time.
        slowdown_vs_plain: How many times slower than ordinary eager training in the same case; below 1 is faster.
        peak_rss_mb: Peak memory of a process that does only this; nothing where the system does not tell.
    """

    case: str
    engine: str
    samples_per_s: float
    slowdown_vs_plain: float
    peak_rss_mb: float | None

    def text(self) -> str:
        """The line as JSON; rates and ratios with three digits."""
        peak = None if self.peak_rss_mb is None else round(self.peak_rss_mb)
        rounded = {
            "samples_per_s": round(_digits(self.samples_per_s)),
            "slowdown_vs_plain": _digits(self.slowdown_vs_plain),
            "peak_rss_mb": peak,
        }
        return json.dumps(asdict(self) | rounded)


def read(path: Path = FILE) -> list[Figure]:
    """The figures of a result file."""
    return [Figure(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def keep(figures: Iterable[Figure], path: Path = FILE) -> None:
    """Replace a result file; cases that were not measured this time keep their lines."""
    measured = list(figures)
    cases = {figure.case for figure in measured}
    kept = [figure for figure in (read(path) if path.exists() else []) if figure.case not in cases]
    path.write_text("".join(figure.text() + "\n" for figure in in_order([*kept, *measured])), encoding="utf-8")


def in_order(figures: Iterable[Figure]) -> list[Figure]:
    """By case, then by engine."""
    cases = [case.name for case in CASES]
    return sorted(figures, key=lambda figure: (cases.index(figure.case), ENGINES.index(figure.engine)))


def table(figures: Sequence[Figure]) -> str:
    """A Markdown table: a row for each case; slowdown against plain, and peak memory in brackets."""
    others = [engine for engine in ENGINES if engine != BASELINE]
    by_place = {(figure.case, figure.engine): figure for figure in figures}
    lines = [f"| case | {BASELINE}, samples/s | " + " | ".join(others) + " |", "| --- " * (len(others) + 2) + "|"]
    for case in dict.fromkeys(figure.case for figure in in_order(figures)):
        base = by_place[case, BASELINE]
        cells = [f"{base.samples_per_s:,.0f}{_memory(base)}", *(_cell(by_place.get((case, other))) for other in others)]
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page_with(text: str, figures: Sequence[Figure]) -> str:
    """The page with the table of these figures in its place."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError("the page has no place for the table")
    return before + begin + table(figures) + end + after


def renew_page(figures: Sequence[Figure]) -> None:
    """Write the table into docs/BENCHMARKS.md."""
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")


def _cell(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.slowdown_vs_plain:g}{_memory(figure)}"


def _memory(figure: Figure) -> str:
    return "" if figure.peak_rss_mb is None else f" ({figure.peak_rss_mb:g})"


def _digits(value: float) -> float:
    return float(f"{value:.3g}")
