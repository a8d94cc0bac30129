"""The only place where an error kind becomes an HTTP answer (RFC 9457 problem documents).

Rules
-----
1. Every error answer is `application/problem+json` with `type, title, status, detail, code, correlation`, and with
   `decision` where the policy was asked, `field` where one field is to blame.
2. Nothing that came with the request is echoed. FastAPI's own validation errors carry the input: it is dropped.
3. An error that nobody mapped is a bare `internal` with a correlation id; its text goes nowhere, because code that saw
   private rows may have written it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.api.faults import rule_of, told
from kernel.errors import Kind, PrivgateError

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[Kind, int] = {
    Kind.INVALID: 422,
    Kind.UNAUTHENTICATED: 401,
    Kind.DENIED: 403,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.STALE: 412,
    Kind.TOO_LARGE: 413,
    Kind.EXHAUSTED: 409,
    Kind.UNAVAILABLE: 503,
    Kind.CORRUPT: 500,
}

_log = structlog.get_logger(__name__)


class ProblemError(Exception):
    """An answer that says no, ready to be written.

    Args:
        kind: What went wrong; it has a status.
        code: The stable word for it.
        detail: One sentence for the person who can mend it.
        status: In place of the kind's status, where HTTP has a closer one.
        data: Further members: public figures such as what remains.
    """

    def __init__(self, kind: Kind, code: str, detail: str, *, status: int | None = None, **data: Any) -> None:
        super().__init__(detail)
        self.status = STATUS[kind] if status is None else status
        self.code = code
        self.detail = detail
        self.data = data


def problem_response(
    request: Request, status: int, code: str, detail: str, data: Mapping[str, Any] | None = None
) -> JSONResponse:
    """Write a problem document."""
    body = {
        "type": f"urn:privgate:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "correlation": correlation_of(request),
        **{name: value for name, value in (data or {}).items() if value is not None},
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def correlation_of(request: Request) -> str:
    """The identifier that ties this answer to the server's own records."""
    return str(request.scope.get("privgate.correlation", ""))


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(PrivgateError, _on_privgate_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return problem_response(request, error.status, error.code, error.detail, error.data)


async def _on_privgate_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, PrivgateError)
    if error.kind is Kind.CORRUPT:
        _log.error("corrupt", correlation=correlation_of(request), kind=type(error).__name__)
        return problem_response(
            request, 500, "internal", "Something stored here fails its check; the operator was told."
        )
    return problem_response(request, STATUS[error.kind], error.kind.value, error.message, {"field": error.field})


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Only place and rule: `input`, `msg` and `ctx` may hold what was sent. A location part may be a name from outside.
    faults = [(_place(item), rule_of(item)) for item in error.errors()[:20]]
    fields = [{"field": field, "rule": rule} for field, rule in faults]
    return problem_response(request, 422, "invalid", told(faults), {"field": faults[0][0], "fields": fields})


def _place(item: Mapping[str, Any]) -> str:
    # The last part of an unknown member's place is its name, which is the client's and not ours.
    location = item["loc"][:-1] if item["type"] == "extra_forbidden" else item["loc"]
    parts = [str(part) for part in location[1:]] or [str(location[0])]
    written = ".".join(parts)
    safe = written.isascii() and written.replace(".", "").replace("_", "").replace("-", "").isalnum()
    return written if safe and len(written) <= 120 else str(location[0])


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    response = problem_response(request, error.status_code, code, HTTPStatus(error.status_code).description or code)
    response.headers.update(error.headers or {})
    return response


def internal(request: Request, error: Exception) -> JSONResponse:
    """The answer to an error that nobody mapped; only its type is written down."""
    _log.error("internal", correlation=correlation_of(request), kind=type(error).__name__)
    return problem_response(
        request, 500, "internal", "Something went wrong here; quote the correlation to the operator."
    )
