"""The table of who may do what, asked of every route: principal x operation x dataset state x purpose."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from policies.vocabulary import Action
from tests.support.api import House, Person
from tests.support.authorization import (
    CAST,
    OPERATIONS,
    PURPOSES,
    ROUTES,
    STATES,
    TABLE,
    Scene,
    publish,
    request_for,
    scenes,
)

WITH_PURPOSE = {"createGrant", "quoteJob", "requestJob"}
OF_JOBS = {"readJob", "followJob", "cancelJob", "answerApproval", "readQuestion", "sendQuestion"}
OF_RELEASES = {"readRelease", "checkRelease", "recallRelease", "fetchRelease"}
NEEDS_PUBLISHED = {"recallRelease", "fetchRelease"}
OWN_POPULATIONS = "listPopulations"
"""Lists what the caller owns, so its row is that of the owner for everybody who owns anything."""
OWN_PARTY = "renewParty"
"""Is about the party of `owner`: another owner may enrol parties, and does not find this one among his."""


class Cell(NamedTuple):
    """One combination with its expected answer."""

    principal: str
    operation: str
    purpose: str
    status: int
    reason: str | None


@pytest.fixture(scope="module")
def made_scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """The scene in every state."""
    return scenes(tmp_path_factory.mktemp("authorization"))


def rows_for(principal: str, action: str, state: str, purpose: str) -> tuple[str, str]:
    """Verdict and reason of the one row that covers a combination."""
    (row,) = (
        row
        for row in TABLE
        if (row["principal"], row["action"]) == (principal, action)
        and (row["dataset_state"] == "any" or state in row["dataset_state"].split("|"))
        and (row["purpose"] == "any" or purpose in row["purpose"].split("|"))
    )
    return row["verdict"], row["reason"]


def expected(principal: str, operation: str, state: str, purpose: str) -> Cell:
    """What the table says: the first refusal of the actions that the route asks for, or success."""
    route = ROUTES[operation]
    if next(member for member in CAST if member["principal"] == principal)["enabled"] == "no" and route["actions"]:
        return Cell(principal, operation, purpose, 401, None)
    asked_as = "owner" if operation == OWN_POPULATIONS and principal == "other-owner" else principal
    for question in filter(None, route["actions"].split("|")):
        action, _, somebody_else = question.partition("@")
        verdict, reason = rows_for(somebody_else or asked_as, action, state, purpose)
        if verdict == "deny":
            return Cell(principal, operation, purpose, 403, reason)
    if operation == OWN_PARTY and principal != "owner":
        return Cell(principal, operation, purpose, 404, None)
    return Cell(principal, operation, purpose, int(route["success"]), None)


def cells(state: str) -> Iterator[Cell]:
    """Every combination that can be asked in a state; a job exists only once rows were sealed."""
    for member in CAST:
        for operation in OPERATIONS:
            if state == "registered" and operation in OF_JOBS | OF_RELEASES | {"readVersion", "fetchReport"}:
                continue
            for purpose in PURPOSES if operation in WITH_PURPOSE else ("granted",):
                yield expected(member["principal"], operation, state, purpose)


def changes(cell: Cell) -> bool:
    """Whether the request is expected to change something that another cell relies on."""
    reads = (
        cell.operation.startswith(("read", "list", "follow", "quote", "export"))
        or not ROUTES[cell.operation]["actions"]
    )
    return cell.status < 400 and not reads


def answer_to(made: House, cell: Cell) -> tuple[int, str | None, str | None]:
    """Status, reason and decision of the answer to a cell."""
    response = request_for(made, cell.operation, cell.principal, cell.purpose).sent_by(made[cell.principal])
    if response.status_code < 400:
        return response.status_code, None, None
    problem = response.json()
    return response.status_code, problem.get("reason"), problem.get("decision")


def test_every_operation_of_the_document_has_a_row(made_scenes: dict[str, Scene], tmp_path: Path) -> None:
    """A route without a row fails, a row without a route fails, and an action that no route asks for is named here."""
    with made_scenes["registered"].opened(tmp_path / "copy") as made:
        document = made.client.get("/openapi.json").json()
    operations = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}
    assert operations == set(ROUTES) == set(OPERATIONS)
    asked = {question.partition("@")[0] for route in ROUTES.values() for question in route["actions"].split("|")}
    assert set(map(str, Action)) - asked == {"tenant:administer"}


@pytest.mark.parametrize("state", STATES)
def test_every_route_refuses_and_answers_as_the_table_says(
    made_scenes: dict[str, Scene], state: str, tmp_path: Path
) -> None:
    """In each state, each route gives each principal the listed status and reason, and each denial is in the log."""
    wrong, cited = [], {}
    with made_scenes[state].opened(tmp_path / "copy") as made:
        for cell in cells(state):
            if changes(cell):
                continue
            status, reason, decision = answer_to(made, cell)
            if (status, reason) != (cell.status, cell.reason):
                wrong.append((*cell, "but", status, reason))
            if status == 403:
                cited[decision] = reason
        logged = made.decisions()
        epoch = max(fields["epoch"] for fields in logged.values())
    assert wrong == []
    assert {decision: logged[decision]["reason"] for decision in cited} == cited
    assert {(logged[decision]["verdict"], logged[decision]["epoch"]) for decision in cited} == {("deny", epoch)}


@pytest.mark.parametrize("state", STATES)
def test_every_permitted_change_is_made(made_scenes: dict[str, Scene], state: str, tmp_path: Path) -> None:
    """What the table allows and changes something succeeds, each on a copy of the scene."""
    wrong, number = [], count()
    for cell in filter(changes, cells(state)):
        with made_scenes[state].opened(tmp_path / f"copy{next(number)}") as made:
            if cell.operation in NEEDS_PUBLISHED:
                publish(made, cell.principal)
            status, reason, _ = answer_to(made, cell)
            if (status, reason) != (cell.status, cell.reason):
                wrong.append((*cell, "but", status, reason))
    assert wrong == []


def test_nobody_and_strangers_get_nowhere(made_scenes: dict[str, Scene], tmp_path: Path) -> None:
    """Without a token the answer is 401, and another organisation's member never touches an object of this one."""
    wrong = []
    with made_scenes["sealed"].opened(tmp_path / "copy") as made:
        nobody = Person(made.client, "", "")
        for operation, route in ROUTES.items():
            request = request_for(made, operation, "trainer", "granted")
            status = request.sent_by(nobody).status_code
            if status != (401 if route["actions"] else 200):
                wrong.append((operation, "nobody", status))
            response = request.sent_by(made["stranger"])
            if response.status_code != int(route["stranger"]) or made.ids["dataset"] in response.text:
                wrong.append((operation, "stranger", response.status_code, response.text))
    assert wrong == []
