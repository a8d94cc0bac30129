"""Who is it? From a token to a caller, with a short memory.

Rules
-----
1. A token that proved good is remembered for a few seconds, so that a busy client does not cost a query each time.
   A revocation in this process forgets it at once; one by another process shows after that time at the latest.
2. A token that proved bad is never remembered: there is nothing to fill a memory with.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway.credentials import Credential, authenticate, parse_token
from gateway.services.deciding import Caller
from gateway.unit_of_work import Database
from kernel.clock import Clock
from kernel.errors import UnauthenticatedError

REMEMBERED_SECONDS = 5
MOST_REMEMBERED = 10_000


class Authenticator:
    """Proves tokens against stored credentials."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[datetime, Credential]] = {}

    def remembered(self, written: str) -> Caller | None:
        """Return the caller of a token that proved good a moment ago."""
        found = self._known.get(written)
        now = self._clock.now()
        if found is None or now > found[0] or now >= found[1].expires_at:
            return None
        return Caller(found[1].tenant, found[1].principal)

    def prove(self, written: str) -> Caller:
        """Prove a token by asking the database; raise `UnauthenticatedError` if it proves nobody."""
        token = parse_token(written)
        with self._database.read() as reading:
            stored = reading.credentials.find(token.credential)
        now = self._clock.now()
        good = authenticate(token, stored, now)
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[written] = (now + timedelta(seconds=REMEMBERED_SECONDS), good)
        return Caller(good.tenant, good.principal)

    def forget(self) -> None:
        """Forget every token; called when a credential is revoked here."""
        self._known.clear()


def bearer(header: str | None) -> str:
    """Return the token of an Authorization header; raise `UnauthenticatedError` if there is none."""
    scheme, _, written = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not written:
        raise UnauthenticatedError("send an access token: `Authorization: Bearer pgw_...`")
    return written.strip()
