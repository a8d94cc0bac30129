"""The page on models of one's own: its examples run as they stand."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    """The Python of one section."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize(("heading", "count"), [("From torch", 2), ("From ONNX", 1)])
@pytest.mark.filterwarnings("ignore")
def test_the_examples_run(heading: str, count: int) -> None:
    """One after the other, in one name space, assertions included."""
    found = blocks(heading)
    assert len(found) == count
    names: dict[str, Any] = {}
    for block in found:
        exec(compile(block, "docs/MODELS.md", "exec"), names)
    assert names["model"].graph.nodes
