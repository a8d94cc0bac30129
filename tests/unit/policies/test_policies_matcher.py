"""The model is checked before it is believed."""

from __future__ import annotations

import re

import pytest

from kernel.errors import InvalidError
from policies.matcher import load_matcher
from policies.ruleset import INDEX_BY, MODEL_TEXT

MATCHER = re.search(r"^m = .*\Z", MODEL_TEXT, re.MULTILINE | re.DOTALL)
assert MATCHER is not None
HEAD, EXPRESSION = MODEL_TEXT[: MATCHER.start()], MATCHER.group()[4:]


def model(expression: str) -> str:
    """The shipped model with another matcher."""
    return f"{HEAD}m = {expression}\n"


def test_the_shipped_model_uses_equality_and_links_only() -> None:
    """No pattern function, no evaluation of text from rows, no negation stands in the shipped model."""
    without_comments = "\n".join(line for line in MODEL_TEXT.splitlines() if not line.startswith("#"))
    for forbidden in ("regexMatch", "globMatch", "keyMatch", "keyGet", "ipMatch", "eval", "r.sub."):
        assert forbidden not in without_comments
    assert "!" not in EXPRESSION
    assert load_matcher(MODEL_TEXT, INDEX_BY).effect == 8


@pytest.mark.parametrize(
    "added",
    [
        "regexMatch(r.obj, p.obj)",
        "globMatch(r.obj, p.obj)",
        "keyMatch(r.obj, p.obj)",
        "eval(p.rule)",
        "!(r.act == p.act)",
        "r.act != p.act",
        "r.act < p.act",
        "r.act in ('a', p.act)",
        "r.act == 1",
        "r.act == p.act == p.obj",
        "r.sub.owner == p.sub",
        "r.sub[0] == p.sub",
        "__import__('os') == p.sub",
        "nobody == p.sub",
        "g(r.sub, p.sub)",
        "g(p.sub, r.sub, r.dom)",
        "g(r.sub, 'trainer', r.dom)",
        "g(r.sub, p.sub, dom=r.dom)",
        "g9(r.sub, p.sub, r.dom)",
        "True",
        "1",
        "[r.act == p.act]",
        "(lambda: True)()",
        "r.act == p.act if r.act == p.act else r.act == p.act",
        "r.act ==",
        "(" * 300 + "r.act == p.act" + ")" * 300,
    ],
)
def test_what_is_not_on_the_list_is_refused(added: str) -> None:
    """Any other function, operator, constant or shape keeps the model from loading."""
    with pytest.raises(InvalidError):
        load_matcher(model(f"r.lay == p.lay && {added}"), ("lay",))


def test_a_field_that_the_matcher_does_not_pin_cannot_be_indexed() -> None:
    """An index over a field that a matching row need not share would hide rows."""
    either = model("r.lay == p.lay && (r.act == p.act || r.obj == p.obj)")
    load_matcher(either, ("lay",))
    for field in ("act", "obj", "rel", "eft", "unheard-of"):
        with pytest.raises(InvalidError):
            load_matcher(either, ("lay", field))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("some(where (p.eft == allow)) && !some(where (p.eft == deny))", "some(where (p.eft == allow))"),
        ("some(where (p.eft == allow)) && !some(where (p.eft == deny))", "!some(where (p.eft == deny))"),
        ("[policy_effect]", "[policy_effects]"),
        ("p = lay,", "p2 = lay, sub\np = lay,"),
        ("rel, pur, sen, eft, rule", "rel, pur, sen, rule"),
        ("r = lay, sub,", "r = lay, lay,"),
        ("[role_definition]", "[roles]"),
        ("[matchers]", "[matchers]\nnonsense"),
    ],
)
def test_a_model_of_another_shape_is_refused(before: str, after: str) -> None:
    """Another effect, a second policy section, a missing field: none of it loads."""
    assert before in MODEL_TEXT
    with pytest.raises(InvalidError):
        load_matcher(MODEL_TEXT.replace(before, after), INDEX_BY)
