"""Access tokens: shown once, stored as hashes, and worth nothing once anything about them is wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gateway.credentials import Credential, Token, authenticate, hash_secret, new_token, parse_token
from gateway.services.authenticating import REMEMBERED_SECONDS, Authenticator, bearer
from gateway.storage.sql.credentials import SqlCredentials
from gateway.unit_of_work import Database
from kernel.clock import ManualClock
from kernel.errors import UnauthenticatedError
from kernel.ids import CredentialId, PrincipalId, TenantId

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
UNTIL = NOW + timedelta(days=1)


def issue(tenant: TenantId | None = None) -> tuple[Token, Credential]:
    """A token and what is stored of it."""
    token = new_token(CredentialId.new(os.urandom), os.urandom)
    stored = Credential(
        id=token.credential,
        tenant=tenant or TenantId.new(os.urandom),
        principal=PrincipalId.new(os.urandom),
        secret_hash=hash_secret(token.credential, token.secret),
        expires_at=UNTIL,
    )
    return token, stored


def keep(database: Database, stored: Credential) -> None:
    """Store a credential and nothing else; in the program an entry goes with it."""
    with database.writing() as connection:
        SqlCredentials(connection).add(stored)


def test_a_token_is_read_as_it_was_written() -> None:
    """Written, copied, parsed: the same credential and secret; its repr shows no secret."""
    token, _ = issue()
    assert parse_token(token.written()) == token
    assert token.secret not in repr(token)


def test_a_typing_error_is_found_without_asking_the_database() -> None:
    """Any changed, missing or added character breaks form or checksum."""
    written = issue()[0].written()
    for place in range(4, len(written)):
        wrong = written[:place] + ("b" if written[place] != "b" else "c") + written[place + 1 :]
        with pytest.raises(UnauthenticatedError):
            parse_token(wrong)
    for wrong in (written[:-1], written + "0", "", "pgw_", written.upper(), f" {written}"):
        with pytest.raises(UnauthenticatedError):
            parse_token(wrong)


def test_every_refusal_says_the_same() -> None:
    """Unknown, wrong, expired and revoked cannot be told apart from outside."""
    token, stored = issue()
    other, _ = issue()
    assert authenticate(token, stored, NOW) is stored
    refusals = [
        (token, None, NOW),
        (replace(token, secret=other.secret), stored, NOW),
        (token, stored, UNTIL),
        (token, replace(stored, revoked=True), NOW),
    ]
    said = set()
    for refused, known, now in refusals:
        with pytest.raises(UnauthenticatedError) as caught:
            authenticate(refused, known, now)
        said.add(caught.value.message)
    assert len(said) == 1


def test_a_hash_is_bound_to_its_credential() -> None:
    """The same secret under another id is another hash: rows cannot be swapped."""
    token, _ = issue()
    assert hash_secret(token.credential, token.secret) != hash_secret(CredentialId.new(os.urandom), token.secret)


def test_the_database_holds_no_secret(database: Database, tenant: TenantId) -> None:
    """Neither the token nor its secret stands in any column of any row."""
    token, stored = issue(tenant)
    keep(database, stored)
    with database.reading() as connection:
        rows = connection.execute(text("SELECT * FROM credential")).all()
    written = b"".join(value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row)
    assert len(rows) == 1
    assert token.secret.encode() not in written
    assert token.written().encode() not in written


def test_a_good_token_is_remembered_for_seconds_and_a_bad_one_never(
    database: Database, tenant: TenantId, clock: ManualClock
) -> None:
    """A revocation elsewhere shows after the memory ran out, one here at once."""
    token, stored = issue(tenant)
    keep(database, stored)
    authenticator, written = Authenticator(database, clock), token.written()
    assert authenticator.remembered(written) is None
    caller = authenticator.prove(written)
    assert authenticator.remembered(written) == caller
    clock.advance(REMEMBERED_SECONDS + 1)
    assert authenticator.remembered(written) is None
    authenticator.prove(written)
    authenticator.forget()
    assert authenticator.remembered(written) is None
    wrong = issue()[0].written()
    with pytest.raises(UnauthenticatedError):
        authenticator.prove(wrong)
    assert authenticator.remembered(wrong) is None


def test_the_memory_never_outlives_the_token(database: Database, tenant: TenantId, clock: ManualClock) -> None:
    """A token that expires within the remembered seconds is nobody's from that instant on."""
    token, stored = issue(tenant)
    keep(database, replace(stored, expires_at=NOW + timedelta(seconds=2)))
    authenticator, written = Authenticator(database, clock), token.written()
    authenticator.prove(written)
    clock.advance(2)
    assert authenticator.remembered(written) is None
    with pytest.raises(UnauthenticatedError):
        authenticator.prove(written)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "pgw_abc"])
def test_without_a_bearer_token_nobody_is_there(header: str | None) -> None:
    """The sentence says how to send one."""
    with pytest.raises(UnauthenticatedError, match="Bearer"):
        bearer(header)
    assert bearer("bearer  abc ") == "abc"
