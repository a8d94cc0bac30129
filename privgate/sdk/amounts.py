"""How people write amounts and moments, made exact."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeAlias

from kernel.checks import decimal, matching
from kernel.clock import SystemClock, format_time, parse_time, require_ahead
from kernel.errors import InvalidError

Number: TypeAlias = "str | int | float | Decimal"
Moment: TypeAlias = "str | date | datetime"
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?")


def decimal_text(value: Number, field: str) -> str:
    """Write a number as plain decimal text; a float is the decimal that it prints as.

    Raises:
        InvalidError: Not a finite number.
    """
    # numpy's floats are floats that print otherwise.
    number = decimal(**{field: float.__repr__(value) if isinstance(value, float) else value})
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def moment_text(value: Moment, field: str) -> str:
    """Write a moment as the gateway reads it; a date is its first second in UTC."""
    if isinstance(value, str):
        matching(_MOMENT, "must be a date such as 2027-06-30, or a time such as 2027-06-30T12:00:00Z", **{field: value})
        return value if "T" in value else f"{value}T00:00:00Z"
    if not isinstance(value, datetime):
        return format_time(datetime(value.year, value.month, value.day, tzinfo=UTC))
    if value.tzinfo is None:
        raise InvalidError(f"`{field}` needs a time zone", field=field)
    return format_time(value.astimezone(UTC).replace(microsecond=0))


def ahead_text(value: Moment, field: str) -> str:
    """Write a moment that still has to come; raise `InvalidError` for one that has passed, by this machine's clock."""
    written = moment_text(value, field)
    require_ahead(SystemClock().now(), **{field: parse_time(written, field)})
    return written
