"""Reading the members of a request strictly: what is not known is refused, and no value is repeated.

Rules
-----
1. An object has the members it needs and may have, and no others.
2. Numbers that are not counts are decimal text.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter


def members_of(body: Any, field: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Return an object that has exactly what it needs and what it may have."""
    if not isinstance(body, Mapping) or not set(needed) <= set(body) <= {*needed, *optional}:
        also = f" and may have {', '.join(optional)}" if optional else ""
        raise InvalidError(f"`{field}` needs {', '.join(needed)}{also}, nothing else", field=field)
    return body


def text_of(value: Any, field: str) -> str:
    """Return a text."""
    if not isinstance(value, str):
        raise InvalidError(f"`{field}` must be text", field=field)
    return value


def number_of(value: Any, field: str) -> Parameter | None:
    """Return decimal text as the number it writes; nothing stays nothing."""
    return None if value is None else Parameter.of(text_of(value, field), field)


def one_of(kind: type[Any], value: Any, field: str) -> Any:
    """Return the member of an enumeration that a text names."""
    known = {member.value: member for member in kind}
    if not isinstance(value, str) or value not in known:
        raise InvalidError(f"`{field}` must be one of " + ", ".join(known), field=field)
    return known[value]


def bytes_of(value: Any, field: str, limit: int) -> bytes:
    """Return the bytes that a base64 text writes; one value has one text.

    Raises:
        InvalidError: Not canonical base64.
        TooLargeError: More than `limit` bytes.
    """
    if not isinstance(value, str):
        raise InvalidError(f"`{field}` must be base64 text", field=field)
    if len(value) > 4 * (limit // 3 + 1):
        raise TooLargeError(f"`{field}` may have at most {limit} bytes", field=field)
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidError(f"`{field}` must be base64 text", field=field) from None
    if len(data) > limit:
        raise TooLargeError(f"`{field}` may have at most {limit} bytes", field=field)
    if text_from(data) != value:
        raise InvalidError(f"`{field}` must be canonical base64", field=field)
    return data


def text_from(data: bytes) -> str:
    """The base64 text of bytes."""
    return base64.b64encode(data).decode("ascii")
