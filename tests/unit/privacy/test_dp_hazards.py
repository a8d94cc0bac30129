"""Every known hazard of private training has a test that exists, or a reason why it does not apply."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/HAZARDS.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]


def _tests_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_all_hazards_are_listed_once() -> None:
    """Twenty-one, in order, each with what is done."""
    assert [int(row[0]) for row in ROWS] == list(range(1, 22))
    assert all(len(row) == 4 and row[1] and row[2] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_hazard_names_tests_that_exist_or_says_why_it_does_not_apply(row: list[str]) -> None:
    """A test that was renamed or removed takes its claim with it."""
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", row[3])
    assert len(named) == row[3].count("::")
    assert named or row[2].startswith("Does not apply")
    for path, name in named:
        assert name in _tests_of(path), f"{path}::{name}"
