"""Every stored or signed format has its page, and every page is named by the code that keeps to it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.sources import ROOT, program

PAGES = sorted((ROOT / "docs" / "formats").glob("*.md"))
MARK = re.compile(r"(urn:privgate:[a-z0-9:/-]+|privgate[/-][a-z0-9/-]+[/-]v[0-9]+|[a-z-]+/v[0-9]+)[:\n]?")
"""How a format names itself in what is hashed, signed, encrypted or stored: `privgate/rules/v1`, `job-request/v1`."""

ANSWERED_ONLY = {"urn:privgate:problem:"}
"""Names that are in answers and nowhere else (RFC 9457)."""


def marks() -> dict[str, str]:
    """Every such name among the constants of the program, with a file that has it."""
    found: dict[str, str] = {}
    for source in program():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
                if match := MARK.fullmatch(text.rstrip("\0")):
                    found[match[1]] = source.path
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_named_by_the_code_that_keeps_to_it(page: Path) -> None:
    """A format that no module names is either dead or kept to by nobody."""
    assert [source.path for source in program() if f"docs/formats/{page.name}" in source.text]


def test_a_document_that_the_code_names_exists() -> None:
    """A reader who follows a docstring arrives somewhere."""
    named = {(name, source.path) for source in program() for name in re.findall(r"docs/[A-Za-z/-]+\.md", source.text)}
    assert {f"{name} ({path})" for name, path in named if not (ROOT / name).exists()} == set()


def test_whatever_names_itself_has_a_page() -> None:
    """A mark that goes into a hash, a key or a file is part of a format, and stands on a page."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    found = marks()
    assert len(found) > 10
    assert {f"{mark} ({path})" for mark, path in found.items() if mark not in pages} - {
        f"{mark} ({found[mark]})" for mark in ANSWERED_ONLY
    } == set()


def test_every_event_has_a_page() -> None:
    """The log is made of these: type and fields stand in a table of some page."""
    import audit.events
    import compliance.events
    import policies.events
    import privacy.events

    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    events = (*audit.events.EVENTS, *compliance.events.EVENTS, *policies.events.EVENTS, *privacy.events.EVENTS)
    assert {event.TYPE for event in events if f"`{event.TYPE}`" not in pages} == set()
