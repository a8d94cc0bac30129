"""Reading what a party sends: raw bytes, bounded and in time."""

from __future__ import annotations

import asyncio

from fastapi import Request

from gateway.api.body_reader import declared_length, too_slow
from kernel.errors import InvalidError, TooLargeError

READ_SECONDS = 300.0


async def bytes_of(request: Request, limit: int) -> bytes:
    """Read a body.

    Raises:
        TooLargeError: More than `limit` bytes.
        InvalidError: Empty.
        ProblemError: It did not arrive in time; it may be sent again.
    """
    if declared_length(request) > limit:
        raise _too_large(limit)
    pieces = bytearray()
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for piece in request.stream():
                pieces += piece
                if len(pieces) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise too_slow() from None
    if not pieces:
        raise InvalidError("send the document as the raw body", field="content")
    return bytes(pieces)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"a document here has at most {limit} bytes", field="content")
