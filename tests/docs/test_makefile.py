"""The one door: its targets exist, are explained, and are the ones that the documents name."""

from __future__ import annotations

import re
import subprocess

from tests.support.sources import ROOT

PROMISED = {"help", "demo", "test", "test-slow", "check", "fix", "serve", "bench"}


def listed() -> set[str]:
    """What `make help` lists."""
    done = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {line.split()[1] for line in done.stdout.splitlines()}


def test_every_promised_target_is_there_and_explained() -> None:
    """`make help` is how a newcomer finds the rest."""
    assert listed() >= PROMISED


def test_the_documents_name_targets_that_exist() -> None:
    """`make something` in a document can be typed."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    named = {
        name
        for page in pages
        for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named
    assert named - listed() == set()


def test_check_runs_every_gate() -> None:
    """Format, lint, types, directions, container file, architecture and documents."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe
    for gate in (
        "ruff format --check",
        "ruff check",
        "mypy",
        "lint-imports",
        "hadolint",
        "tests/architecture tests/docs",
    ):
        assert gate in recipe[1]
    assert "make check" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
