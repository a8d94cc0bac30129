"""The outermost layer: a correlation id for every request, security headers on every answer, no error beyond it.

Plain ASGI, because this runs for each request and a layer that copies bodies would double their cost.

Rules
-----
1. Every answer carries a correlation id that the gateway made; none is taken from outside.
2. An error that nobody mapped ends here as a bare problem. It is not passed on, because a server writes the text of
   what reaches it into its log, and that text may come from code that saw private rows.
3. Requests are counted by method and status class alone; no label names a route's objects, and nothing is timed.
   The process's own figures (processor time, memory) are not among them: while an upload runs they follow its size.
"""

from __future__ import annotations

import os
from functools import cache

import structlog
from fastapi import Request
from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.api.problems import internal

METRICS = CollectorRegistry()
REQUESTS = Counter(
    "privgate_requests_total", "Requests answered, by method and status class", ("method", "status"), registry=METRICS
)
HEADERS = (
    (b"strict-transport-security", b"max-age=63072000"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


class BrokenAnswerError(Exception):
    """An answer broke off after its first bytes; the server closes the connection, so that it is not taken as whole."""


class Edge:
    """Wraps the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        correlation = os.urandom(10).hex()
        scope["privgate.correlation"] = correlation
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [
                    *message.get("headers", ()), *HEADERS, (b"x-correlation-id", correlation.encode("ascii")),
                ]  # fmt: skip
                _count(scope["method"], message["status"])
            await send(message)

        # Bound for good: the server runs each request in a task, and so in a context, of its own.
        structlog.contextvars.bind_contextvars(correlation=correlation)
        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - rule 2
            problem = internal(Request(scope), error)
            if started:
                raise BrokenAnswerError from None
            await problem(scope, receive, answer)


@cache
def _answers(method: str, status: str) -> Counter:
    return REQUESTS.labels(method, status)


def _count(method: str, status: int) -> None:
    _answers(method if method in _METHODS else "other", f"{status // 100}xx").inc()
