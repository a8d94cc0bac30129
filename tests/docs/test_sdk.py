"""The SDK's page against the program: every verb, every error, and an example that is Python."""

from __future__ import annotations

import ast
import importlib
import re

from privgate.sdk.gateway import Gateway
from privgate.sdk.jobs import Job
from privgate.sdk.releases import Release, VerifiedRelease
from tests.support.sources import ROOT

PAGE = (ROOT / "docs" / "SDK.md").read_text(encoding="utf-8")
NO_VERBS = {"connection", "url"}


def test_the_table_of_verbs_is_the_gateway() -> None:
    """Whatever a gateway has is told, under the role that it is for; nothing else is."""
    table = PAGE.partition("| who | verbs |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)`", table))
    assert named == {name for name in dir(Gateway) if not name.startswith("_")} - NO_VERBS


def test_the_errors_stand_where_the_table_says() -> None:
    """Each can be imported from there, and is an exception."""
    rows = re.findall(r"^\| `(\w+Error)` \| `([\w.]+)` \|", PAGE, re.MULTILINE)
    assert len(rows) > 10
    for name, module in rows:
        assert issubclass(getattr(importlib.import_module(module), name), Exception), name


def test_the_example_calls_what_there_is() -> None:
    """It parses, and each method that it calls exists on what it is called on."""
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    kinds = {"gateway": Gateway, "job": Job, "release": Release, "files": VerifiedRelease}
    called = [
        (kinds[node.value.id], node.attr)
        for node in ast.walk(ast.parse(example[1]))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in kinds
    ]
    assert len(called) > 6
    for kind, name in called:
        assert hasattr(kind, name), (kind, name)
