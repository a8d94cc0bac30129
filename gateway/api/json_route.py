"""Routes whose JSON bodies are read strictly, before anything else looks at them.

Rules
-----
1. Whoever sends a body has to be somebody first: no body of nobody is read.
2. A body is JSON by its own word (`Content-Type`), UTF-8, at most `JSON_LIMIT` bytes, bounded in depth, without a
   repeated member and without floats: two readers of the same bytes cannot understand them differently.
3. It has to arrive within `READ_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from gateway.api.body_reader import declared_length
from gateway.api.deps import get_caller
from gateway.api.direct import called_directly
from gateway.api.problems import ProblemError
from kernel import canonical
from kernel.errors import InvalidError, Kind, TooLargeError

JSON_LIMIT = 4 << 20
READ_SECONDS = 30.0
_NOT_JSON = (
    "The body must be JSON in UTF-8 without repeated members. Numbers with a fraction, or beyond 2^53, are written as "
    'text, for example "0.5".'
)


class JsonRoute(APIRoute):
    """A route that reads the body of its request strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler, or replace it where the route needs no body and nothing special."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return called_directly(self.dependant, handle)

        async def handle_strictly(request: Request) -> Response:
            await get_caller(request)
            strict = _StrictRequest(request.scope, request.receive)
            await strict.read()
            return await handle(strict)

        return handle_strictly


class _StrictRequest(Request):
    """A request whose body was read by `read`."""

    async def read(self) -> None:
        """Read the body.

        Raises:
            ProblemError: Not JSON by its own word, or too slow.
            TooLargeError: Longer than the limit.
            InvalidError: Not JSON that this gateway reads.
        """
        try:
            async with asyncio.timeout(READ_SECONDS):
                content = await self._bounded()
        except TimeoutError:
            raise ProblemError(
                Kind.INVALID, "request-timeout", "The body did not arrive in time.", status=HTTPStatus.REQUEST_TIMEOUT
            ) from None
        self._body = content
        if not content:
            return
        _check_media_type(self.headers.get("content-type", ""))
        try:
            self._json = canonical.decode(content, limit=JSON_LIMIT)
        except InvalidError:
            raise InvalidError(_NOT_JSON, field="body") from None

    async def _bounded(self) -> bytes:
        if declared_length(self) > JSON_LIMIT:
            raise _too_large()
        pieces = bytearray()
        async for piece in self.stream():
            pieces += piece
            if len(pieces) > JSON_LIMIT:
                raise _too_large()
        return bytes(pieces)


def _check_media_type(written: str) -> None:
    kind, _, parameters = written.partition(";")
    charset = parameters.replace(" ", "").lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise ProblemError(
            Kind.INVALID,
            "unsupported-media-type",
            "Send the body as `Content-Type: application/json`.",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )


def _too_large() -> TooLargeError:
    return TooLargeError(f"a JSON body has at most {JSON_LIMIT} bytes", field="body")
