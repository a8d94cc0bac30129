"""A client below HTTP: it gives an app exactly the events it is told to, and waits as long as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

HANG = object()
"""In place of an event: nothing comes any more."""
GONE = {"type": "http.disconnect"}


@dataclass
class Answer:
    """What the app sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def piece(content: bytes, *, more: bool = True) -> dict[str, Any]:
    """A piece of a request's body."""
    return {"type": "http.request", "body": content, "more_body": more}


def ask(
    app: Any, method: str, path: str, headers: dict[str, str], events: Sequence[Any], *, seconds: float = 30
) -> Answer:
    """Send one request to an app event by event, and return its answer."""
    return asyncio.run(asyncio.wait_for(_ask(app, method, path, headers, events), seconds))


async def _ask(app: Any, method: str, path: str, headers: dict[str, str], events: Sequence[Any]) -> Answer:
    answer, waiting = Answer(), list(events)
    written = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "headers": written,
        "server": ("gateway.test", 443), "client": ("127.0.0.1", 1),
    }  # fmt: skip

    async def receive() -> Any:
        if not waiting or waiting[0] is HANG:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer
