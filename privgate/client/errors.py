"""What a gateway may answer instead of a result, as typed errors with their data.

Rules
-----
1. An error carries what the problem document carried (code, field, decision, figures), so that a program can act on it.
2. Its text is the gateway's sentence; nothing is added that the gateway did not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GatewayError(Exception):
    """Any answer that is not a success.

    Attributes:
        status: The HTTP status, or 0 when nobody answered.
        code: The problem's stable code.
        decision: The policy decision behind it, if there was one; cite it when asking why.
        field: The request field that is to blame, if one is.
        data: All members of the problem document.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or "The gateway answered with an error."))
        self.status = status
        self.code = str(problem.get("code") or "unknown")
        self.decision: str | None = problem.get("decision")
        self.field: str | None = problem.get("field")
        self.data = dict(problem)


class NotSignedInError(GatewayError):
    """The token is missing, wrong, expired or revoked. Run `privgate login`."""


class DeniedError(GatewayError):
    """The policy said no; `reason` is its code."""

    @property
    def reason(self) -> str:
        """The policy's reason code, for example `purpose-not-granted`."""
        return str(self.data.get("reason", ""))


class BudgetExhaustedError(GatewayError):
    """The job costs more than remains; `largest_epsilon` is the largest job of this shape that still fits."""

    @property
    def largest_epsilon(self) -> str | None:
        """Epsilon of the largest such job, or nothing if none fits."""
        return self.data.get("largest_epsilon")


class NotFoundError(GatewayError):
    """No such object, or none that you may know of."""


class ConflictError(GatewayError):
    """The object is in a state in which this cannot be done, or changed meanwhile."""


class InvalidRequestError(GatewayError):
    """A field breaks its rule."""


class UnavailableError(GatewayError):
    """Nobody answered, or the gateway cannot answer safely now. Try again."""


class ImpostorError(GatewayError):
    """Somebody answered whose certificate is not one of the pinned authority for this address. Nothing was sent."""


_BY_STATUS: Mapping[int, type[GatewayError]] = {
    401: NotSignedInError,
    403: DeniedError,
    404: NotFoundError,
    409: ConflictError,
    412: ConflictError,
    413: InvalidRequestError,
    422: InvalidRequestError,
    503: UnavailableError,
}


def error_for(status: int, problem: Mapping[str, Any]) -> GatewayError:
    """Build the typed error for an answer."""
    if problem.get("code") == "budget-exhausted":
        return BudgetExhaustedError(status, problem)
    return _BY_STATUS.get(status, GatewayError)(status, problem)
