"""The table of docs/BENCHMARKS.md that says how good synthetic rows are, made from `results/synthesis.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks.accuracy_page import PAGE, read

BEGIN, END = "<!-- table of synthesis.jsonl -->", "<!-- end of synthesis.jsonl -->"
_COLUMNS: Final = ("rows", "epsilon", "pairs", "columns", "AUC", "range", "runs")
_HEAD: Final = f"| {' | '.join(_COLUMNS)} |\n" + "| --- " * len(_COLUMNS) + "|"
Lines: TypeAlias = "dict[tuple[str, str | None], dict[str, Any]]"


def renew(results: Path, found: Lines, order: Sequence[str]) -> None:
    """Put measured lines in the place of earlier ones of the same way and epsilon, in file and page."""
    known: Lines = {} if not results.exists() else {(line["way"], line["epsilon"]): line for line in read(results)}
    merged = sorted((known | found).values(), key=lambda line: (order.index(line["way"]), float(line["epsilon"] or 0)))
    results.write_text("".join(json.dumps(line) + "\n" for line in merged), encoding="utf-8")
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), merged), encoding="utf-8")


def page_with(page: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """The page with the table of these lines."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n" + "\n".join([_HEAD, *map(_row, lines)]) + "\n" + END + rest.partition(END)[2]


def _row(line: Mapping[str, Any]) -> str:
    spread = f"{line['auc_least']:.3f} to {line['auc_most']:.3f}" if "auc_least" in line else ""
    cells = (
        f"`{line['way']}`",
        line["epsilon"] or "",
        f"{line['pairs']:.3f}",
        f"{line['columns']:.3f}",
        f"{line['auc']:.3f}",
        spread,
        line["runs"],
    )
    return "| " + " | ".join(map(str, cells)) + " |"
