"""The table of docs/BENCHMARKS.md that says what private models reach, made from `results/accuracy.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[1] / "docs" / "BENCHMARKS.md"
BEGIN, END = "<!-- table of accuracy.jsonl -->", "<!-- end of that table -->"
_COLUMNS: Final = ("task", "unit", "epsilon", "delta", "metric", "reached", "processor seconds")
_HEAD: Final = f"| {' | '.join(_COLUMNS)} |\n" + "| --- " * len(_COLUMNS) + "|"


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a result file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def page_with(page: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """The page with the table of these lines."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join([_HEAD, *map(_row, lines)]) + "\n" + END + rest.partition(END)[2]


def write(results: Path) -> None:
    """Renew the page from a result file."""
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), read(results)), encoding="utf-8")


def _row(line: Mapping[str, Any]) -> str:
    reached = f"{line['mean']:.4f}" + ("" if line["sd"] is None else f" ± {line['sd']:.4f}")
    epsilon = "without privacy" if line["epsilon"] is None else line["epsilon"]
    cells = (
        line["task"],
        line["unit"],
        epsilon,
        line["delta"] or "",
        line["metric"],
        reached,
        line["cpu_seconds"] or "",
    )
    return "| " + " | ".join(f"`{cell}`" if at == 0 else str(cell) for at, cell in enumerate(cells)) + " |"
