"""What stands on the screen: tables and notes, on a terminal and without one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from privgate.cli import screen
from privgate.cli.screen import table


def test_a_table_that_is_too_wide_keeps_the_id_that_one_copies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 80 columns other ids are left out, and said to be; without a terminal all of it is there."""
    first, second = "job_" + "a" * 26, "rel_" + "b" * 26
    row = [first, "training", "finished", "100", "research/oncology", second]
    header = ["job", "kind", "state", "percent", "purpose", "release"]
    table(header, [row])
    wide = capsys.readouterr()
    assert second in wide.out
    monkeypatch.setattr(screen, "_console", lambda: Console(width=80, highlight=False))
    table(header, [row])
    narrow = capsys.readouterr()
    for cell in row[:-1]:
        assert cell in narrow.out, cell
    assert "rel_" not in narrow.out
    assert "release" in narrow.err
    table(header, [[first, "training", "awaiting-approval", "100", "research/oncology/of-the-lung", "-"]])
    folded = capsys.readouterr().out
    for cell in (first, "training", "percent"):
        assert cell in folded, cell


def test_on_a_terminal_lines_break_between_words_but_for_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words stay whole; a command that is to be copied stays in one piece."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(screen.sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    screen.note("An attacker who knows everything else\n\n  1          64 " + "x" * 50)
    screen.note("Next: privgate releases check " + "rel_" + "a" * 26 + " release")
    first, *_, command = terminal.getvalue().rstrip("\n").split("\n")
    assert first == "An attacker who knows everything else"
    assert max(len(word) for word in terminal.getvalue().split()) == 50
    assert command.startswith("Next: privgate releases check rel_")
