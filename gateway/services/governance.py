"""Use case: purposes and the tenant's policy.

Rules
-----
1. A change is decided and enacted on the same epoch, and both entries share the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
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


def set_policy(on: Collaborators, caller: Caller, policy: TenantPolicy) -> Deny | None:
    """Replace the tenant's settings as a whole."""
    return _enact(on, caller, Action.POLICY_SET, lambda epoch: PolicySet(epoch=epoch, policy=policy), "policy")


def _enact(
    on: Collaborators, caller: Caller, action: Action, make: Callable[[int], PolicyEvent], name: str
) -> Deny | None:
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, action, enacts=True)
        if answer.denial is None:
            on.decider.enact(work, make, answer.actor)
        work.commit(name)
    return answer.denial
