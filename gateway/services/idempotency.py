"""Idempotency keys: a repeated request gets the first answer, and the effect happens once.

Rules
-----
1. The answer is stored in the same commit as the effect. A key whose effect rolled back is free again.
2. The same key with another request is refused. Denials and an exhausted budget are not remembered: asked again,
   they are decided again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from gateway.records import ReplayRecord
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.errors import ConflictError

T = TypeVar("T")
Alongside: TypeAlias = Callable[[Work, T], None]
"""What a use case stores beside its effect, in the same commit."""


@dataclass(frozen=True, slots=True)
class Once(Generic[T]):
    """Stores the answer to one keyed request beside its effect; use cases call it before they commit."""

    caller: Caller
    key: str
    request: Digest
    status: int
    render: Callable[[T], Mapping[str, Any]]

    def __call__(self, work: Work, result: T) -> None:
        """Store the answer in the work that makes the effect."""
        work.replays.insert(
            ReplayRecord(
                tenant=self.caller.tenant,
                principal=self.caller.principal,
                key=self.key,
                request_digest=self.request,
                status=self.status,
                body=self.render(result),
                created_at=work.now,
            )
        )


def nothing_else(_work: Work, _result: object) -> None:
    """Store nothing beside the effect: for callers without a key."""


def recall(on: Collaborators, caller: Caller, key: str, request: Digest) -> ReplayRecord | None:
    """Return the answer that was given to this key before, if any.

    Raises:
        ConflictError: The key was used for another request.
    """
    with on.database.read() as reading:
        found = reading.replays.find(tenant=caller.tenant, principal=caller.principal, key=key)
    if found is not None and found.request_digest != request:
        raise ConflictError("this Idempotency-Key was used for another request", field="Idempotency-Key")
    return found
