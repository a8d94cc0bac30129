"""The one door: may this be done? Casbin stands behind it and nowhere else.

Rules
-----
1. `decide` is a pure function of snapshot and request; two threads or two machines get the same answer.
2. What no row allows is denied, a deny row wins over any allow, and an error of any kind is a denial (`policy-error`).
3. The order is fixed and documented (`docs/formats/decision.md`), because the first refusal is the recorded one.
4. The gateway itself, a request without principal, may ask for one thing: whether a release may leave by itself.
5. Nothing is stored here, whatever was asked about.
"""

from __future__ import annotations

from kernel.ids import DecisionId, PrincipalId, Slug
from policies.automatic import automatic_release
from policies.case import Answer, Case, No, Yes
from policies.conditions import CONDITIONS, DUTIES, first_refusal
from policies.decisions import Allow, Decision, Deny
from policies.granted import grants_for, under_a_grant
from policies.requests import DATASET_ACTIONS, AccessRequest, complete
from policies.rights import right_of_role
from policies.snapshot import PolicySnapshot
from policies.vocabulary import Action, Reason

_ERROR = Slug("check/error")
_TENANT = Slug("check/tenant")
_PRINCIPAL = Slug("check/principal")
_FACTS = Slug("check/facts")
_DATASET = Slug("check/dataset")


def decide(snapshot: PolicySnapshot, request: AccessRequest, decision: DecisionId) -> Decision:
    """Answer a request.

    Args:
        snapshot: The policy of the request's tenant.
        request: Every fact the answer may depend on.
        decision: A fresh name for the answer.

    Returns:
        `Allow` or `Deny`. An `Allow` with `awaits_approval` is leave to wait, not to start.
    """
    try:
        answer = _answer(Case.of(snapshot, request))
    except Exception:  # noqa: BLE001 - rule 2: whatever went wrong, the answer is no
        answer = No(_ERROR, Reason.POLICY_ERROR)
    if isinstance(answer, No):
        return Deny(
            decision=decision,
            rule=answer.rule,
            reason=answer.reason,
            epoch=snapshot.epoch,
            policy=snapshot.digest,
            rules=snapshot.rules.digest,
            request=request,
        )
    return Allow(
        decision=decision,
        rule=answer.rule,
        reason=answer.reason,
        epoch=snapshot.epoch,
        policy=snapshot.digest,
        rules=snapshot.rules.digest,
        request=request,
        grant=answer.grant,
        obligations=answer.obligations,
    )


def _answer(case: Case) -> Answer:
    request = case.request
    if request.tenant != case.snapshot.tenant:
        return No(_TENANT, Reason.WRONG_TENANT)
    refused = _not_this_person(case)
    if refused is not None:
        return refused
    if not complete(request):
        return No(_FACTS, Reason.FACTS_MISSING)
    if case.dataset is None and request.action in DATASET_ACTIONS:
        return No(_DATASET, Reason.DATASET_UNKNOWN)
    return automatic_release(case) if request.principal is None else _by_right(case, request.principal)


def _not_this_person(case: Case) -> No | None:
    if case.request.principal is None:
        by_gateway = case.request.action is Action.RELEASE_CHECK
        return None if by_gateway else No(_PRINCIPAL, Reason.PRINCIPAL_MISSING)
    principal = case.snapshot.principals.get(case.request.principal)
    if principal is None:
        return No(_PRINCIPAL, Reason.PRINCIPAL_UNKNOWN)
    return None if principal.enabled else No(_PRINCIPAL, Reason.PRINCIPAL_DISABLED)


def _by_right(case: Case, principal: PrincipalId) -> Answer:
    """The answer to an enabled principal: role rows, duties, grant rows, conditions, the grant itself."""
    right = right_of_role(case, principal)
    if isinstance(right, No):
        return right
    refused = first_refusal(DUTIES.get(case.request.action, ()), case)
    if refused is not None:
        return No(*refused)
    grants = grants_for(case, principal, right.question) if right.needs_grant else []
    if isinstance(grants, No):
        return grants
    refused = first_refusal(CONDITIONS.get(case.request.action, ()), case)
    if refused is not None:
        return No(*refused)
    return under_a_grant(case, right.rule, grants) if right.needs_grant else Yes(right.rule)
