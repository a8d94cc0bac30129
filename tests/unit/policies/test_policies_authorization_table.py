"""The table of who may do what, asked of `decide` cell by cell."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from kernel.amounts import Epsilon
from kernel.ids import Slug
from policies import events as made
from policies.vocabulary import WRITES, Action, DatasetState, Role

FOLDER = Path(__file__).parents[2] / "scenarios" / "authorization"
CAST = list(csv.DictReader((FOLDER / "cast.csv").open()))
TABLE = list(csv.DictReader((FOLDER / "table.csv").open()))
PURPOSES = {
    "granted": Slug("research/oncology"),
    "allowed": Slug("research/cardiology"),
    "foreign": Slug("marketing"),
    "undefined": Slug("astrology"),
    "none": None,
}
SUBJECTS: dict[Action, dict[str, Any]] = {
    Action.PRINCIPAL_DISABLE: {"subject": "outsider"},
    Action.GRANT_CREATE: {"subject": "outsider"},
    Action.ROLE_ASSIGN: {"subject": "member", "role": Role.TRAINER},
    Action.ROLE_REMOVE: {"subject": "checker", "role": Role.CHECKER},
    Action.CREDENTIAL_ISSUE: {"subject": "member"},
    Action.CREDENTIAL_REVOKE: {"subject": "member"},
}
Cell = tuple[str, str, str, str]


def expanded(value: str, everything: list[str]) -> list[str]:
    """`any`, or what is joined by a bar."""
    return everything if value == "any" else value.split("|")


def cells() -> Iterator[tuple[Cell, str, str]]:
    """Every combination that a row covers, with its verdict and reason."""
    for row in TABLE:
        states = expanded(row["dataset_state"], list(DatasetState))
        for state, purpose in product(states, expanded(row["purpose"], list(PURPOSES))):
            yield (row["principal"], row["action"], state, purpose), row["verdict"], row["reason"]


def scene(world: Any, state: DatasetState) -> Any:
    """The scene of the table's README, with the dataset in one state."""
    for member in CAST:
        world.enrol(member["principal"], *map(Role, filter(None, member["roles"].split("|"))))
    world.purpose("research")
    world.purpose("research/oncology", "research")
    world.purpose("research/cardiology", "research")
    world.purpose("marketing")
    owner = next(member["principal"] for member in CAST if member["owns"] == "yes")
    world.dataset("data", owner, DatasetState.REGISTERED)
    for member in CAST:
        if member["grant"] != "none":
            ended = {"until": world.request(Action.SELF_READ, owner).at - timedelta(days=1)}
            facts = ended if member["grant"] == "expired" else {}
            to = member["principal"]
            world.grant(f"to {to}", to, "data", "research/oncology", max_epsilon=Epsilon.parse("3"), **facts)
    world.move("data", state)
    for member in CAST:
        if member["enabled"] == "no":
            gone = world.request(Action.SELF_READ, member["principal"]).principal
            world.apply(made.PrincipalDisabled, principal=gone)
    return world


def asked(world: Any, principal: str, action: Action, purpose: str) -> Any:
    """The request of one cell."""
    requested = {member["principal"]: member["requested"] == "yes" for member in CAST}
    facts: dict[str, Any] = {
        "dataset": "data",
        "purpose": PURPOSES[purpose],
        "requester": principal if requested[principal] else "trainer",
        "holder": "owner",
    } | SUBJECTS.get(action, {})
    sample = world.submit(principal, "data")
    facts |= {name: getattr(sample, name) for name in ("job_kind", "epsilon", "request_digest")}
    return world.request(action, principal, **facts)


def test_every_combination_is_listed_once() -> None:
    """No pair is absent, none is listed twice: what nobody thought of cannot pass."""
    listed = Counter(cell for cell, _, _ in cells())
    everything = product((m["principal"] for m in CAST), Action, DatasetState, PURPOSES)
    assert set(listed) == {tuple(map(str, cell)) for cell in everything}
    assert {cell for cell, times in listed.items() if times > 1} == set()


@pytest.mark.parametrize("state", DatasetState)
def test_decide_answers_as_the_table_says(empty_world: Any, state: DatasetState) -> None:
    """In each state of the dataset, every verdict and reason is the listed one."""
    world = scene(empty_world, state)
    wrong = []
    for (principal, action, at_state, purpose), verdict, reason in cells():
        if at_state == state:
            decision = world.decide(asked(world, principal, Action(action), purpose))
            if (decision.verdict, decision.reason) != (verdict, reason):
                wrong.append((principal, action, purpose, decision.verdict.value, decision.reason.value, reason))
    assert wrong == []


def test_the_table_keeps_admin_from_data_and_auditor_from_writing() -> None:
    """Whatever else the table says, an administrator touches no data and an auditor changes nothing."""
    allowed = {(principal, Action(action)) for (principal, action, _, _), verdict, _ in cells() if verdict == "allow"}
    data = {action for action in Action if action.split(":")[0] in {"dataset", "job", "release", "grant", "budget"}}
    assert {action for principal, action in allowed if principal == "admin"} & data == set()
    assert {action for principal, action in allowed if principal == "auditor"} & WRITES == set()
    assert all(any((member["principal"], action) in allowed for member in CAST) for action in Action)
