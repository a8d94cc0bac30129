"""The API's own document: what FastAPI writes, made to say exactly what the routes do.

Rules
-----
1. Every refusal is documented as a problem document, and only where it can happen.
2. Every body has an example that works in form (`gateway.api.examples`).
3. Where a route has a caller, the document says that a token is needed.
4. Operation ids are part of the interface: clients, the table of rights and the log's readers cite them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from gateway.api.deps import AUTHENTICATING
from gateway.api.examples import EXAMPLES
from gateway.api.views import Problem

ONLY_WITH_BODY = ("408", "413", "415")
ONLY_WITH_VERSION = ("412", "428")
SCHEME = "accessToken"
BEARER = {
    "type": "http", "scheme": "bearer", "bearerFormat": "pgw_...", "description": "An access token, shown once.",
}  # fmt: skip
_METHODS = ("get", "put", "post", "delete")


def install(app: FastAPI) -> None:
    """Make `app` serve its document."""
    app.openapi = _cached(app)  # type: ignore[method-assign]  # FastAPI's own way to replace the document


def _cached(app: FastAPI) -> Callable[[], dict[str, Any]]:
    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    return document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    components = document["components"]
    components["schemas"]["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["securitySchemes"] = {SCHEME: BEARER}
    authenticated = {route.operation_id for route in app.routes if isinstance(route, APIRoute) and _has_a_caller(route)}
    for operation in operations(document):
        if operation["operationId"] in authenticated:
            operation["security"] = [{SCHEME: []}]
        _say_what_can_happen(operation)
        _add_example(operation)
    return document


def _has_a_caller(route: APIRoute) -> bool:
    return any(dependency.call in AUTHENTICATING for dependency in route.dependant.dependencies)


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation of a document."""
    for item in document["paths"].values():
        for method in _METHODS:
            if method in item:
                yield item[method]


def _say_what_can_happen(operation: dict[str, Any]) -> None:
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    if "requestBody" not in operation:
        _drop(operation, ONLY_WITH_BODY)
    if "If-Match" not in parameters:
        _drop(operation, ONLY_WITH_VERSION)


def _drop(operation: dict[str, Any], statuses: Iterable[str]) -> None:
    for status in statuses:
        operation["responses"].pop(status, None)


def _add_example(operation: dict[str, Any]) -> None:
    content = operation.get("requestBody", {}).get("content", {})
    example = EXAMPLES.get(operation["operationId"])
    if "application/json" in content and example is not None:
        content["application/json"]["examples"] = {"example": {"value": example}}
