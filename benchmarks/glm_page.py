"""The table of docs/BENCHMARKS.md that says how often intervals hold the truth, made from `results/glm.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.accuracy_page import PAGE, read

BEGIN, END = "<!-- table of glm.jsonl -->", "<!-- end of glm.jsonl -->"
_COLUMNS: Final = ("task", "people", "epsilon", "coverage", "worst coefficients", "length", "noise", "naive", "untold")
_HEAD: Final = f"| {' | '.join(_COLUMNS)} |\n" + "| --- " * len(_COLUMNS) + "|"


def page_with(page: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """The page with the table of these lines."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join([_HEAD, *map(_row, lines)]) + "\n" + END + rest.partition(END)[2]


def write(results: Path) -> None:
    """Renew the page from a result file."""
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), read(results)), encoding="utf-8")


def _row(line: Mapping[str, Any]) -> str:
    cells = (
        f"`{line['task']}`",
        f"{line['people']:,}",
        line["epsilon"],
        f"{line['coverage']:.1%}",
        f"{line['least']:.1%} and {line['most']:.1%}",
        f"{line['interval_ratio']:.2f}",
        f"{line['noise_share']:.0%}",
        f"{line['naive_coverage']:.1%}",
        line["untold"],
    )
    return "| " + " | ".join(map(str, cells)) + " |"
