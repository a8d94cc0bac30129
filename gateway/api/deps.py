"""What routes ask for: the caller, the state, a decided read.

Rules
-----
1. A route of `/v1` has a caller, or it does not run.
2. A read is decided in memory and logged through the journal before it is answered (`Reader.decide`).
3. Whatever a route asks for is `async`, even where it waits for nothing: the framework sends a plain function to a
   thread and back, for each request. For the same reason nothing here depends on anything else here but by a call.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Request

from gateway.api.problems import ProblemError
from gateway.api.state import ApiState
from gateway.services.authenticating import bearer
from gateway.services.deciding import Caller, actor_of
from kernel.checks import text
from kernel.errors import Kind
from kernel.ids import PrincipalId
from policies.decisions import Allow, Deny, recorded
from policies.sentences import sentence
from policies.vocabulary import Action


async def get_state(request: Request) -> ApiState:
    """The app's state."""
    return state_of(request)


State = Annotated[ApiState, Depends(get_state)]
LONGEST_VERSION = 15


async def get_caller(request: Request) -> Caller:
    """Whoever the token proves."""
    state = state_of(request)
    written = bearer(request.headers.get("authorization"))
    known = state.authenticator.remembered(written)
    return known if known is not None else await state.reads(state.authenticator.prove, written)


CurrentCaller = Annotated[Caller, Depends(get_caller)]


@dataclass(frozen=True, slots=True)
class Reader:
    """A caller whose reads are decided and logged."""

    caller: Caller
    state: ApiState

    async def decide(self, action: Action, **facts: Any) -> Allow:
        """Return the permission to read, once it is in the log.

        Raises:
            ProblemError: The policy says no; that is in the log, too.
        """
        decider = self.state.on.decider
        decision = decider.ask(self.caller, action, **facts)
        actor = actor_of(decider.snapshot(self.caller.tenant), self.caller.principal)
        await self.state.journal.record(self.caller.tenant, recorded(decision), decision.request.at, actor)
        if isinstance(decision, Deny):
            raise denied(decision)
        return decision

    async def still_may(self, action: Action, **facts: Any) -> bool:
        """Whether a read that was allowed before still is; only a change of mind is logged."""
        decider = self.state.on.decider
        if not isinstance(decider.ask(self.caller, action, **facts), Deny):
            return True
        with contextlib.suppress(ProblemError):
            await self.decide(action, **facts)
        return False

    @property
    def principal(self) -> PrincipalId:
        """Who reads."""
        return self.caller.principal


async def get_reader(request: Request) -> Reader:
    """A caller who reads."""
    return Reader(await get_caller(request), state_of(request))


CurrentReader = Annotated[Reader, Depends(get_reader)]
AUTHENTICATING = (get_caller, get_reader)
"""What a route asks for if it has a caller; the API's document says of these routes that a token is needed."""


def state_of(request: Request) -> ApiState:
    """The state of the app that a request came to."""
    state: ApiState = request.app.state.privgate
    return state


def denied(decision: Deny) -> ProblemError:
    """The answer to a refused request: reason, sentence, and the decision to cite."""
    return ProblemError(
        Kind.DENIED,
        "denied",
        sentence(decision.reason),
        decision=str(decision.decision),
        reason=decision.reason.value,
    )


async def idempotency_key(key: Annotated[str | None, Header(alias="Idempotency-Key")] = None) -> str:
    """The key under which this request may be sent again; required where something is spent or started."""
    if key is None:
        raise ProblemError(
            Kind.INVALID, "idempotency-key-missing", "Send an `Idempotency-Key` header, 8 to 128 characters.",
            field="Idempotency-Key",
        )  # fmt: skip
    if not 8 <= len(key) <= 128 or not key.isascii():
        raise ProblemError(
            Kind.INVALID, "invalid", "`Idempotency-Key` has 8 to 128 ASCII characters.", field="Idempotency-Key"
        )
    return text(128, key=key)


Key = Annotated[str, Depends(idempotency_key)]


async def expected_version(
    written: Annotated[str | None, Header(alias="If-Match", max_length=40, examples=['"7"'])] = None,
) -> int | None:
    """The version that the caller read, from its ETag; `*` says that any will do.

    Raises:
        ProblemError: It is missing, or no ETag of this gateway.
    """
    if written is None:
        raise ProblemError(
            Kind.INVALID,
            "precondition-missing",
            "Send `If-Match` with the ETag that you read, so that nobody's change is overwritten unseen.",
            status=HTTPStatus.PRECONDITION_REQUIRED,
            field="If-Match",
        )
    digits = written.strip().removeprefix('"').removesuffix('"')
    if digits != "*" and not (digits.isascii() and digits.isdecimal() and len(digits) <= LONGEST_VERSION):
        raise ProblemError(Kind.STALE, Kind.STALE.value, "`If-Match` is no ETag of this object.", field="If-Match")
    return None if digits == "*" else int(digits)


ExpectedVersion = Annotated[int | None, Depends(expected_version)]
