"""From what a use case returns to what a client gets: the thing, or a problem that says why not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from gateway.api.deps import denied
from gateway.api.problems import ProblemError
from gateway.api.state import ApiState
from gateway.services.deciding import Caller
from gateway.services.idempotency import Once, recall
from gateway.services.request_job import OverBudget
from kernel.canonical import digest_of
from kernel.errors import ConflictError, Kind
from policies.decisions import Deny

T = TypeVar("T")
V = TypeVar("V", bound=BaseModel)


class Written(JSONResponse):
    """A view as JSON, written by the model itself in one step."""

    def render(self, content: BaseModel) -> bytes:
        """Write it."""
        return content.model_dump_json().encode("utf-8")


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        "description": description,
    }
    for status, description in (
        (401, "No valid access token"),
        (403, "The policy says no; `decision` names the log's entry"),
        (404, "No such object here"),
        (408, "The body did not arrive in time"),
        (409, "The object's state does not allow it, or the budget does not"),
        (412, "Somebody else changed it meanwhile"),
        (413, "Too large"),
        (415, "The body is not `application/json`"),
        (422, "A field breaks its rule"),
        (428, "`If-Match` is missing"),
        (503, "Nothing was done: a part that must work is down or busy"),
    )
}


def raw_answer(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """Document a success whose content is not JSON."""
    text = {"schema": {"type": "string"}}
    return {200: {"description": "The content", "content": dict.fromkeys(media_types, text)}}


def event_answer() -> dict[int | str, dict[str, Any]]:
    """Document a stream of numbered events whose data is JSON text."""
    members = {name: {"type": "string"} for name in ("id", "event", "data")}
    event = {"schema": {"type": "object", "properties": members}}
    return {200: {"description": "The events", "content": {"text/event-stream": event}}}


def granted(result: T | Deny | OverBudget) -> T:
    """Return the result of a use case, or raise the problem that a refusal is."""
    if isinstance(result, Deny):
        raise denied(result)
    if isinstance(result, OverBudget):
        raise over_budget(result)
    return result


def over_budget(refused: OverBudget) -> ProblemError:
    """The answer to a job that does not fit: what was asked, what remains, and the largest such job that fits."""
    refusal, largest = refused.exhausted.refusal, refused.largest_epsilon
    fits = f"The largest job of this shape that fits has epsilon {largest}." if largest else "No such job fits."
    return ProblemError(
        Kind.EXHAUSTED,
        "budget-exhausted",
        f"The population's budget does not hold this job. {fits}",
        largest_epsilon=None if largest is None else str(largest),
        limits=[limit.to_fields() for limit in refusal.limits],
        retired=refusal.retired,
    )


def shown(view: BaseModel, status: int = 200, **headers: str) -> JSONResponse:
    """Write a view."""
    return Written(view, status_code=status, headers=headers)


async def once(
    state: ApiState,
    caller: Caller,
    key: str,
    request: Mapping[str, Any],
    status: int,
    render: Callable[[Any], BaseModel],
    use_case: Callable[..., Any],
    *arguments: Any,
) -> JSONResponse:
    """Run a use case under an Idempotency-Key, or repeat the answer that its first run gave.

    Args:
        state: The app's state.
        caller: Whose key it is.
        key: The key.
        request: What identifies the request: route and body, as JSON without floats.
        status: The status of success.
        render: Makes the answer from what the use case returns.
        use_case: Takes `arguments` and, by keyword, `alongside`.
        arguments: What it works on.
    """
    return await once_in_steps(state, caller, key, request, status, render, partial(state.writes, use_case, *arguments))


async def once_in_steps(
    state: ApiState,
    caller: Caller,
    key: str,
    request: Mapping[str, Any],
    status: int,
    render: Callable[[Any], BaseModel],
    steps: Callable[..., Awaitable[Any]],
) -> JSONResponse:
    """As `once`, for a use case that waits between one unit of work and the next.

    Args:
        state: The app's state.
        caller: Whose key it is.
        key: The key.
        request: What identifies the request.
        status: The status of success.
        render: Makes the answer from what the last step returns.
        steps: Takes `alongside`, by keyword, and gives it to the step that has the effect.
    """
    digest = digest_of("http-request/v1", request)
    known = await state.reads(recall, state.on, caller, key, digest)
    if known is not None:
        return JSONResponse(dict(known.body), status_code=known.status, headers={"Idempotency-Replayed": "true"})
    alongside: Once[Any] = Once(caller, key, digest, status, lambda result: render(result).model_dump(mode="json"))
    try:
        result = await steps(alongside=alongside)
    except IntegrityError:
        known = await state.reads(recall, state.on, caller, key, digest)
        if known is None:
            raise ConflictError("this was changed by somebody else meanwhile; try again") from None
        return JSONResponse(dict(known.body), status_code=known.status, headers={"Idempotency-Replayed": "true"})
    return shown(render(granted(result)), status)


def page_links(path: str, last: str | None) -> dict[str, str]:
    """The Link header of a page that may have a next one (keyset pagination, RFC 8288)."""
    return {} if last is None else {"Link": f'<{path}?after={last}>; rel="next"'}
