"""What stands on the screen: tables and notes, on a terminal and without one."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from privgate.cli import screen
from privgate.cli.fitting import GAP, widths
from privgate.cli.screen import table

FIRST, SECOND = "job_" + "a" * 26, "rel_" + "b" * 26
GLM = ["", "coefficient", "std. error", "low", "high", "p", "odds ratio", "95 %", "noise"]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setattr(screen, "_console", lambda: Console(width=80, highlight=False))


def test_without_a_terminal_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each row, with every id."""
    table(["job", "state", "release"], [[FIRST, "finished", SECOND]])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if FIRST in line]
    assert SECOND in line


@pytest.mark.usefixtures("narrow")
def test_a_table_that_is_too_wide_keeps_every_id_that_one_copies(capsys: pytest.CaptureFixture[str]) -> None:
    """At 80 columns other ids stand below the first, whole; short words stay whole, too, long ones are folded."""
    header = ["job", "kind", "state", "percent", "purpose", "release"]
    table(header, [[FIRST, "training", "finished", "100", "research/oncology", SECOND]])
    told = capsys.readouterr()
    for cell in (FIRST, SECOND, "training", "finished", "100", "research/oncology"):
        assert cell in told.out, cell
    assert max(map(len, told.out.splitlines())) <= 80
    table(["a", "state", "title"], [["a" * 31, "sealed", "Admissions with diabetes and more of them"]])
    assert "sealed" in capsys.readouterr().out
    table(header, [[FIRST, "training", "awaiting-approval", "100", "research/oncology/of-the-lung", "-"]])
    folded = capsys.readouterr().out
    for cell in (FIRST, "training", "percent"):
        assert cell in folded, cell


@pytest.mark.usefixtures("narrow")
def test_no_figure_is_lost_or_broken_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A table of many figures stands row by row."""
    row = [
        "age",
        "0.00268535",
        "0.000446600",
        "0.00181003",
        "0.00356067",
        "<0.001",
        "1.00269",
        "1.00181 to 1.00357",
        "3%",
    ]
    table(GLM, [row])
    told = capsys.readouterr().out
    for cell in (*row, *GLM):
        assert cell in told, cell


@given(
    st.lists(st.tuples(*[st.text("ab 019.", max_size=14)] * 3), min_size=1, max_size=4),
    st.integers(1, 60),
)
def test_columns_fit_or_are_said_not_to(rows: list[tuple[str, ...]], room: int) -> None:
    """What is given out is within the room, has room for what is not broken, and wastes none that is needed."""
    header = ["first", "a", "some words"]
    found = widths(header, rows, room)
    natural = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    if sum(natural) + 2 * GAP <= room:
        assert found == natural
    if found is not None:
        assert sum(found) + 2 * GAP <= room
        assert found[0] == natural[0]
        assert all(width <= most for width, most in zip(found, natural, strict=True))


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
