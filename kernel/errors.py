"""The error base: a closed set of kinds, messages in the user's words, data instead of prose.

Rules
-----
1. A message names the field and the fix. It never repeats a value that came with the request: error text from code
   that saw private data is a release channel.
2. Inside the system an error has a `Kind`; only the HTTP edge turns a kind into a status (`gateway.api.problems`).
3. Refusals that are a normal answer (a denial, an exhausted budget) are values, not errors: raising one would roll back
   the log entry that must record it.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What went wrong, as far as a caller may act on it."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    DENIED = "denied"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    STALE = "stale"
    TOO_LARGE = "too-large"
    EXHAUSTED = "exhausted"
    UNAVAILABLE = "unavailable"
    CORRUPT = "corrupt"


class PrivgateError(Exception):
    """Base of every error that Privgate raises on purpose.

    Args:
        message: One sentence for the person who can mend it; free of private values.
        field: The request field, setting or file the sentence is about, if there is one.
    """

    kind: Kind = Kind.INVALID

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class InvalidError(PrivgateError):
    """A value breaks a rule of its field."""

    kind = Kind.INVALID


class UnauthenticatedError(PrivgateError):
    """Nobody, or somebody who cannot prove who they are."""

    kind = Kind.UNAUTHENTICATED


class NotFoundError(PrivgateError):
    """No such object, or none that this caller may know of."""

    kind = Kind.NOT_FOUND


class ConflictError(PrivgateError):
    """The object is in a state in which this cannot be done."""

    kind = Kind.CONFLICT


class StaleError(PrivgateError):
    """Somebody else changed the object, or took over the lease, since it was read."""

    kind = Kind.STALE


class TooLargeError(PrivgateError):
    """More bytes, rows or steps than the limit allows."""

    kind = Kind.TOO_LARGE


class UnavailableError(PrivgateError):
    """A part that must work for this to be safe is down; nothing was done."""

    kind = Kind.UNAVAILABLE


class CorruptError(PrivgateError):
    """Stored or received bytes fail their check: altered, truncated, replayed or under another key."""

    kind = Kind.CORRUPT
