"""Typed checks: what rows of text cannot say. Each refuses with its own reason.

Rules
-----
1. A check looks at the case and nothing else; it returns a reason to refuse, or `None`. It never allows.
2. `DUTIES` and `CONDITIONS` list the checks of each action in order; the first that refuses is the answer, and its name
   is the rule of the decision.
3. Time counts from the instant on: what ends at `until` has ended at `until`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kernel.ids import Slug
from policies.case import Case
from policies.principals import conflicting
from policies.vocabulary import OWN_WORK, Action, CheckedBy, DatasetState, Reason, Role


class Condition(NamedTuple):
    """A named check."""

    rule: Slug
    refusal: Callable[[Case], Reason | None]


# Separation of duties


def _owner_is_not_trainer(case: Case) -> Reason | None:
    """Nobody trains on rows of their own, but where nothing leaves their owner: there nobody else does."""
    trainer = case.request.subject if case.request.action is Action.GRANT_CREATE else case.request.principal
    owns = case.dataset is not None and case.dataset.owner == trainer
    if case.request.job_kind in OWN_WORK:
        return None if owns else Reason.NOT_OWNER
    return Reason.OWNER_IS_TRAINER if owns else None


def _approver_is_not_requester(case: Case) -> Reason | None:
    return Reason.APPROVER_IS_REQUESTER if case.request.principal == case.request.requester else None


def _approver_is_owner_unless_exact(case: Case) -> Reason | None:
    """A checker's yes is the second one that a result without noise needs, and nothing else."""
    owns = case.dataset is not None and case.dataset.owner == case.request.principal
    return None if owns or case.request.exact else Reason.NOT_OWNER


def _checker_is_not_requester(case: Case) -> Reason | None:
    return Reason.CHECKER_IS_REQUESTER if case.request.principal == case.request.requester else None


def _checker_is_appointed(case: Case) -> Reason | None:
    principal = case.request.principal and case.snapshot.principals.get(case.request.principal)
    if not principal or case.dataset is None:
        return Reason.CHECKER_NOT_APPOINTED
    appointed = {
        CheckedBy.OWNER: principal.id == case.dataset.owner,
        CheckedBy.CHECKER: Role.CHECKER in principal.roles,
    }
    return None if any(appointed[kind] for kind in case.snapshot.policy.checked_by) else Reason.CHECKER_NOT_APPOINTED


def _roles_may_meet(case: Case) -> Reason | None:
    subject, role = case.request.subject, case.request.role
    held = case.snapshot.principals[subject].roles if subject else frozenset[Role]()
    return Reason.ROLE_CONFLICT if role is None or conflicting(held | {role}) else None


def _an_admin_stays(case: Case) -> Reason | None:
    removes_admin = case.request.action is Action.PRINCIPAL_DISABLE or case.request.role is Role.ADMIN
    last = removes_admin and case.snapshot.admins() <= {case.request.subject}
    return Reason.LAST_ADMIN if last else None


# People


def _subject_is_known(case: Case) -> Reason | None:
    return None if case.request.subject in case.snapshot.principals else Reason.SUBJECT_UNKNOWN


def _subject_is_enabled(case: Case) -> Reason | None:
    subject = case.request.subject and case.snapshot.principals.get(case.request.subject)
    return None if subject and subject.enabled else Reason.SUBJECT_UNKNOWN


# Data


def _state_in(*states: DatasetState) -> Callable[[Case], Reason | None]:
    def refusal(case: Case) -> Reason | None:
        return None if case.dataset and case.dataset.state in states else Reason.DATASET_STATE

    return refusal


def _basis_holds(case: Case) -> Reason | None:
    if case.dataset is None:
        return Reason.DATASET_UNKNOWN
    until = case.dataset.basis_until
    return Reason.BASIS_EXPIRED if until is not None and case.request.at >= until else None


def _retention_lasts(case: Case) -> Reason | None:
    return None if case.dataset and case.request.at < case.dataset.retention_until else Reason.RETENTION_ENDED


def _purpose_is_allowed(case: Case) -> Reason | None:
    purpose, purposes = case.request.purpose, case.snapshot.purposes
    if purpose is None or purpose not in purposes:
        return Reason.PURPOSE_UNKNOWN
    allowed = case.dataset is not None and purposes.is_within_any(purpose, case.dataset.purposes)
    return None if allowed else Reason.PURPOSE_NOT_ALLOWED


_REGISTERED, _SEALING, _SEALED = DatasetState.REGISTERED, DatasetState.SEALING, DatasetState.SEALED

OWNER_IS_NOT_TRAINER = Condition(Slug("check/owner-is-not-trainer"), _owner_is_not_trainer)
APPROVER_IS_NOT_REQUESTER = Condition(Slug("check/approver-is-not-requester"), _approver_is_not_requester)
APPROVER_IS_OWNER_UNLESS_EXACT = Condition(Slug("check/approver-is-owner"), _approver_is_owner_unless_exact)
CHECKER_IS_NOT_REQUESTER = Condition(Slug("check/checker-is-not-requester"), _checker_is_not_requester)
CHECKER_IS_APPOINTED = Condition(Slug("check/checker-is-appointed"), _checker_is_appointed)
ROLES_MAY_MEET = Condition(Slug("check/roles-may-meet"), _roles_may_meet)
AN_ADMIN_STAYS = Condition(Slug("check/an-admin-stays"), _an_admin_stays)
SUBJECT_IS_KNOWN = Condition(Slug("check/subject"), _subject_is_known)
SUBJECT_IS_ENABLED = Condition(Slug("check/subject"), _subject_is_enabled)
BASIS_HOLDS = Condition(Slug("check/basis"), _basis_holds)
RETENTION_LASTS = Condition(Slug("check/retention"), _retention_lasts)
PURPOSE_IS_ALLOWED = Condition(Slug("check/purpose"), _purpose_is_allowed)


def _state(*states: DatasetState) -> Condition:
    return Condition(Slug("check/state"), _state_in(*states))


DUTIES: dict[Action, tuple[Condition, ...]] = {
    Action.GRANT_CREATE: (OWNER_IS_NOT_TRAINER,),
    Action.JOB_QUOTE: (OWNER_IS_NOT_TRAINER,),
    Action.JOB_SUBMIT: (OWNER_IS_NOT_TRAINER,),
    Action.JOB_APPROVE: (APPROVER_IS_NOT_REQUESTER, APPROVER_IS_OWNER_UNLESS_EXACT),
    Action.RELEASE_CHECK: (CHECKER_IS_NOT_REQUESTER, CHECKER_IS_APPOINTED),
}
"""Who may not be whom; asked before a grant is looked for."""

CONDITIONS: dict[Action, tuple[Condition, ...]] = {
    Action.PRINCIPAL_DISABLE: (SUBJECT_IS_KNOWN, AN_ADMIN_STAYS),
    Action.ROLE_ASSIGN: (SUBJECT_IS_ENABLED, ROLES_MAY_MEET),
    Action.ROLE_REMOVE: (SUBJECT_IS_KNOWN, AN_ADMIN_STAYS),
    Action.CREDENTIAL_ISSUE: (SUBJECT_IS_ENABLED,),
    Action.CREDENTIAL_REVOKE: (SUBJECT_IS_KNOWN,),
    Action.DATASET_UPLOAD: (_state(_REGISTERED, _SEALED), BASIS_HOLDS, RETENTION_LASTS),
    Action.DATASET_RETIRE: (_state(_REGISTERED, _SEALED),),
    Action.DATASET_ERASE: (_state(_SEALED, DatasetState.RETIRED),),
    Action.GRANT_CREATE: (
        SUBJECT_IS_ENABLED,
        _state(_REGISTERED, _SEALING, _SEALED),
        BASIS_HOLDS,
        RETENTION_LASTS,
        PURPOSE_IS_ALLOWED,
    ),
    Action.JOB_QUOTE: (
        _state(_REGISTERED, _SEALING, _SEALED),
        BASIS_HOLDS,
        RETENTION_LASTS,
        PURPOSE_IS_ALLOWED,
    ),
    Action.JOB_SUBMIT: (_state(_SEALED), BASIS_HOLDS, RETENTION_LASTS, PURPOSE_IS_ALLOWED),
    Action.JOB_APPROVE: (_state(_SEALING, _SEALED),),
}
"""What must hold of people, data and time."""

AUTOMATIC: tuple[Condition, ...] = (_state(_SEALING, _SEALED), BASIS_HOLDS, RETENTION_LASTS)
"""What must hold for a release to leave without a person."""


def first_refusal(conditions: tuple[Condition, ...], case: Case) -> tuple[Slug, Reason] | None:
    """Rule and reason of the first check that refuses."""
    for condition in conditions:
        reason = condition.refusal(case)
        if reason is not None:
            return condition.rule, reason
    return None
