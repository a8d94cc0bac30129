"""Time as an argument: aware UTC, whole seconds, one written form.

Whole seconds are deliberate: the log and the certificate carry no finer time, because durations of work on private
rows are a channel (`docs/GUARANTEES.md`, timing).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Protocol

from kernel.errors import InvalidError

_WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z")


class Clock(Protocol):
    """Where a service learns what time it is."""

    def now(self) -> datetime:
        """Return the present instant: aware, UTC, whole seconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time, cut to the second."""
        return datetime.now(UTC).replace(microsecond=0)


class ManualClock:
    """A clock that moves when told to; for tests and simulations."""

    def __init__(self, start: datetime) -> None:
        self._now = check_time(start)

    def now(self) -> datetime:
        """Return the time that was last set."""
        return self._now

    def advance(self, seconds: int) -> datetime:
        """Move forward by `seconds` and return the new time."""
        self._now += timedelta(seconds=seconds)
        return self._now


def check_time(value: datetime, field: str = "time") -> datetime:
    """Return `value` if it is aware, UTC and in whole seconds; raise `InvalidError` otherwise."""
    if value.tzinfo is not UTC and (value.tzinfo is None or value.utcoffset() != timedelta(0)):
        raise InvalidError(f"`{field}` must be in UTC", field=field)
    if value.microsecond:
        raise InvalidError(f"`{field}` must be in whole seconds", field=field)
    return value.astimezone(UTC)


def require_ahead(now: datetime, **named: datetime | None) -> None:
    """Return if every moment that is given lies ahead; raise `InvalidError` that names the first that does not."""
    for field, moment in named.items():
        if moment is not None and moment <= now:
            raise InvalidError(f"`{field}` has passed: name a later moment", field=field)


def format_time(value: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, for example `2026-11-23T09:30:00Z`."""
    return check_time(value).replace(tzinfo=None).isoformat() + "Z"


def parse_time(value: str, field: str = "time") -> datetime:
    """Read exactly the form that `format_time` writes; raise `InvalidError` for anything else."""
    if not isinstance(value, str) or _WRITTEN.fullmatch(value) is None:
        raise InvalidError(f"`{field}` must look like 2026-11-23T09:30:00Z", field=field)
    try:
        return datetime.fromisoformat(value[:-1]).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidError(f"`{field}` is not a date that exists", field=field) from None
