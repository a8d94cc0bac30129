"""JSON bodies as a gateway reads them: strict, bounded, and refused in one sentence, whoever asks.

Rules
-----
1. UTF-8, no repeated member, no float: two readers of the same bytes cannot understand them differently.
2. Length, depth and number of values are bounded: a million small values take seconds to read, as one long text does
   not. Only job requests may be as long as `LARGE_LIMIT`: they may hold a model with the values it starts from.
"""

from __future__ import annotations

from typing import Any, Final

from kernel import canonical
from kernel.errors import InvalidError, TooLargeError

JSON_LIMIT: Final = 4 << 20
LARGE_LIMIT: Final = 8 << 20
MOST_VALUES: Final = 300_000
_NOT_JSON: Final = (
    "The body must be JSON in UTF-8 without repeated members. Numbers with a fraction, or beyond 2^53, are written as "
    'text, for example "0.5".'
)


def read_body(content: bytes, limit: int) -> Any:
    """Read a body.

    Raises:
        TooLargeError: More bytes than `limit`, or too many values.
        InvalidError: Not JSON that a gateway reads.
    """
    if len(content) > limit:
        raise too_large(limit)
    if sum(map(content.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise TooLargeError(f"this JSON body may hold at most {MOST_VALUES} values", field="body")
    try:
        return canonical.decode(content, limit=limit)
    except InvalidError:
        raise InvalidError(_NOT_JSON, field="body") from None


def too_large(limit: int) -> TooLargeError:
    """What is said of a body of more bytes."""
    return TooLargeError(f"this JSON body may have at most {limit} bytes", field="body")
