"""The policy in memory: loaded once, swapped whole, never behind what a work holds."""

from __future__ import annotations

import os
import time

import pytest

from gateway.policy_cache import PolicyCache
from gateway.policy_poll import PolicyPoll
from gateway.unit_of_work import Database
from kernel.clock import ManualClock
from kernel.errors import NotFoundError
from kernel.ids import PrincipalId, Slug, TenantId
from policies.events import PolicyEvent, PrincipalEnrolled, PurposeDefined
from policies.snapshot import PolicySnapshot
from tests.support.budgets import fresh


def add(database: Database, tenant: TenantId, *events: PolicyEvent) -> None:
    """Commit policy events as another process does: past this cache."""
    with database.work(tenant) as work:
        work.policy.lock(tenant)
        for event in events:
            work.policy.append(tenant, event)
            work.record(event)
        work.commit("policy")


def enrolled(database: Database, tenant: TenantId, epoch: int) -> PrincipalId:
    """Enrol somebody at an epoch."""
    principal = PrincipalId.new(os.urandom)
    with database.work(tenant) as work:
        name = work.texts.keep(tenant, "person-name", "Ada", os.urandom(32))
        event = PrincipalEnrolled(epoch=epoch, principal=principal, name=name)
        work.policy.append(tenant, event)
        work.record(event)
        work.commit("enrol")
    return principal


def purpose(epoch: int, name: str = "research") -> PurposeDefined:
    """A purpose at an epoch."""
    return PurposeDefined(epoch=epoch, purpose=Slug(name), within=())


def test_a_snapshot_is_loaded_on_first_use_and_then_kept(database: Database, tenant: TenantId) -> None:
    """The same object until something refreshes it: readers cost no query."""
    cache = PolicyCache(database)
    first = cache.snapshot(tenant)
    assert first.epoch == 1
    add(database, tenant, purpose(2))
    assert cache.snapshot(tenant) is first


def test_a_refresh_brings_every_cached_tenant_to_its_head(database: Database, tenant: TenantId) -> None:
    """What other processes committed shows after one poll; a reader who holds the old one is not disturbed."""
    cache = PolicyCache(database)
    old = cache.snapshot(tenant)
    principal = enrolled(database, tenant, 2)
    add(database, tenant, purpose(3))
    cache.refresh()
    fresh_one = cache.snapshot(tenant)
    assert fresh_one.epoch == 3
    assert principal in fresh_one.principals
    assert principal not in old.principals


def test_at_head_gives_exactly_the_epoch_that_is_held(database: Database, tenant: TenantId) -> None:
    """Older than the cache, equal, or newer: always the fold up to that epoch and no further."""
    for epoch in (2, 3, 4):
        add(database, tenant, purpose(epoch, f"purpose-{epoch}"))
    cache = PolicyCache(database)
    assert cache.snapshot(tenant).epoch == 4
    with database.read() as reading:
        for epoch in (1, 2, 3, 4):
            folded = PolicySnapshot.empty(tenant).fold(reading.policy.since(tenant, 0, epoch))
            assert cache.at_head(reading, tenant, epoch) == folded
            assert folded.epoch == epoch


def test_a_cache_never_goes_back(database: Database, tenant: TenantId) -> None:
    """A slow writer that comes late with an older snapshot replaces nothing."""
    cache = PolicyCache(database)
    old = cache.snapshot(tenant)
    add(database, tenant, purpose(2))
    cache.refresh()
    cache.keep(old)
    assert cache.snapshot(tenant).epoch == 2


def test_an_unknown_tenant_is_an_empty_policy_and_is_not_remembered(database: Database) -> None:
    """Nothing is allowed by an empty policy, and asking for strangers fills no memory."""
    cache = PolicyCache(database)
    stranger = fresh(TenantId)
    assert cache.snapshot(stranger).epoch == 0
    with database.work(stranger) as work, pytest.raises(NotFoundError):
        work.policy.hold(stranger)


def test_the_poll_goes_on_after_a_failure(
    database: Database, tenant: TenantId, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh that fails is tried again; the cache is fresh in the end."""
    cache = PolicyCache(database)
    cache.snapshot(tenant)
    failures = iter([ConnectionError("gone")])
    really = cache.refresh

    def refresh() -> None:
        for error in failures:
            raise error
        really()

    monkeypatch.setattr(cache, "refresh", refresh)
    add(database, tenant, purpose(2))
    poll = PolicyPoll(cache, 0.01)
    poll.start()
    until = time.monotonic() + 20
    while cache.snapshot(tenant).epoch < 2 and time.monotonic() < until:
        time.sleep(0.01)
    poll.stop()
    assert cache.snapshot(tenant).epoch == 2
