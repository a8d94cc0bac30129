"""One sentence for each reason: what is missing and who can mend it.

The sentences are for the person who asked. They name no other person, no dataset and no amount.
"""

from __future__ import annotations

from policies.vocabulary import Reason

SENTENCES: dict[Reason, str] = {
    Reason.ALLOWED: "Allowed.",
    Reason.ALLOWED_AUTOMATICALLY: "Released by policy: the price lies below the ceilings of tenant and grant.",
    Reason.APPROVAL_AWAITED: "The data owner must approve this exact job first; it starts by itself after that.",
    Reason.POLICY_ERROR: "The policy could not answer, so nothing was done; tell the administrator.",
    Reason.WRONG_TENANT: "This belongs to another organisation.",
    Reason.PRINCIPAL_MISSING: "Sign in first.",
    Reason.PRINCIPAL_UNKNOWN: "You are not enrolled here; ask the administrator.",
    Reason.PRINCIPAL_DISABLED: "Your access was ended; ask the administrator.",
    Reason.FACTS_MISSING: "The request lacks something that this action cannot be decided without.",
    Reason.DATASET_UNKNOWN: "There is no such dataset here.",
    Reason.SUBJECT_UNKNOWN: "The person this is about is not enrolled here, or was disabled.",
    Reason.ROLE_NOT_PERMITTED: "None of your roles includes this; ask the administrator.",
    Reason.FORBIDDEN_BY_RULE: "One of your roles excludes this, whatever else you may do.",
    Reason.NOT_OWNER: "Only the owner may do this.",
    Reason.NOT_REQUESTER: "Only the person who asked for it may do this.",
    Reason.SENSITIVITY_TOO_HIGH: "These data are too sensitive for your role; ask their owner for a grant.",
    Reason.ROLE_CONFLICT: "Admin and auditor share a principal with no other role: enrol a second principal.",
    Reason.LAST_ADMIN: "This is the last administrator: appoint another one first.",
    Reason.OWNER_IS_TRAINER: "Nobody trains on data they own: another principal must ask.",
    Reason.APPROVER_IS_REQUESTER: "Nobody approves their own request: another person must answer it.",
    Reason.CHECKER_IS_REQUESTER: "Nobody releases their own result: another person must look at it.",
    Reason.CHECKER_NOT_APPOINTED: "The tenant's policy leaves checking releases to others.",
    Reason.DATASET_STATE: "The dataset is not in a state that allows this.",
    Reason.BASIS_EXPIRED: "The legal basis of these data has ended; the owner must renew it.",
    Reason.RETENTION_ENDED: "The retention period of these data has ended.",
    Reason.PURPOSE_UNKNOWN: "No such purpose is defined here; see the list of purposes.",
    Reason.PURPOSE_NOT_ALLOWED: "These data may not be used for this purpose.",
    Reason.PURPOSE_NOT_GRANTED: "Your grant is for another purpose; ask the owner.",
    Reason.GRANT_MISSING: "You have no grant for these data; ask their owner.",
    Reason.GRANT_REVOKED: "The owner revoked your grant.",
    Reason.GRANT_EXPIRED: "Your grant has expired; ask the owner for a new one.",
    Reason.JOB_KIND_NOT_GRANTED: "Your grant does not include this kind of job.",
    Reason.EPSILON_ABOVE_GRANT: "The job asks for more epsilon than your grant allows for one job.",
    Reason.EXACT_NOT_PERMITTED: "Your grant lets no result leave without noise; ask the owner.",
    Reason.APPROVAL_REFUSED: "The data owner refused this job.",
    Reason.NO_RELEASE_CEILING: "Nothing of this kind leaves by itself: a person must check it.",
    Reason.ABOVE_RELEASE_CEILING: "The price lies above the ceiling for leaving by itself: a person must check it.",
}


def sentence(reason: Reason) -> str:
    """What to tell the person who asked."""
    return SENTENCES[reason]
