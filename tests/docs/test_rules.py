"""The rules that code and tests cite by number are on one page, without a gap."""

from __future__ import annotations

import re

from tests.support.sources import ROOT, program, suite

PAGE = (ROOT / "docs" / "RULES.md").read_text(encoding="utf-8")
NUMBERED = [int(number) for number in re.findall(r"^([0-9]+)\. \S", PAGE, re.MULTILINE)]


def test_numbers_never_move() -> None:
    """From 1 on, without a gap: a citation in old evidence must still lead to its rule."""
    assert list(range(1, len(NUMBERED) + 1)) == NUMBERED


def test_a_rule_of_training_names_its_tests() -> None:
    """Those that are kept: that the tests exist is looked up with every other name of the page."""
    rules = re.split(r"^([0-9]+)\. ", PAGE, flags=re.MULTILINE)[1:]
    texts = dict(zip(map(int, rules[::2]), rules[1::2], strict=True))
    for number in (11, 12, 21, 23, 32):
        assert re.search(r"`tests/[a-z/_]+\.py", texts[number]), number


def test_a_rule_that_is_cited_is_there_and_is_kept_to() -> None:
    """A citation leads to a rule, and not to one that is only foreseen."""
    foreseen = {int(n) for n in re.findall(r"^([0-9]+)\. \*", PAGE, re.MULTILINE)}
    texts = [source.text for source in (*program(), *suite())]
    cited = {int(n) for text in texts for found in re.findall(r"RULES ((?:[0-9]+(?:, | and | to )?)+)", text)
             for n in re.findall(r"[0-9]+", found)}  # fmt: skip
    assert len(cited) > 10
    assert cited <= set(NUMBERED)
    assert cited & foreseen <= {20}, "the ledger can mark a population as not covered (20) before anything releases so"
