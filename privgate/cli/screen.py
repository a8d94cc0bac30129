"""What stands on the screen: tables and cards for people, JSON for machines.

Rules
-----
1. Texts of other people are shown as text: no markup is read from them, no control character reaches the terminal.
2. Without a terminal there is no colour and nothing is cut.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from privgate.cli.fitting import GAP, widths

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from privgate.sdk.view import View

WIDE = 10_000
EDGES = 2
_ID = re.compile("[a-z]{3}_[a-z2-7]{26}|-")


def plain(value: object) -> str:
    """A text without control characters, except line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in str(value))


def say(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(plain(text) + "\n")


def note(text: str) -> None:
    """Write a line about the work to standard error; on a terminal between words, unless a command is to be copied."""
    lines = plain(text)
    if sys.stderr.isatty() and "privgate " not in lines:
        width = shutil.get_terminal_size().columns
        lines = "\n".join("\n".join(_wrapped(line, width)) for line in lines.split("\n"))
    sys.stderr.write(lines + "\n")
    sys.stderr.flush()


def _wrapped(line: str, width: int) -> list[str]:
    return [line] if len(line) < width else textwrap.wrap(line, width - 1, break_long_words=False)


def dump(value: Any) -> None:
    """Write JSON to standard output."""
    # Escaped beyond ASCII, so that no control sequence reaches a terminal.
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def show(view: View, *, machine: bool) -> None:
    """Write one object."""
    if machine:
        dump(view.to_json())
    else:
        card(view.NOUN, view.lines())


def show_all(views: Iterable[View], kind: type[View], *, machine: bool) -> None:
    """Write several objects."""
    found = list(views)
    if machine:
        dump([view.to_json() for view in found])
    elif found:
        table([name.replace("_", " ") for name in kind.COLUMNS], [view.cells() for view in found])
    else:
        note(f"No {kind.NOUN}s.")


def card(title: str, lines: Iterable[tuple[str, object]]) -> None:
    """Write names and values, one a line."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in lines:
        grid.add_row(Text(plain(name)), Text(plain(value)))
    console = _console()
    console.print(Text(plain(title), style="bold"))
    console.print(grid)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; on a narrow terminal with all ids below the first, or row by row with each value on a line."""
    console, cells = _console(), [[plain(cell) for cell in row] for row in rows]
    named, shown = [plain(name) for name in header], cells
    if _needs(header, cells) > console.width - EDGES:
        below = [p for p in range(1, len(header)) if all(_ID.fullmatch(row[p]) for row in cells)]
        named, *shown = [_stacked(row, below) for row in (named, *cells)]
    first = [_widest(row[0]) for row in (named, *shown)]
    whole = [[text, *row[1:]] for text, row in zip(first, (named, *shown), strict=True)]
    fitted = widths(whole[0], whole[1:], console.width - EDGES)
    if fitted is None:
        for row in cells:
            card(row[0], list(zip(header, row, strict=True))[1:])
    else:
        console.print(_drawn(named, shown, fitted))


def _stacked(row: Sequence[str], below: Sequence[int]) -> list[str]:
    """A row whose first cell has ids of other columns beneath it: each says by its beginning what it is of."""
    first = [row[0], *(row[place] for place in below if row[place] != "-")]
    return ["\n".join(first), *(text for place, text in enumerate(row) if place and place not in below)]


def _widest(cell: str) -> str:
    return max(cell.split("\n"), key=len)


def _needs(header: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    return sum(max(map(len, column)) + GAP for column in zip(header, *cells, strict=True))


def _drawn(header: Sequence[str], cells: Sequence[Sequence[str]], fitted: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    for name, width in zip(header, fitted, strict=True):
        drawn.add_column(name, overflow="fold", width=width)
    for row in cells:
        drawn.add_row(*map(Text, row))
    return drawn


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE, soft_wrap=False, highlight=False)
