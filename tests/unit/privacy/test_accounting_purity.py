"""What keeps prices the same on every machine: no float, and nothing but the standard library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXACT = [
    *sorted(path for path in (ROOT / "privacy" / "accounting").glob("*.py") if path.name != "google.py"),
    *sorted((ROOT / "privacy" / "budget").glob("*.py")),
    ROOT / "privacy" / "replay.py",
    ROOT / "kernel" / "amounts.py",
]


def inexact(tree: ast.AST) -> Iterator[int]:
    """Lines that hold a float, make one, or import what makes them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield node.lineno
        if isinstance(node, ast.Name) and node.id == "float":
            yield node.lineno
        if isinstance(node, ast.Import) and any(name.name in ("math", "random") for name in node.names):
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module in ("math", "random"):
            yield node.lineno


@pytest.mark.parametrize("path", EXACT, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_no_float_occurs_in_accounting_or_ledger(path: Path) -> None:
    """RULES 4: amounts are exact decimals from end to end; the second accountant alone works in doubles."""
    assert list(inexact(ast.parse(path.read_text(encoding="utf-8")))) == []


def test_the_check_for_floats_can_fail() -> None:
    """Each way to a float is seen."""
    for text in ("x = 0.5", "y = float(x)", "import math", "from math import log"):
        assert list(inexact(ast.parse(text)))


def test_prices_and_replay_need_the_standard_library_alone() -> None:
    """RULES 25: the verifier recomputes every price and balance without torch, numpy or dp-accounting."""
    code = (
        "import sys, privacy.replay, privacy.budget.memory, privacy.accounting.calibration\n"
        "ours = {'kernel', 'privacy'}\n"
        "files = {name for name, module in sys.modules.items() if getattr(module, '__file__', None)}\n"
        "roots = {name.partition('.')[0] for name in files}\n"
        "print(*sorted(roots - ours - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split() == []
