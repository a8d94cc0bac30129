"""The operator's page against the program: every setting with its default, every command."""

from __future__ import annotations

import re

import typer

from gateway.cli import app
from gateway.settings import Settings
from tests.support.sources import ROOT, program

PAGE = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_settings() -> None:
    """Each variable with its default, in the program's order; nothing that is not one."""
    rows = re.findall(r"^\| `PRIVGATE_([A-Z0-9_]+)` \| (?:`([^`]*)`)? ?\| \S", PAGE, re.MULTILINE)
    shown = [(name.lower(), default) for name, default in rows]
    actual = [
        (name, "" if field.default in (None, "") else str(field.default))
        for name, field in Settings.model_fields.items()
    ]
    assert shown == actual


def test_the_table_of_commands_is_the_commands() -> None:
    """What `privgate-gateway --help` lists is explained, and nothing else is."""
    table = PAGE.partition("| command | does |")[2].partition("\n\n")[0]
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group, because there are several
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(commands)


def test_every_setting_that_is_mentioned_exists() -> None:
    """In all documents, `PRIVGATE_...` is the gateway's setting, or one that the client or the test suite reads."""
    known = {f"PRIVGATE_{name.upper()}" for name in Settings.model_fields} | {"PRIVGATE_TEST_DATA"}
    client = [source.text for source in program() if source.module.startswith("privgate.")]
    known |= {name for text in client for name in re.findall(r"PRIVGATE_[A-Z0-9_]+", text)}
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"PRIVGATE_[A-Z0-9_]+", page.read_text(encoding="utf-8"))}
    assert named - known == set()
