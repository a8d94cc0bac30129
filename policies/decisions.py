"""The answer: Allow or Deny, as values that say what decided, why, and under which policy.

Rules
-----
1. A denial is a value and is logged; it is never raised, for an exception would roll its own log entry back.
2. Only an `Allow` of `job:submit` that waits for nobody becomes a `Permit`, and only for the request it was made on.
3. Everything that `decision:made` holds is here; `recorded` copies it and adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from kernel.canonical import Digest
from kernel.errors import ConflictError
from kernel.ids import DecisionId, GrantId, JobId, Slug
from kernel.permit import Permit
from policies.events import DecisionMade
from policies.grants import Obligations
from policies.requests import AccessRequest
from policies.vocabulary import Action, Reason, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Leave, perhaps with obligations.

    Attributes:
        rule: The role row that gave the right, or the check that did.
        reason: `allowed`, `allowed-automatically`, or `approval-awaited`: then this is leave to wait, not to start.
        epoch, policy: The policy that answered, by number and by digest.
        rules: Digest of the rule set that answered.
        grant: The grant it rests on, where one was needed.
        obligations: The grant's, made stricter by the tenant's policy.
    """

    decision: DecisionId
    rule: Slug
    reason: Reason
    epoch: int
    policy: Digest
    rules: Digest
    request: AccessRequest
    grant: GrantId | None = None
    obligations: Obligations | None = None

    @property
    def awaits_approval(self) -> bool:
        """Whether the job must wait until its owner has said yes, and then be decided anew."""
        return self.reason is Reason.APPROVAL_AWAITED

    @property
    def verdict(self) -> Verdict:
        """What the log says."""
        return Verdict.ALLOW_ONCE_APPROVED if self.awaits_approval else Verdict.ALLOW

    def permit(self, leaf: Digest, job: JobId, request_digest: Digest) -> Permit:
        """Turn this decision into leave to reserve budget.

        Args:
            leaf: Leaf hash of this decision's log entry.
            job: The job that will run.
            request_digest: Digest of the job request, computed from what will actually run.

        Raises:
            ConflictError: Not a decision about submitting, an approval is awaited, or another job or request.
        """
        asked = self.request
        if asked.action is not Action.JOB_SUBMIT or asked.principal is None:
            raise ConflictError("only a decision on submitting a job permits a reservation", field="decision")
        if self.awaits_approval:
            raise ConflictError("the job waits for its owner's approval", field="decision")
        if asked.request_digest != request_digest or asked.job not in (None, job):
            raise ConflictError("the decision was made on another request", field="request")
        if self.grant is None or self.obligations is None:
            raise ConflictError("the decision rests on no grant", field="decision")
        return Permit(
            decision=self.decision,
            decision_leaf=leaf,
            request=request_digest,
            job=job,
            principal=asked.principal,
            grant=self.grant,
            trainer_share=self.obligations.trainer_share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """No, with the rule and the reason."""

    decision: DecisionId
    rule: Slug
    reason: Reason
    epoch: int
    policy: Digest
    rules: Digest
    request: AccessRequest

    @property
    def verdict(self) -> Verdict:
        """What the log says."""
        return Verdict.DENY


Decision: TypeAlias = Allow | Deny


def recorded(decision: Decision) -> DecisionMade:
    """The log's event of a decision."""
    allowed = decision if isinstance(decision, Allow) else None
    return DecisionMade(
        decision=decision.decision,
        request=decision.request,
        verdict=decision.verdict,
        rule=decision.rule,
        reason=decision.reason,
        epoch=decision.epoch,
        policy=decision.policy,
        rules=decision.rules,
        grant=allowed.grant if allowed else None,
        obligations=allowed.obligations if allowed else None,
    )
