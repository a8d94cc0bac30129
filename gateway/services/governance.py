"""Use case: purposes and the tenant's policy.

Rules
-----
1. A change is decided and enacted on the same epoch, and both entries share the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from kernel.errors import StaleError
from kernel.ids import Slug
from policies.decisions import Deny
from policies.events import PolicyEvent, PolicySet, PurposeDefined
from policies.tenant_policy import TenantPolicy
from policies.vocabulary import Action


def define_purpose(on: Collaborators, caller: Caller, purpose: Slug, within: Sequence[Slug]) -> Deny | None:
    """Define a purpose as part of others."""
    parents = tuple(within)
    return _enact(
        on,
        caller,
        Action.PURPOSE_DEFINE,
        lambda epoch: PurposeDefined(epoch=epoch, purpose=purpose, within=parents),
        "purpose",
    )


def set_policy(on: Collaborators, caller: Caller, policy: TenantPolicy, expected: int | None = None) -> Deny | None:
    """Replace the tenant's settings as a whole, if the policy is still at the epoch that the caller read.

    Raises:
        StaleError: Somebody else changed the policy since.
    """

    def make(epoch: int) -> PolicyEvent:
        if expected not in (None, epoch - 1):
            raise StaleError("the policy changed since you read it; read it again", field="If-Match")
        return PolicySet(epoch=epoch, policy=policy)

    return _enact(on, caller, Action.POLICY_SET, make, "policy")


def _enact(
    on: Collaborators, caller: Caller, action: Action, make: Callable[[int], PolicyEvent], name: str
) -> Deny | None:
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, action, enacts=True)
        if answer.denial is None:
            on.decider.enact(work, make, answer.actor)
        work.commit(name)
    return answer.denial
