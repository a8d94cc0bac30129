"""What the documents name exists: functions, events, tests. A document that has drifted from the program fails here."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.support.sources import PACKAGES, ROOT, definitions, program

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "formats" not in path.parts),
]
CODE = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(rf"({'|'.join(PACKAGES)})(\.[A-Za-z_][A-Za-z0-9_]*)+")
EVENT = re.compile(r"[a-z]+:[a-z]+(-[a-z]+)*")
TEST = re.compile(r"tests/[a-z0-9_/-]+(\.py)?(::[a-z0-9_]+)?")
ALSO_WRITTEN_SO = {"noun:verbed"}
FILES = {"privgate.sqlite"}


def in_code_style(page: Path) -> list[str]:
    """Everything a page has between backticks, outside of fenced blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return CODE.findall(text)


def events() -> set[str]:
    """The type of every event that the program can log."""
    found: set[str] = set()
    for name in ("audit.events", "compliance.events", "policies.events", "privacy.events"):
        found |= {event.TYPE for event in importlib.import_module(name).EVENTS}
    return found


def actions() -> set[str]:
    """Every action that policy knows; they are written like events."""
    return {action.value for action in importlib.import_module("policies.vocabulary").Action}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_name_in_code_style_is_defined(page: Path) -> None:
    """`gateway.services.run_job.finish` must be a function of that module, and so on."""
    known = {name for source in program() for name in definitions(source)}
    known |= {".".join(name.split(".")[:length]) for name in known for length in range(1, name.count(".") + 1)}
    named = {text.removesuffix("()") for text in in_code_style(page) if DOTTED.fullmatch(text.removesuffix("()"))}
    assert named - known - FILES == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_an_event_in_code_style_can_happen(page: Path) -> None:
    """`noun:verbed` is an event of the log, or an action of the policy."""
    named = {text for text in in_code_style(page) if EVENT.fullmatch(text)}
    assert named - events() - actions() - ALSO_WRITTEN_SO == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_test_in_code_style_exists(page: Path) -> None:
    """A rule that points to a test points to one that is there, under that name."""
    for text in in_code_style(page):
        if TEST.fullmatch(text):
            path, _, name = text.partition("::")
            assert (ROOT / path).exists(), text
            if name:
                assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), text


def test_the_cycle_tells_of_every_event_of_a_job() -> None:
    """Budget, job, release and sealing: an event that THE-CYCLE leaves out is a step nobody would find."""
    told = set(in_code_style(ROOT / "docs" / "THE-CYCLE.md"))
    beside = {
        "budget:changed", "budget:capped", "population:retired", "population:uncovered", "kek:rotated",
        "release:recalled", "trainer:halted",
    }  # fmt: skip
    nouns = (
        "budget",
        "dataset",
        "decision",
        "dek",
        "job",
        "log",
        "population",
        "release",
        "report",
        "schema",
        "version",
    )
    assert {event for event in events() if event.partition(":")[0] in nouns} - told - beside == set()
