"""Each route leaves exactly its entries: its decision first, then what it changed, and nothing when it was refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import House
from tests.support.authorization import ROUTES, Scene, publish, request_for, scenes

ENTRIES: dict[str, tuple[str, list[str]]] = {
    "readSelf": ("member", []),
    "listPrincipals": ("admin", []),
    "enrolPrincipal": ("admin", ["principal:enrolled", "credential:issued"]),
    "assignRole": ("admin", ["role:assigned"]),
    "removeRole": ("admin", ["role:removed"]),
    "disablePrincipal": ("admin", ["principal:disabled", "credential:revoked"]),
    "issueCredential": ("admin", ["credential:issued"]),
    "revokeCredential": ("admin", ["credential:revoked"]),
    "listPurposes": ("member", []),
    "definePurpose": ("admin", ["purpose:defined"]),
    "readPolicy": ("member", []),
    "setPolicy": ("admin", ["policy:set"]),
    "listGrants": ("trainer", []),
    "createGrant": ("owner", ["grant:created"]),
    "revokeGrant": ("owner", ["grant:revoked"]),
    "createPopulation": ("owner", ["population:created"]),
    "listPopulations": ("owner", []),
    "readPopulation": ("owner", []),
    "changeBudget": ("owner", ["budget:changed"]),
    "openBlock": ("owner", ["block:opened"]),
    "capTrainer": ("owner", ["budget:capped"]),
    "enrolParty": ("owner", ["party:enrolled"]),
    "listParties": ("trainer", []),
    "disableParty": ("owner", ["party:disabled"]),
    "renewParty": ("owner", ["party:certified"]),
    "registerDataset": ("owner", ["dataset:registered", "schema:declared"]),
    "listDatasets": ("trainer", []),
    "readDataset": ("trainer", []),
    "uploadDataset": ("owner", ["dataset:moved", "dek:created", "version:staged"]),
    "readVersion": ("owner", []),
    "listVersions": ("owner", []),
    "eraseVersion": ("owner", ["dek:destroyed", "version:erased"]),
    "retireDataset": ("owner", ["dataset:moved"]),
    "quoteJob": ("trainer", []),
    "requestJob": ("trainer", ["job:requested", "budget:reserved", "job:queued"]),
    "listJobs": ("trainer", []),
    "readJob": ("trainer", []),
    "followJob": ("trainer", []),
    "cancelJob": ("trainer", ["job:ended"]),
    "answerApproval": ("owner", ["approval:given", "decision:made", "budget:reserved", "job:queued"]),
    "listReleases": ("trainer", []),
    "readRelease": ("trainer", []),
    "checkRelease": ("checker", ["release:checked", "release:published"]),
    "recallRelease": ("checker", ["release:recalled"]),
    "fetchRelease": ("trainer", ["release:fetched"]),
    "readTrust": ("member", []),
    "readCheckpoint": ("member", []),
    "readTile": ("auditor", ["log:read"]),
    "readEntries": ("auditor", ["log:read"]),
    "exportArchive": ("auditor", ["log:exported"]),
    "listReports": ("auditor", []),
}
"""Who may do it, and what stands in the log behind the decision."""

REPORTS = {"issueReport", "fetchReport"}
"""Written down with the tests of reports."""
QUESTIONS = {"readQuestion", "sendQuestion"}
"""Of a kind of job that this scene has none of: written down with its own tests."""


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The scene of the table of rights, with sealed rows, a held model and a parked job."""
    return scenes(tmp_path_factory.mktemp("entries"), until="sealed")["sealed"]


@pytest.fixture(scope="module")
def shared(sealed: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running copy of the scene for whatever changes nothing in it."""
    with sealed.opened(tmp_path_factory.mktemp("shared") / "copy") as made:
        yield made


@pytest.fixture
def fresh(sealed: Scene, tmp_path: Path) -> Iterator[House]:
    """A running copy of the scene for one change."""
    with sealed.opened(tmp_path / "copy") as made:
        yield made


READS = [operation for operation, (_, changes) in ENTRIES.items() if not changes]
CHANGES = [operation for operation, (_, changes) in ENTRIES.items() if changes]


def added(made: House, operation: str, principal: str) -> tuple[int, list[dict[str, Any]]]:
    """Send the operation's request; return the status and the entries that it left."""
    request = request_for(made, operation, principal, "granted")
    before = len(made.log())
    status = request.sent_by(made[principal]).status_code
    return status, made.log()[before:]


def test_every_route_has_its_entries_written_down() -> None:
    """A new route is not forgotten here."""
    assert set(ENTRIES) | REPORTS | QUESTIONS == {name for name, route in ROUTES.items() if route["actions"]}


@pytest.mark.parametrize("operation", READS)
def test_a_read_leaves_its_decision_alone(shared: House, operation: str) -> None:
    """One entry: that this principal was allowed to read, under which rule and policy."""
    principal, _ = ENTRIES[operation]
    status, entries = added(shared, operation, principal)
    assert status == int(ROUTES[operation]["success"])
    assert [(entry["type"], entry["fields"]["verdict"]) for entry in entries] == [("decision:made", "allow")]
    assert entries[0]["actor"]["principal"] == shared[principal].principal


@pytest.mark.parametrize("operation", CHANGES)
def test_a_change_leaves_its_decision_and_what_it_changed(fresh: House, operation: str) -> None:
    """The caller's decision comes first and allows; each further entry is one change, in one order."""
    principal, changes = ENTRIES[operation]
    if operation in ("recallRelease", "fetchRelease"):
        publish(fresh, principal)
    status, entries = added(fresh, operation, principal)
    assert status == int(ROUTES[operation]["success"])
    assert [entry["type"] for entry in entries] == ["decision:made", *changes]
    assert {entry["fields"]["verdict"] for entry in entries if entry["type"] == "decision:made"} == {"allow"}
    # An approval decides the requester's job anew, in the requester's name.
    actors = {fresh[principal].principal, None} | (
        {fresh["trainer"].principal} if operation == "answerApproval" else set()
    )
    assert {entry["actor"].get("principal") for entry in entries} <= actors
    assert entries[0]["actor"]["principal"] == fresh[principal].principal


def test_a_denied_route_leaves_its_denial_alone(shared: House) -> None:
    """One entry: the decision that says no, with its reason and the epoch of the policy that said it."""
    denied = 0
    for operation in ENTRIES:
        status, entries = added(shared, operation, "lapsed")
        if status == 403:
            (entry,) = entries
            assert (entry["type"], entry["fields"]["verdict"]) == ("decision:made", "deny")
            assert entry["fields"]["reason"] != "allowed"
            denied += 1
    assert denied > 25


def test_nobody_leaves_nothing(shared: House) -> None:
    """Without a token nothing is decided, so nothing is written that somebody outside could make grow."""
    for operation in ENTRIES:
        request = request_for(shared, operation, "trainer", "granted")
        before = len(shared.log())
        assert shared.client.request(request.method, request.path).status_code == 401
        assert len(shared.log()) == before
