"""The shape of every module: small, named after what it is, and saying in its first lines what holds in it."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.sources import PACKAGES, ROOT, Source, program, suite

LONGEST = 400
LONGER_WITH_REASON: dict[str, str] = {
    "tests/unit/audit/test_audit_verify.py": "one attack for each of the verifier's nine steps, read in order",
    "tests/unit/policies/test_policies_enforcer.py": "one case for each reason a decision can have",
    "tests/unit/privacy/test_budget_ledger.py": "one rule of the ledger after the other",
    "tests/unit/privacy/test_sandbox_confinement.py": "one way out of the sandbox after the other",
    "tests/unit/privgate/test_privgate_gateway.py": "one cast plays the whole cycle, verb by verb",
}
MEANINGLESS = frozenset({"base", "common", "helper", "helpers", "lib", "manager", "managers", "misc", "util", "utils"})
LONGEST_FUNCTION = 60
FUNCTIONS_WITH_REASON: dict[str, str] = {
    "gateway/services/certify.py:_predicate": "the certificate field by field, without a branch",
    "gateway/storage/migrations/versions/0001_first.py:upgrade": "the tables one after the other",
    "gateway/storage/migrations/versions/0002_collections.py:upgrade": "the tables one after the other",
}
OTHER_WORDS: dict[str, str] = {
    r"\brefund": "a charge is never returned: say void, before data was touched",
    r"\bsuperuser|\bgod.?mode": "nobody stands above the policy",
}
"""Words that would blur the vocabulary, each with what to say (docs/GLOSSARY.md)."""


@pytest.mark.parametrize("source", [*program(), *suite()], ids=lambda source: source.path)
def test_a_file_is_short_and_begins_with_what_it_is_for(source: Source) -> None:
    """Longer files need a reason, in the list above."""
    if source.path not in LONGER_WITH_REASON:
        assert source.lines <= LONGEST
    if source.text.strip():
        assert ast.get_docstring(source.tree), "a module begins with its docstring"


def test_a_file_in_the_list_of_longer_ones_is_longer() -> None:
    """An exemption that is no longer needed goes."""
    lengths = {source.path: source.lines for source in (*program(), *suite())}
    assert {path for path in LONGER_WITH_REASON if lengths.get(path, 0) <= LONGEST} == set()


def test_no_module_is_named_after_nothing() -> None:
    """A name that says nothing collects everything."""
    parts = {source.path: set(source.module.split(".")) for source in program()}
    assert {path for path, names in parts.items() if names & MEANINGLESS} == set()


def test_functions_are_short() -> None:
    """What does not fit on a screen is two things."""
    found = {
        f"{s.path}:{name}" for s in program() for name, lines in lengths_of_functions(s) if lines > LONGEST_FUNCTION
    }
    assert found - set(FUNCTIONS_WITH_REASON) == set()


def lengths_of_functions(source: Source) -> list[tuple[str, int]]:
    """Name and number of lines of each function."""
    functions = [n for n in ast.walk(source.tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions]


def test_words_keep_to_one_meaning() -> None:
    """In code, rules, formats and documents alike."""
    files = [path for package in (*PACKAGES, "docs") for path in sorted((ROOT / package).rglob("*")) if path.is_file()]
    texts = {path: path.read_text(encoding="utf-8") for path in [*files, ROOT / "README.md"] if is_prose(path.suffix)}
    found = [
        f"{path.relative_to(ROOT)}: {word}: {instead}"
        for path, text in texts.items()
        for word, instead in OTHER_WORDS.items()
        if re.search(word, text, re.IGNORECASE) and path.name != "GLOSSARY.md"
    ]
    assert found == []


def is_prose(suffix: str) -> bool:
    """Whether people read files of this kind."""
    return suffix in {".csv", ".html", ".json", ".md", ".py", ".tmpl", ".yaml"}


@pytest.mark.parametrize("source", program(), ids=lambda source: source.path)
def test_nothing_is_left_to_do_or_made_up(source: Source) -> None:
    """No reminder and no stub: what is not there is in docs/LIMITS.md, not in the code."""
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", source.text)
    raised = [n.exc for n in ast.walk(source.tree) if isinstance(n, ast.Raise) and n.exc is not None]
    names = {ast.unparse(exc).partition("(")[0] for exc in raised}
    assert "NotImplementedError" not in names
