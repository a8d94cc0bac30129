"""What routes ask for: the caller, the state, a decided read.

Rules
-----
1. A route of `/v1` has a caller, or it does not run.
2. A read is decided in memory and logged through the journal before it is answered (`Reader.decide`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer

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


def get_state(request: Request) -> ApiState:
    """The app's state."""
    state: ApiState = request.app.state.privgate
    return state


State = Annotated[ApiState, Depends(get_state)]
LONGEST_VERSION = 15


BEARER = HTTPBearer(
    scheme_name="accessToken", bearerFormat="pgw_...", description="An access token, shown once.", auto_error=False
)
"""Documents how to sign in; `get_caller` reads the header itself, because its refusals are problem documents."""


async def get_caller(request: Request, state: State) -> Caller:
    """Whoever the token proves."""
    written = bearer(request.headers.get("authorization"))
    known = state.authenticator.remembered(written)
    return known if known is not None else await state.reads(state.authenticator.prove, written)


async def get_documented_caller(request: Request, state: State, _: Annotated[object, Security(BEARER)]) -> Caller:
    """Whoever the token proves; the API's document says that a token is needed."""
    return await get_caller(request, state)


CurrentCaller = Annotated[Caller, Depends(get_documented_caller)]


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


def get_reader(caller: CurrentCaller, state: State) -> Reader:
    """A caller who reads."""
    return Reader(caller, state)


CurrentReader = Annotated[Reader, Depends(get_reader)]


def denied(decision: Deny) -> ProblemError:
    """The answer to a refused request: reason, sentence, and the decision to cite."""
    return ProblemError(
        Kind.DENIED,
        "denied",
        sentence(decision.reason),
        decision=str(decision.decision),
        reason=decision.reason.value,
    )


def idempotency_key(key: Annotated[str | None, Header(alias="Idempotency-Key")] = None) -> str:
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


def expected_version(
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
