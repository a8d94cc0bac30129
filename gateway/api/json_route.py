"""Routes whose JSON bodies are read strictly, before anything else looks at them.

Rules
-----
1. Whoever sends a body has to be somebody first: no body of nobody is read.
2. A body is JSON by its own word (`Content-Type`), and strict and bounded JSON (`kernel.bodies`).
3. It has to arrive within `READ_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

from gateway.api.body_reader import declared_length
from gateway.api.deps import get_caller
from gateway.api.direct import called_directly
from gateway.api.problems import ProblemError
from kernel.bodies import JSON_LIMIT, LARGE_LIMIT, read_body, too_large
from kernel.errors import Kind

READ_SECONDS = 30.0


class JsonRoute(APIRoute):
    """A route that reads the body of its request strictly."""

    longest: ClassVar[int] = JSON_LIMIT

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler, or replace it where the route needs no body and nothing special."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return called_directly(self.dependant, handle)

        async def handle_strictly(request: Request) -> Response:
            await get_caller(request)
            strict = _StrictRequest(request.scope, request.receive)
            await strict.read(self.longest)
            return await handle(strict)

        return handle_strictly


class LargeJsonRoute(JsonRoute):
    """The same for bodies that may hold a model."""

    longest: ClassVar[int] = LARGE_LIMIT


class _StrictRequest(Request):
    """A request whose body was read by `read`."""

    async def read(self, longest: int) -> None:
        """Read the body.

        Args:
            longest: How many bytes it may have.

        Raises:
            ProblemError: Not JSON by its own word, or too slow.
            TooLargeError: Longer than the limit.
            InvalidError: Not JSON that this gateway reads.
        """
        try:
            async with asyncio.timeout(READ_SECONDS):
                content = await self._bounded(longest)
        except TimeoutError:
            raise ProblemError(
                Kind.INVALID, "request-timeout", "The body did not arrive in time.", status=HTTPStatus.REQUEST_TIMEOUT
            ) from None
        self._body = content
        if not content:
            return
        _check_media_type(self.headers.get("content-type", ""))
        self._json = read_body(content, longest)

    async def _bounded(self, longest: int) -> bytes:
        if declared_length(self) > longest:
            raise too_large(longest)
        pieces = bytearray()
        async for piece in self.stream():
            pieces += piece
            if len(pieces) > longest:
                raise too_large(longest)
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
