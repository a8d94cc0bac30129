"""What the roles of a principal permit, as the role rows say.

Rules
-----
1. Two layers: a row of `role` is enough by itself, a row of `granted` needs a grant beside it. Deny rows stand in the
   first layer only, so that they are met whatever else would allow.
2. Where no row applies, the reason is what would have to be otherwise for one to apply, tried in a fixed order.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from kernel.ids import PrincipalId, Slug
from policies.case import Case, No, Question
from policies.rulebook import ALLOW, DENY
from policies.ruleset import GRANTED, ROLE
from policies.vocabulary import Action, Reason

NO_ROW = Slug("check/role")


class Right(NamedTuple):
    """What a role row gives.

    Attributes:
        rule: The row.
        needs_grant: Whether a grant must allow it as well.
        question: What was asked; the grant rows are asked the same.
    """

    rule: Slug
    needs_grant: bool
    question: Question


def right_of_role(case: Case, principal: PrincipalId) -> Right | No:
    """The right that a role row gives, or why none does."""
    question = case.question(principal, case.request.action, case.request.requester)
    for layer, needs_grant in ((ROLE, False), (GRANTED, True)):
        row = case.deciding_row(layer, question)
        if row is not None:
            rule = cast(Slug, row[-1])  # checked when the row was read
            denied = case.has_effect(row, DENY)
            return No(rule, Reason.FORBIDDEN_BY_RULE) if denied else Right(rule, needs_grant, question)
    return No(NO_ROW, _why_no_row(case, question))


def may_approve(case: Case, approver: PrincipalId) -> bool:
    """Whether this principal could approve the job of this case: enabled, another person, and with the right.

    Whoever does not own the dataset may only for a result without noise, which needs a second yes beside the owner's.
    """
    known = case.snapshot.principals.get(approver)
    if known is None or not known.enabled or approver == case.request.principal:
        return False
    if not case.request.exact and (case.dataset is None or approver != case.dataset.owner):
        return False
    question = case.question(approver, Action.JOB_APPROVE, case.request.principal)
    return case.has_effect(case.deciding_row(ROLE, question), ALLOW)


def _why_no_row(case: Case, question: Question) -> Reason:
    principal, tenant, thing, action, owner, requester, purpose, level = question.fields
    otherwise = (
        (Reason.SENSITIVITY_TOO_HIGH, (principal, tenant, thing, action, owner, requester, purpose, "public")),
        (Reason.NOT_OWNER, (principal, tenant, thing, action, principal, requester, purpose, level)),
        (Reason.NOT_REQUESTER, (principal, tenant, thing, action, owner, principal, purpose, level)),
    )
    for reason, fields in otherwise:
        other = case.asked(fields)
        if any(case.has_effect(case.deciding_row(layer, other), ALLOW) for layer in (ROLE, GRANTED)):
            return reason
    return Reason.ROLE_NOT_PERMITTED
