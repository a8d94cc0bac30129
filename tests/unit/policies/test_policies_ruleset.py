"""The shipped role rows, and what a roles file must not be."""

from __future__ import annotations

from importlib.resources import files

import pytest

from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.ids import Slug
from policies.requests import DATASET_ACTIONS
from policies.ruleset import role_rows, rule_set, rules_named, standard_rules
from policies.vocabulary import WRITES, Action, Role

ROLES = files("policies").joinpath("rules/roles.csv").read_text(encoding="utf-8")
ROWS = [
    dict(zip(("lay", "sub", "dom", "obj", "act", "rel", "pur", "sen", "eft", "rule"), row, strict=True))
    for row in role_rows(ROLES)
]


def test_every_action_is_somebodys() -> None:
    """An action that no role has would be dead code behind a route."""
    assert {row["act"] for row in ROWS if row["eft"] == "allow"} == set(Action)


def test_no_row_lets_an_auditor_write_or_touch_data() -> None:
    """The auditor's rows allow reading of evidence, and deny rows stand against the rest."""
    allowed = {row["act"] for row in ROWS if row["sub"] == Role.AUDITOR and row["eft"] == "allow"}
    denied = {row["act"] for row in ROWS if row["sub"] == Role.AUDITOR and row["eft"] == "deny"}
    assert allowed.isdisjoint(WRITES | {Action.DATASET_INSPECT, Action.RELEASE_FETCH, Action.JOB_QUOTE})
    assert denied >= WRITES | {Action.DATASET_INSPECT, Action.RELEASE_FETCH}


def test_no_row_lets_an_admin_near_data_or_releases() -> None:
    """An administrator manages people and settings, and deny rows stand against the rest."""
    data = {a for a in Action if a.split(":")[0] in {"dataset", "job", "release", "grant", "population", "budget"}}
    allowed = {row["act"] for row in ROWS if row["sub"] == Role.ADMIN and row["eft"] == "allow"}
    denied = {row["act"] for row in ROWS if row["sub"] == Role.ADMIN and row["eft"] == "deny"}
    assert allowed.isdisjoint(data)
    assert denied >= DATASET_ACTIONS


def test_rows_speak_of_the_object_that_their_action_has() -> None:
    """An action on a dataset has rows for datasets, any other has rows for the tenant: no row is dead."""
    for row in ROWS:
        assert row["obj"] == ("dataset" if row["act"] in DATASET_ACTIONS else "tenant"), row["rule"]


def test_rule_names_are_slugs_that_name_role_and_action() -> None:
    """The rule in a decision points at one row."""
    for row in ROWS:
        assert Slug(row["rule"]).startswith(f"{row['sub']}/")
        assert row["act"].replace(":", ".") in row["rule"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("role,action,", "action,role,"),
        ("admin,policy:set,", "root,policy:set,"),
        ("admin,policy:set,", "admin,policy:unset,"),
        ("policy:set,tenant,", "policy:set,planet,"),
        ("tenant,any,", "tenant,friend,"),
        (",restricted,role,", ",secret,role,"),
        (",role,allow,", ",grant,allow,"),
        (",role,allow,", ",role,perhaps,"),
        (",role,deny,", ",granted,deny,"),
        ("admin/policy.set", "admin/purpose.define"),
        ("admin/policy.set", "Admin Policy"),
        ("admin,policy:set,tenant,any,restricted,role,allow,admin/policy.set", "admin,policy:set"),
    ],
)
def test_a_file_with_one_wrong_row_is_refused(before: str, after: str) -> None:
    """Order of columns, words, names and duplicates are checked before a single row is believed."""
    assert before in ROLES
    with pytest.raises(InvalidError):
        role_rows(ROLES.replace(before, after, 1))


def test_a_rule_set_is_found_by_its_digest_and_by_no_other() -> None:
    """A decision names the rule set that made it; another text has another digest."""
    current = standard_rules()
    assert rules_named(current.digest) is current
    assert rule_set(ROLES).digest == current.digest
    assert rule_set(ROLES.replace("auditor,log:export", "owner,log:export")).digest != current.digest
    assert rules_named(Digest.of(b"something else")) is None
