"""Deciding: build the question, ask the policy, log the answer.

Rules
-----
1. Every use case asks here before it does anything, and the answer is logged whether it is yes or no.
2. A change is decided on the epoch that its own transaction holds, so that a revocation that committed first wins.
3. A denial is a value: the service commits its entry and returns it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from audit.entry import Actor, Entry
from gateway.policy_cache import PolicyCache
from gateway.unit_of_work import Work
from kernel.clock import Clock
from kernel.ids import DecisionId, Entropy, PrincipalId, TenantId
from policies.decisions import Allow, Decision, Deny, recorded
from policies.enforcer import decide
from policies.events import PolicyEvent
from policies.requests import AccessRequest
from policies.snapshot import PolicySnapshot
from policies.vocabulary import Action, Role


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands behind a request, as proven by a credential."""

    tenant: TenantId
    principal: PrincipalId


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision, the entry that logs it, and the policy and actor it was made with."""

    decision: Decision
    entry: Entry
    snapshot: PolicySnapshot
    actor: Actor

    @property
    def denial(self) -> Deny | None:
        """The denial, if that is what the answer is."""
        return self.decision if isinstance(self.decision, Deny) else None

    @property
    def permission(self) -> Allow:
        """The permission; only ask for it after `denial` was nothing."""
        assert isinstance(self.decision, Allow)
        return self.decision


class Decider:
    """Asks the policy on behalf of the use cases."""

    def __init__(self, cache: PolicyCache, clock: Clock, entropy: Entropy) -> None:
        self._cache = cache
        self._clock = clock
        self._entropy = entropy

    def snapshot(self, tenant: TenantId) -> PolicySnapshot:
        """The cached policy of a tenant, for reading."""
        return self._cache.snapshot(tenant)

    def at_head(self, work: Work, epoch: int) -> PolicySnapshot:
        """The policy at an epoch that `work` holds."""
        return self._cache.at_head(work, work.tenant, epoch)

    def actor(self, snapshot: PolicySnapshot, principal: PrincipalId | None) -> Actor:
        """The log's frozen view of who acts: the random id and the roles held now."""
        return actor_of(snapshot, principal)

    def ask(self, caller: Caller, action: Action, **facts: Any) -> Decision:
        """Decide on the cached policy; the caller of this logs the answer (`gateway.journal`)."""
        request = AccessRequest(
            tenant=caller.tenant, action=action, at=self._clock.now(), principal=caller.principal, **facts
        )
        return decide(self._cache.snapshot(caller.tenant), request, DecisionId.new(self._entropy))

    def decide_in(
        self, work: Work, caller: Caller | None, action: Action, *, enacts: bool = False, **facts: Any
    ) -> Answer:
        """Decide on the epoch that `work` holds from here on, and log the answer in it.

        Args:
            work: The open work; its tenant's policy head is held until it ends.
            caller: Who asks; nobody for the gateway itself.
            action: What for.
            enacts: Whether the work will change the policy if it may: then it takes the head for itself at once,
                because two works that both share it and both want it would wait for each other.
            facts: The members of `AccessRequest` that the action needs.
        """
        epoch = work.policy.lock(work.tenant) if enacts else work.policy.hold(work.tenant)
        snapshot = self._cache.at_head(work, work.tenant, epoch)
        principal = caller.principal if caller is not None else None
        request = AccessRequest(tenant=work.tenant, action=action, at=work.now, principal=principal, **facts)
        decision = decide(snapshot, request, DecisionId.new(self._entropy))
        actor = actor_of(snapshot, principal)
        return Answer(decision, work.record(recorded(decision), actor=actor), snapshot, actor)

    def enact(self, work: Work, make: Callable[[int], PolicyEvent], actor: Actor) -> PolicySnapshot:
        """Make an event policy: fold it (which checks it), store it, log it; cached once the commit stands.

        Args:
            work: A work that decided with `enacts`, or that is the gateway's own.
            make: Builds the event for the epoch that it is given.
            actor: Who changes the policy.
        """
        epoch = work.policy.lock(work.tenant)
        event = make(epoch + 1)
        after = self._cache.at_head(work, work.tenant, epoch).apply(event)
        work.policy.append(work.tenant, event)
        work.record(event, actor=actor)
        work.after_commit(lambda: self._cache.keep(after))
        return after


def actor_of(snapshot: PolicySnapshot, principal: PrincipalId | None) -> Actor:
    """The log's frozen view of who acts: the random id and the roles held now."""
    if principal is None:
        return Actor()
    known = snapshot.principals.get(principal)
    return _acting(principal, known.roles if known is not None else frozenset())


@lru_cache(maxsize=4096)
def _acting(principal: PrincipalId, roles: frozenset[Role]) -> Actor:
    return Actor(principal, tuple(sorted(role.value for role in roles)))
