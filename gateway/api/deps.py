"""What routes ask for: the caller, the state, a decided read.

Rules
-----
1. A route of `/v1` has a caller, or it does not run.
2. A read is decided in memory and logged through the journal before it is answered (`Reader.decide`).
"""

from __future__ import annotations

from dataclasses import dataclass
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


def get_state(request: Request) -> ApiState:
    """The app's state."""
    state: ApiState = request.app.state.privgate
    return state


State = Annotated[ApiState, Depends(get_state)]


async def get_caller(request: Request, state: State) -> Caller:
    """Whoever the token proves."""
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
