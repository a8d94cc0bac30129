"""The tables of the guarantees name tests that exist: a claim that nothing holds fails here."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.sources import ROOT

PAGE = (ROOT / "docs/GUARANTEES.md").read_text(encoding="utf-8")
PITFALLS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)
]
NAMED = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py)(?:::(test_[a-z0-9_]+))?`", PAGE)))


def test_every_pitfall_has_severity_prevention_and_test() -> None:
    """In order, without a gap; one that does not apply says so and has no test."""
    assert [int(row[0]) for row in PITFALLS] == list(range(1, len(PITFALLS) + 1))
    assert len(PITFALLS) >= 21
    for _, pitfall, severity, prevented, test in PITFALLS:
        assert pitfall
        assert re.match("total|large|small", severity)
        assert bool(test) != prevented.startswith("does not apply")


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part.rpartition("/")[2])
def test_a_test_that_is_named_exists(path: str, name: str) -> None:
    """A test that was renamed or removed takes its claim with it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert not name or name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
