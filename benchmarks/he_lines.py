"""Result lines of `make bench-he`, and the table of them in docs/BENCHMARKS.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.lines import RESULTS

FILE: Final = RESULTS / "he.jsonl"
PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "BENCHMARKS.md"
BEGIN, END = "<!-- table of he.jsonl -->\n", "<!-- end of he.jsonl -->\n"
_DIGITS = 4
BESIDE_IDLE: Final = frozenset({"healthz_p99_ms"})
"""Quantities whose baseline is the same thing with nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured quantity.

    Attributes:
        quantity: What was measured, its unit in the name.
        profile: Under which parameters, and of what.
        value: Ours.
        baseline: The usual way, in the same run; nothing where there is none to compare with.
        told: How to read it: what is amortised, which precision, what is replayed.
    """

    quantity: str
    profile: str
    value: float
    baseline: float | None
    told: str

    @property
    def times(self) -> float | None:
        """How many times less ours is; nothing where there is nothing to compare with but ourselves."""
        return None if self.baseline is None or self.quantity in BESIDE_IDLE else self.baseline / self.value

    def text(self) -> str:
        """The line as JSON; figures with four digits."""
        rounded = {"value": _rounded(self.value), "baseline": self.baseline and _rounded(self.baseline)}
        return json.dumps(asdict(self) | rounded, ensure_ascii=False)


def read(path: Path = FILE) -> list[Figure]:
    """The figures of a result file."""
    return [Figure(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def keep(figures: Iterable[Figure], path: Path = FILE) -> None:
    """Replace a result file."""
    path.write_text("".join(figure.text() + "\n" for figure in figures), encoding="utf-8")


def merged(kept: Sequence[Figure], figures: Sequence[Figure]) -> list[Figure]:
    """The figures of a result file, some of them measured again and in their old places; new ones at the end."""
    fresh = {(figure.quantity, figure.profile): figure for figure in figures}
    renewed = [fresh.pop((figure.quantity, figure.profile), figure) for figure in kept]
    return renewed + list(fresh.values())


def page_with(page: str, figures: Sequence[Figure]) -> str:
    """The page with the table of these figures."""
    head = "| quantity | profile | ours | the usual way | times less | how to read it |\n" + "| --- " * 6 + "|\n"
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + head + "".join(map(_row, figures)) + END + rest.partition(END)[2]


def renew_page(figures: Sequence[Figure]) -> None:
    """Write the table into the page."""
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")


def _row(figure: Figure) -> str:
    usual = "" if figure.baseline is None else f"{figure.baseline:.3g}"
    times = "" if figure.times is None else f"{figure.times:,.3g}" if figure.times < 1000 else f"{figure.times:,.0f}"
    cells = (f"`{figure.quantity}`", figure.profile, f"{figure.value:.3g}", usual, times, figure.told)
    return f"| {' | '.join(cells)} |\n"


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
