"""Our rule book answers as stock Casbin does, for random policies with hierarchy, wildcards and deny."""

from __future__ import annotations

import casbin
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from policies.links import LinkChange
from policies.matcher import Row
from policies.rulebook import ALLOW, RuleBook, empty_book
from policies.ruleset import INDEX_BY, MODEL_TEXT, load_matcher

MATCHER = load_matcher(MODEL_TEXT, INDEX_BY)

LAYERS = ["role", "grant"]
NAMES = ["ann", "bob", "trainer", "owner", "member", "ghost"]
TENANTS = ["one", "two"]
OBJECTS = ["d1", "d2", "dataset", "thing"]
ACTIONS = ["read", "write"]
PURPOSES = ["cancer", "lung", "research", "ads"]
LEVELS = ["public", "internal", "restricted"]
RELATIONS = ["any", "owner", "requester", "nonsense"]


def pick(values: list[str], *more: str) -> st.SearchStrategy[str]:
    """One of the values."""
    return st.sampled_from([*values, *more])


rows = st.tuples(
    pick(LAYERS),
    pick(NAMES),
    pick(TENANTS, "*"),
    pick(OBJECTS, "*"),
    pick(ACTIONS),
    pick(RELATIONS),
    pick(PURPOSES, "*"),
    pick(LEVELS),
    st.sampled_from(["allow", "allow", "allow", "deny", "neither"]),
    st.just("rule"),
)
requests = st.tuples(
    pick(LAYERS),
    pick(NAMES, "never-seen"),
    pick(TENANTS, "three"),
    pick(OBJECTS, "never-seen"),
    pick(ACTIONS),
    pick(NAMES),
    pick(NAMES),
    pick(PURPOSES, ""),
    pick(LEVELS, "never-seen"),
)
links = st.fixed_dictionaries(
    {
        "g": st.sets(st.tuples(pick(NAMES), pick(NAMES), pick(TENANTS)), max_size=8),
        "g2": st.sets(st.tuples(pick(OBJECTS), pick(OBJECTS), pick(TENANTS)), max_size=5),
        "g3": st.sets(st.tuples(pick(PURPOSES), pick(PURPOSES), pick(TENANTS)), max_size=5),
        "g4": st.sets(st.tuples(pick(LEVELS), pick(LEVELS)), max_size=4),
    }
)


def ours(policy: set[Row], linked: dict[str, set[Row]]) -> RuleBook:
    """The same policy in our rule book."""
    changes = {name: [LinkChange(True, *link) for link in sorted(found)] for name, found in linked.items()}
    return empty_book(MATCHER).with_links(changes).with_rows((True, row) for row in sorted(policy))


def stock(policy: set[Row], linked: dict[str, set[Row]]) -> casbin.Enforcer:
    """The same policy in stock Casbin."""
    enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL_TEXT))
    enforcer.add_policies([list(row) for row in sorted(policy)])
    for name, found in linked.items():
        if found:
            enforcer.add_named_grouping_policies(name, [list(link) for link in sorted(found)])
    return enforcer


def allowed(book: RuleBook, request: Row) -> bool:
    """Our answer as Casbin would give it."""
    row = book.enforce(request)
    return row is not None and row[MATCHER.effect] == ALLOW


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(rows, max_size=14), links, st.lists(requests, min_size=10, max_size=14))
def test_same_answers_as_stock_casbin(policy: set[Row], linked: dict[str, set[Row]], asked: list[Row]) -> None:
    """Over three thousand random questions get the same answer from both."""
    book, enforcer = ours(policy, linked), stock(policy, linked)
    for request in asked:
        assert allowed(book, request) == enforcer.enforce(*request)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sets(rows, min_size=1, max_size=10), links, st.data())
def test_same_answers_where_a_row_applies(policy: set[Row], linked: dict[str, set[Row]], data: st.DataObject) -> None:
    """Questions made from a row (so that most of them match something) get the same answer from both."""
    book, enforcer = ours(policy, linked), stock(policy, linked)
    for lay, sub, dom, obj, act, _, pur, sen, _, _ in sorted(policy):
        tenant = data.draw(pick(TENANTS)) if dom == "*" else dom
        thing = data.draw(pick(OBJECTS)) if obj == "*" else obj
        request = (lay, sub, tenant, thing, act, sub, sub, "ads" if pur == "*" else pur, sen)
        assert allowed(book, request) == enforcer.enforce(*request)


@settings(max_examples=100, deadline=None)
@given(st.sets(rows, max_size=12), links, st.lists(requests, max_size=10), st.data())
def test_removing_rows_leaves_what_was_never_added(
    policy: set[Row], linked: dict[str, set[Row]], asked: list[Row], data: st.DataObject
) -> None:
    """Adding rows and removing them again gives the answers of a book that never had them."""
    gone = data.draw(st.sets(st.sampled_from(sorted(policy)))) if policy else set()
    changed = ours(policy, linked).with_rows((False, row) for row in sorted(gone))
    fresh = ours(policy - gone, linked)
    assert sorted(changed.rows()) == sorted(fresh.rows())
    for request in asked:
        assert changed.enforce(request) == fresh.enforce(request)


@settings(max_examples=100, deadline=None)
@given(links, st.sampled_from(["g", "g2", "g3"]), st.data())
def test_removing_links_leaves_what_was_never_linked(
    linked: dict[str, set[Row]], name: str, data: st.DataObject
) -> None:
    """Reach after adding and removing links is the reach of the links that stayed."""
    assume(linked[name])
    gone = data.draw(st.sets(st.sampled_from(sorted(linked[name]))))
    before = ours(set(), linked).links[name]
    after = before.changed(LinkChange(False, *link) for link in sorted(gone))
    fresh = ours(set(), {**linked, name: linked[name] - gone}).links[name]
    assert (after.all(), after.reached) == (fresh.all(), fresh.reached)


@pytest.mark.parametrize("unknown", ["nobody", "x" * 10_000])
def test_unknown_names_never_grow_memory(unknown: str) -> None:
    """A thousand unknown names leave the rule book as it was; stock Casbin keeps every one of them."""
    policy = {("role", "trainer", "*", "*", "read", "any", "*", "public", "allow", "rule")}
    book = ours(policy, {"g": {("ann", "trainer", "one")}, "g2": set(), "g3": set(), "g4": set()})
    before = {name: (dict(found.parents), dict(found.reached)) for name, found in book.links.items()}
    for number in range(1_000):
        name = f"{unknown}{number}"
        assert book.enforce(("role", name, name, name, name, name, name, name, name)) is None
        assert book.enforce(("role", name, "one", name, "read", "", "", name, "public")) is None
    assert before == {name: (dict(found.parents), dict(found.reached)) for name, found in book.links.items()}
    assert len(book.rows()) == 1
