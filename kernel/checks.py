"""Validators that take one named argument, so that the message names the field.

Every value type calls these in `__post_init__`: an invalid value cannot exist. Messages carry limits, never the value.

Usage: `positive(steps=steps)` returns `steps` or raises `InvalidError(field="steps")`.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final, TypeVar

from kernel.errors import InvalidError

T = TypeVar("T")
N = TypeVar("N", int, float, Decimal)

_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")


def _only(named: dict[str, T]) -> tuple[str, T]:
    if len(named) != 1:
        raise TypeError("a check takes exactly one named value")
    return next(iter(named.items()))


def _require(condition: bool, field: str, sentence: str) -> None:
    if not condition:
        raise InvalidError(f"`{field}` {sentence}", field=field)


def finite(**named: N) -> N:
    """Return the value if it is a finite number."""
    field, value = _only(named)
    number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    _require(number and math.isfinite(value), field, "must be a finite number")
    return value


def positive(**named: N) -> N:
    """Return the value if it is finite and above zero."""
    field, value = _only(named)
    finite(**{field: value})
    _require(value > 0, field, "must be above 0")
    return value


def non_negative(**named: N) -> N:
    """Return the value if it is finite and not below zero."""
    field, value = _only(named)
    finite(**{field: value})
    _require(value >= 0, field, "must not be below 0")
    return value


def probability(**named: N) -> N:
    """Return the value if it lies in (0, 1]."""
    field, value = _only(named)
    finite(**{field: value})
    _require(0 < value <= 1, field, "must be above 0 and at most 1")
    return value


def within(low: N, high: N, **named: N) -> N:
    """Return the value if `low <= value <= high`."""
    field, value = _only(named)
    finite(**{field: value})
    _require(low <= value <= high, field, f"must lie between {low} and {high}")
    return value


def decimal(**named: str | int | Decimal) -> Decimal:
    """Return the exact number that is written, or given as a whole number or a finite `Decimal`.

    Text is `-1.5` or `1.5e-3` in ASCII digits: no space, sign before a positive number, zero before another digit,
    digit missing beside the point, or `_`. Python's `Decimal` reads all of these, in the digits of any script.
    """
    field, value = _only(named)
    sentence = "must be decimal text such as 0.5"
    _require(isinstance(value, (str, int, Decimal)) and not isinstance(value, bool), field, sentence)
    _require(not isinstance(value, str) or _DECIMAL.fullmatch(value) is not None, field, sentence)
    return finite(**{field: Decimal(value)})


def whole(low: int, high: int, **named: int) -> int:
    """Return the value if it is an integer (not a boolean) with `low <= value <= high`."""
    field, value = _only(named)
    integer = isinstance(value, int) and not isinstance(value, bool)
    _require(integer and low <= value <= high, field, f"must be a whole number from {low} to {high}")
    return value


def text(longest: int, **named: str) -> str:
    """Return the value if it is non-empty printable text of at most `longest` characters."""
    field, value = _only(named)
    _require(isinstance(value, str) and 0 < len(value) <= longest, field, f"must have 1 to {longest} characters")
    _require(value.isprintable(), field, "must not contain control characters")
    return value


def matching(pattern: re.Pattern[str], sentence: str, **named: str) -> str:
    """Return the value if the whole of it matches `pattern`; `sentence` says in words what is expected."""
    field, value = _only(named)
    _require(isinstance(value, str) and pattern.fullmatch(value) is not None, field, sentence)
    return value


def size(exactly: int, **named: bytes) -> bytes:
    """Return the value if it is a byte string of the given length."""
    field, value = _only(named)
    _require(isinstance(value, bytes) and len(value) == exactly, field, f"must have exactly {exactly} bytes")
    return value
