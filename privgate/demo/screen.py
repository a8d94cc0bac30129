"""What the demo shows in the terminal: who does what, what came of it, how far a job is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

WIDTH = 128
INDENT = 4


class Screen:
    """A plain, calm narration; nothing it prints is data of the demo's run."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(width=WIDTH, highlight=False, soft_wrap=False)
        self._number = 0

    def title(self, text: str, below: str) -> None:
        """Open the story."""
        self._console.print()
        self._console.print(Text(text, style="bold"))
        self._console.print(Text(below, style="dim"))

    def act(self, who: str, text: str) -> None:
        """Begin an act: who is acting, and to what end."""
        self._number += 1
        self._console.print()
        self._console.print(Rule(Text(f" {self._number}. {who}: {text} ", style="bold cyan"), align="left"))

    def did(self, text: str, detail: str = "") -> None:
        """Something was done."""
        self._line("✓", "green", text, detail)

    def refused(self, text: str, detail: str = "") -> None:
        """Something was refused, as it should be."""
        self._line("✗", "yellow", text, detail)

    def note(self, text: str) -> None:
        """A remark."""
        self._console.print(Padding(Text(text, style="dim"), (0, 0, 0, INDENT)))

    def command(self, text: str) -> None:
        """A command to copy: one line, however wide."""
        self._console.print(Text(" " * INDENT + text), soft_wrap=True)

    def figures(self, rows: Iterable[tuple[str, str]]) -> None:
        """Names and values, aligned."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column()
        for name, value in rows:
            table.add_row("    " + name, value)
        self._console.print(table)

    def verbatim(self, text: str) -> None:
        """Another program's output, as it is."""
        for line in text.rstrip().splitlines():
            self._console.print(Text("    │ " + line), overflow="fold")

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """A bar that is kept when it is full."""
        columns = (TextColumn("    {task.description}"), BarColumn(30), TextColumn("{task.percentage:>3.0f} %"))
        with Progress(*columns, TimeElapsedColumn(), console=self._console) as bar:
            bar.add_task(text, total=100)
            yield bar

    def _line(self, mark: str, colour: str, text: str, detail: str) -> None:
        line = Text("  ")
        line.append(mark, style=colour)
        line.append(" " + text)
        fits = len(text) + len(detail) + INDENT + 2 <= WIDTH
        if detail and fits:
            line.append("  " + detail, style="dim")
        self._console.print(line)
        if detail and not fits:
            self.note(detail)
