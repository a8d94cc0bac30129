"""Whether a held release may leave without a person looking at it.

The gateway asks this as `release:check` without a principal, so that the answer is an ordinary decision: logged,
with a rule and a reason, and replayed like any other. A refusal here is not an error: a person has to look.

Rules
-----
1. Both the tenant's policy (per sensitivity) and the grant must have a ceiling, and the job's epsilon must lie within
   both.
2. The grant, the legal basis and the retention period must still stand at that moment.
"""

from __future__ import annotations

from kernel.ids import Slug
from policies.case import Answer, Case, No, Yes
from policies.conditions import AUTOMATIC, first_refusal
from policies.granted import GRANT_RULE
from policies.grants import Grant, GrantState
from policies.vocabulary import Reason

AUTOMATIC_RULE = Slug("check/automatic-release")


def automatic_release(case: Case) -> Answer:
    """The answer to the gateway's own question; needs dataset, requester, epsilon and grant in the request."""
    named = case.request.grant
    grant = None if named is None else case.snapshot.grants.get(named)
    if grant is None or case.dataset is None or case.request.epsilon is None:
        return No(GRANT_RULE, Reason.GRANT_MISSING)
    lapsed = _lapsed(grant, case)
    if lapsed is not None:
        return No(GRANT_RULE, lapsed)
    refused = first_refusal(AUTOMATIC, case)
    if refused is not None:
        return No(*refused)
    tenants = case.snapshot.policy.ceiling(case.dataset.sensitivity)
    owners = grant.obligations.auto_release_epsilon
    if tenants is None or owners is None:
        return No(AUTOMATIC_RULE, Reason.NO_RELEASE_CEILING)
    if case.request.epsilon > min(tenants, owners):
        return No(AUTOMATIC_RULE, Reason.ABOVE_RELEASE_CEILING)
    return Yes(AUTOMATIC_RULE, Reason.ALLOWED_AUTOMATICALLY, grant.id, grant.obligations)


def _lapsed(grant: Grant, case: Case) -> Reason | None:
    if (grant.principal, grant.dataset) != (case.request.requester, case.request.dataset):
        return Reason.GRANT_MISSING
    if grant.state is GrantState.REVOKED:
        return Reason.GRANT_REVOKED
    return Reason.GRANT_EXPIRED if grant.expired(case.request.at) else None
