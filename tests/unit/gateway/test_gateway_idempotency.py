"""Idempotency keys: the answer is stored with its effect, or neither is; a key means one request."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from gateway.records import PersonRecord
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.idempotency import Once, recall
from gateway.storage import tables
from gateway.unit_of_work import Database
from kernel.canonical import Digest, digest_of
from kernel.errors import ConflictError
from kernel.ids import CredentialId, PrincipalId, TenantId
from policies.events import CredentialRevoked
from tests.support.budgets import fresh

KEY = "a-key-of-a-client"
REQUEST, OTHER = digest_of("http-request/v1", {"route": "one"}), digest_of("http-request/v1", {"route": "two"})


@pytest.fixture
def on(database: Database) -> Collaborators:
    """What `recall` needs of the collaborators."""
    return cast(Collaborators, SimpleNamespace(database=database))


@pytest.fixture
def caller(tenant: TenantId) -> Caller:
    """Somebody."""
    return Caller(tenant, PrincipalId.new(os.urandom))


def enrol(
    database: Database, caller: Caller, *, key: str = KEY, request: Digest = REQUEST, commits: bool = True
) -> str:
    """A use case with an effect, that stores its answer beside it."""
    alongside: Once[str] = Once(caller, key, request, 201, lambda principal: {"principal": principal})
    made = PrincipalId.new(os.urandom)
    with database.work(caller.tenant) as work:
        work.people.insert(PersonRecord(principal=made, tenant=caller.tenant, name="Ada", salt=b"salt"))
        work.record(CredentialRevoked(credential=fresh(CredentialId)))
        alongside(work, made)
        if commits:
            work.commit("enrol")
    return made


def people(database: Database) -> int:
    """How often the effect happened."""
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(tables.person)).scalar_one())


def test_a_repeated_request_gets_the_first_answer(on: Collaborators, database: Database, caller: Caller) -> None:
    """Status and body as they were; a fresh key knows nothing."""
    assert recall(on, caller, KEY, REQUEST) is None
    made = enrol(database, caller)
    known = recall(on, caller, KEY, REQUEST)
    assert known is not None
    assert (known.status, dict(known.body)) == (201, {"principal": made})


def test_a_key_whose_effect_rolled_back_is_free_again(on: Collaborators, database: Database, caller: Caller) -> None:
    """No effect, no answer."""
    enrol(database, caller, commits=False)
    assert recall(on, caller, KEY, REQUEST) is None
    enrol(database, caller)
    assert people(database) == 1


def test_another_request_under_the_same_key_is_refused(on: Collaborators, database: Database, caller: Caller) -> None:
    """The sentence names the header."""
    enrol(database, caller)
    with pytest.raises(ConflictError) as caught:
        recall(on, caller, KEY, OTHER)
    assert caught.value.field == "Idempotency-Key"


def test_a_key_is_its_principals_own(on: Collaborators, database: Database, caller: Caller) -> None:
    """Another principal with the same key gets no foreign answer and is not hindered."""
    enrol(database, caller)
    other = Caller(caller.tenant, PrincipalId.new(os.urandom))
    assert recall(on, other, KEY, OTHER) is None
    enrol(database, other, request=OTHER)
    assert people(database) == 2


def test_the_same_request_many_times_at_once_has_one_effect(
    on: Collaborators, database: Database, caller: Caller
) -> None:
    """Six that race under one key: one commits, the others find its answer."""
    together = Barrier(6)

    def attempt(_: int) -> Any:
        together.wait(timeout=30)
        try:
            return enrol(database, caller)
        except IntegrityError:
            known = recall(on, caller, KEY, REQUEST)
            return None if known is None else known.body["principal"]

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(attempt, range(6)))
    assert people(database) == 1
    assert len(answers) == 1
    assert None not in answers
