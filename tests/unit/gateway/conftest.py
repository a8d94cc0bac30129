"""A fresh database of each kind for the gateway's unit tests, with an organisation in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.unit_of_work import Database
from kernel.clock import ManualClock
from kernel.ids import TenantId
from policies.events import TenantCreated
from tests.support.databases import DATABASES, cases, opened


@pytest.fixture
def clock() -> ManualClock:
    """Time that stands still until it is moved."""
    return ManualClock(datetime(2026, 11, 23, 9, 30, tzinfo=UTC))


@pytest.fixture(params=cases(DATABASES))
def database(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
    """Each database at the head of the migrations."""
    with opened(request.param, tmp_path, clock) as made:
        yield made


@pytest.fixture
def tenant(database: Database) -> TenantId:
    """An organisation whose policy is at epoch 1."""
    made = TenantId.new(os.urandom)
    with database.work(made) as work:
        work.tenants.add(made, work.now)
        work.policy.create(made)
        name = work.texts.keep(made, "tenant-name", "A hospital", os.urandom(32))
        created = TenantCreated(epoch=1, tenant=made, name=name)
        work.policy.append(made, created)
        work.record(created)
        work.commit("tenant")
    return made
