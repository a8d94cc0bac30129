"""Locks are taken in one order: population, task, policy, log counter; so no two works wait for each other.

Looked at in every act of the cycle, through the services and the worker themselves: an order that would be a deadlock
on PostgreSQL shows on SQLite, too.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.records import VersionState
from gateway.services import datasets
from gateway.storage.sql.ledger import SqlLedger
from gateway.storage.sql.log import SqlLog
from gateway.storage.sql.policy import SqlPolicy
from gateway.storage.sql.tasks import SqlTasks
from gateway.unit_of_work import Database
from gateway.wiring import build
from kernel.ids import CredentialId, DatasetId, TenantId
from policies.events import CredentialRevoked
from privacy.ingest.formats import UploadFormat
from tests.support import crashes
from tests.support.budgets import fresh
from tests.support.crashes import ACTS, Place, Stage

LOCKS: dict[str, tuple[tuple[type, str], ...]] = {
    "population": ((SqlLedger, "lock"),),
    "task": ((SqlTasks, "require_fence"), (SqlTasks, "hold")),
    "policy": ((SqlPolicy, "lock"), (SqlPolicy, "hold")),
    "log": ((SqlLog, "next_seq"),),
}
ORDER = list(LOCKS)
Taken = dict[Any, list[str]]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    """The locks of each transaction, in the order in which it took them first."""
    found: Taken = {}
    for lock, places in LOCKS.items():
        for owner, name in places:
            monkeypatch.setattr(owner, name, noting(found, lock, getattr(owner, name)))
    return found


def noting(found: Taken, lock: str, take: Callable[..., Any]) -> Callable[..., Any]:
    """The same act, noted as a lock of its transaction."""

    def noting(self: Any, *arguments: Any, **named: Any) -> Any:
        held = found.setdefault(self._connection.get_transaction(), [])
        if lock not in held:
            held.append(lock)
        return take(self, *arguments, **named)

    return noting


def out_of_order(taken: Taken) -> list[list[str]]:
    """The transactions that took a lock after a later one."""
    return [held for held in taken.values() if held != sorted(held, key=ORDER.index)]


def test_no_act_of_the_cycle_takes_a_lock_after_a_later_one(taken: Taken, tmp_path: Path) -> None:
    """Enrol, register, upload, seal, request, run, cancel; and an upload that is refused."""
    place = crashes.prepared(Place(tmp_path / "place"), *ACTS)
    with closing(build(place.settings)) as gateway:
        refused_upload(Stage(place, gateway))
    assert out_of_order(taken) == []
    several = [held for held in taken.values() if len(held) > 1]
    assert {lock for held in several for lock in held} == set(ORDER)
    assert ["task", "policy", "log"] in several


def refused_upload(stage: Stage) -> None:
    """Rows that break their rule."""
    owner, dataset = stage.caller("owner"), DatasetId(stage.known["dataset"])
    rows = io.BytesIO(b"age,dose,outcome\n12,7,well\n")
    version = datasets.stage_upload(stage.on, owner, dataset, UploadFormat.of("csv"), rows)
    assert stage.worker.step()
    with stage.on.database.read() as reading:
        assert reading.versions.get(id=version.id).state is VersionState.REFUSED


def test_a_lock_after_a_later_one_is_seen(taken: Taken, database: Database, tenant: TenantId) -> None:
    """What the test above rests on."""
    with database.work(tenant) as work:
        work.record(CredentialRevoked(credential=fresh(CredentialId)))
        work.policy.lock(tenant)
    assert out_of_order(taken) == [["log", "policy"]]
