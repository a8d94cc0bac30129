"""What a grant permits beyond the role, and what it binds to.

Rules
-----
1. The rows derived from grants find those for this principal, dataset, action and purpose; what a row cannot say (time,
   kinds of job, epsilon) is checked on the grant itself.
2. The newest grant that permits the request counts. A request may name one; then only that one counts.
3. A result without noise needs two approvals: the owner's and another person's (RULES 20).
4. An approval counts if it is about exactly this request, has not lapsed, and comes from somebody else who may approve
   it now. One valid refusal outweighs any approval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from kernel.ids import GrantId, PrincipalId, Slug
from policies.case import Answer, Case, No, Question, Yes
from policies.conditions import PURPOSE_IS_ALLOWED
from policies.grants import Grant, GrantState, Obligations
from policies.rights import may_approve
from policies.ruleset import GRANT
from policies.vocabulary import OWN_WORK, Action, ApprovalVerdict, Reason

GRANT_RULE = Slug("check/grant")
APPROVAL_RULE = Slug("check/approval")
_JOB_ACTIONS = frozenset({Action.JOB_QUOTE, Action.JOB_SUBMIT})


def grants_for(case: Case, principal: PrincipalId, question: Question) -> list[Grant] | No:
    """The grants whose rows allow the request, newest first; at least one, or the reason why there is none."""
    rows = case.matching_rows(GRANT, question)
    named = case.request.grant
    # A grant's rows are named after it.
    found = [case.snapshot.grants[cast(GrantId, row[-1])] for row in reversed(rows) if named in (None, row[-1])]
    return found or _why_no_grant(case, principal)


def under_a_grant(case: Case, rule: Slug, grants: list[Grant]) -> Answer:
    """The answer under the newest grant that permits it; if none does, why the newest does not."""
    newest: Reason | None = None
    for grant in grants:
        reason = _refused_by(grant, case)
        if reason is None:
            return _with_approval(case, rule, grant)
        newest = newest or reason
    return No(GRANT_RULE, newest or Reason.GRANT_MISSING)


def _why_no_grant(case: Case, principal: PrincipalId) -> No:
    dataset = case.dataset
    held = () if dataset is None else case.snapshot.holdings.get((principal, dataset.id), ())
    named = [case.snapshot.grants[grant] for grant in held if case.request.grant in (None, grant)]
    if not named:
        return No(GRANT_RULE, Reason.GRANT_MISSING)
    if all(grant.state is GrantState.REVOKED for grant in named):
        return No(GRANT_RULE, Reason.GRANT_REVOKED)
    reason = PURPOSE_IS_ALLOWED.refusal(case)
    return No(GRANT_RULE, Reason.PURPOSE_NOT_GRANTED) if reason is None else No(PURPOSE_IS_ALLOWED.rule, reason)


def _refused_by(grant: Grant, case: Case) -> Reason | None:
    request, cap = case.request, grant.obligations.max_epsilon
    if grant.expired(request.at):
        return Reason.GRANT_EXPIRED
    if request.action not in _JOB_ACTIONS:
        return None
    if request.job_kind not in grant.job_kinds:
        return Reason.JOB_KIND_NOT_GRANTED
    if request.exact and not grant.obligations.permits_exact:
        return Reason.EXACT_NOT_PERMITTED
    over = cap is not None and request.epsilon is not None and request.epsilon > cap
    return Reason.EPSILON_ABOVE_GRANT if over else None


def _with_approval(case: Case, rule: Slug, grant: Grant) -> Answer:
    obligations = _binding(case, grant)
    if case.request.action is not Action.JOB_SUBMIT:
        return Yes(rule, grant=grant.id, obligations=obligations)
    answers = _valid_answers(case)
    if ApprovalVerdict.REFUSED in answers.values():
        return No(APPROVAL_RULE, Reason.APPROVAL_REFUSED)
    given = _enough(case, answers) if case.request.exact else _given(case, obligations, answers)
    return Yes(rule, Reason.ALLOWED if given else Reason.APPROVAL_AWAITED, grant.id, obligations)


def _given(case: Case, obligations: Obligations, answers: Mapping[PrincipalId, ApprovalVerdict]) -> bool:
    """Whether no yes is awaited: none is needed, there is one, or the owner asks for work of his own."""
    return not obligations.approval_required or bool(answers) or case.request.job_kind in OWN_WORK


def _enough(case: Case, answers: Mapping[PrincipalId, ApprovalVerdict]) -> bool:
    """Whether the owner and somebody else have said yes, who are two people and neither of them the requester."""
    return case.dataset is not None and case.dataset.owner in answers and len(answers) > 1


def _binding(case: Case, grant: Grant) -> Obligations:
    """The grant's obligations, made stricter by the tenant's policy."""
    dataset, kind = case.dataset, case.request.job_kind
    if grant.obligations.approval_required:
        return grant.obligations
    asked = dataset is not None and kind is not None and case.snapshot.policy.needs_approval(dataset.sensitivity, kind)
    return replace(grant.obligations, approval_required=True) if asked else grant.obligations


def _valid_answers(case: Case) -> dict[PrincipalId, ApprovalVerdict]:
    """Who has answered this request and may: one refusal of a person outweighs whatever else he said."""
    asked = case.request
    ordered = sorted(asked.approvals, key=lambda given: given.verdict is ApprovalVerdict.REFUSED)
    return {
        given.approver: given.verdict
        for given in ordered
        if given.concerns(asked.request_digest, asked.at) and may_approve(case, given.approver)
    }
