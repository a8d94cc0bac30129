"""Routes that ask for nothing but who calls, the app's state and parts of the path are called directly.

FastAPI's solver looks at every dependency of a route anew in each request, which takes longer than authenticating,
deciding and answering together. Most reads need none of what it can do.

Rules
-----
1. A route is called directly only if everything that it asks for is on the list below; any other takes FastAPI's way.
2. A part of the path that breaks its rule goes FastAPI's way as well, so that a refusal looks the same everywhere.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant

from gateway.api.deps import get_caller, get_reader, get_state

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

SIMPLE = (get_state, get_caller, get_reader)


def called_directly(asked: Dependant, otherwise: Handler) -> Handler:
    """Return a handler that calls the route's function itself, or `otherwise` where that would not be the same.

    Args:
        asked: What the route asks for, as FastAPI read it.
        otherwise: FastAPI's handler of the route.
    """
    function, parts = asked.call, asked.path_params
    if function is None or not _simple(asked):
        return otherwise
    given = [(need.name, need.call) for need in asked.dependencies if need.name and need.call]

    async def handle(request: Request) -> Response:
        values: dict[str, Any] = {}
        for part in parts:
            values[part.name], broken = part.validate(request.path_params[part.alias], {}, loc=("path", part.alias))
            if broken:
                return await otherwise(request)
        for name, call in given:
            values[name] = await call(request)
        response: Response = await function(**values)
        return response

    return handle


def _simple(asked: Dependant) -> bool:
    """Whether the route asks for simple things only, and answers with a response that it made itself."""
    others = (asked.query_params, asked.header_params, asked.cookie_params, asked.body_params)
    names = (
        asked.request_param_name,
        asked.websocket_param_name,
        asked.http_connection_param_name,
        asked.response_param_name,
        asked.background_tasks_param_name,
        asked.security_scopes_param_name,
    )
    if any(others) or any(names) or not all(_called_here(need) for need in asked.dependencies):
        return False
    answer = typing.get_type_hints(asked.call).get("return")
    return isinstance(answer, type) and issubclass(answer, Response)


def _called_here(need: Dependant) -> bool:
    """Whether a need is called by `handle`: one without a name, such as a router's own, would be left out."""
    return need.call in SIMPLE and need.name is not None
