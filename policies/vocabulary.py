"""The closed words of policy: roles, actions, sensitivities, legal bases, states, reasons.

Rules
-----
1. A word has one meaning, in code, routes, log and reports alike. Members are added, never changed or re-used.
2. An action is `noun:verb`; what happened is logged by the event `noun:verbed`.
3. A reason is a code. Its sentence for people is in `policies.sentences`.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property


class Role(StrEnum):
    """What a principal is in one tenant."""

    ADMIN = "admin"
    OWNER = "owner"
    TRAINER = "trainer"
    CHECKER = "checker"
    AUDITOR = "auditor"


class Action(StrEnum):
    """Everything that can be asked of the gateway."""

    TENANT_ADMINISTER = "tenant:administer"
    PRINCIPAL_ENROL = "principal:enrol"
    PRINCIPAL_DISABLE = "principal:disable"
    PRINCIPAL_LIST = "principal:list"
    ROLE_ASSIGN = "role:assign"
    ROLE_REMOVE = "role:remove"
    CREDENTIAL_ISSUE = "credential:issue"
    CREDENTIAL_REVOKE = "credential:revoke"
    PURPOSE_DEFINE = "purpose:define"
    PURPOSE_LIST = "purpose:list"
    POLICY_SET = "policy:set"
    POLICY_READ = "policy:read"
    POPULATION_CREATE = "population:create"
    POPULATION_READ = "population:read"
    BUDGET_CHANGE = "budget:change"
    DATASET_REGISTER = "dataset:register"
    DATASET_UPLOAD = "dataset:upload"
    DATASET_LIST = "dataset:list"
    DATASET_READ = "dataset:read"
    DATASET_INSPECT = "dataset:inspect"
    DATASET_RETIRE = "dataset:retire"
    DATASET_ERASE = "dataset:erase"
    GRANT_CREATE = "grant:create"
    GRANT_REVOKE = "grant:revoke"
    GRANT_LIST = "grant:list"
    PARTY_ENROL = "party:enrol"
    PARTY_LIST = "party:list"
    PARTY_DISABLE = "party:disable"
    JOB_QUOTE = "job:quote"
    JOB_SUBMIT = "job:submit"
    JOB_LIST = "job:list"
    JOB_READ = "job:read"
    JOB_CANCEL = "job:cancel"
    JOB_APPROVE = "job:approve"
    RELEASE_LIST = "release:list"
    RELEASE_READ = "release:read"
    RELEASE_CHECK = "release:check"
    RELEASE_FETCH = "release:fetch"
    RELEASE_RECALL = "release:recall"
    LOG_READ = "log:read"
    LOG_EXPORT = "log:export"
    REPORT_ISSUE = "report:issue"
    REPORT_READ = "report:read"
    SELF_READ = "self:read"


WRITES = frozenset(
    {
        Action.TENANT_ADMINISTER,
        Action.PRINCIPAL_ENROL,
        Action.PRINCIPAL_DISABLE,
        Action.ROLE_ASSIGN,
        Action.ROLE_REMOVE,
        Action.CREDENTIAL_ISSUE,
        Action.CREDENTIAL_REVOKE,
        Action.PURPOSE_DEFINE,
        Action.POLICY_SET,
        Action.POPULATION_CREATE,
        Action.BUDGET_CHANGE,
        Action.DATASET_REGISTER,
        Action.DATASET_UPLOAD,
        Action.DATASET_RETIRE,
        Action.DATASET_ERASE,
        Action.GRANT_CREATE,
        Action.GRANT_REVOKE,
        Action.PARTY_ENROL,
        Action.PARTY_DISABLE,
        Action.JOB_SUBMIT,
        Action.JOB_CANCEL,
        Action.JOB_APPROVE,
        Action.RELEASE_CHECK,
        Action.RELEASE_RECALL,
    }
)
"""Actions that change governed state. Issuing a report changes none: it is a function of the log."""


class Sensitivity(StrEnum):
    """How bad it would be if rows became known. Ordered: comparing two members compares their rank."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"

    @cached_property
    def rank(self) -> int:
        """0 for public, 3 for restricted."""
        return list(Sensitivity).index(self)

    # The order of the texts (confidential < internal < public) would be a quiet trap, so all four are defined.
    def __lt__(self, other: str) -> bool:
        return self.rank < Sensitivity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Sensitivity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Sensitivity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Sensitivity(other).rank


class LegalBasis(StrEnum):
    """Why the owner may process these data at all.

    Sources: Regulation (EU) 2016/679, art. 6(1)(a)-(f) and those conditions of art. 9(2) that can carry training on
    records; Personal Information Protection Law of the PRC, art. 13(1)(1)-(7) and art. 29 (separate consent for
    sensitive personal information, which is recorded as a basis of its own).
    """

    NOT_PERSONAL_DATA = "not-personal-data"
    # GDPR art. 6(1)
    GDPR_CONSENT = "gdpr-6-1-a-consent"
    GDPR_CONTRACT = "gdpr-6-1-b-contract"
    GDPR_LEGAL_OBLIGATION = "gdpr-6-1-c-legal-obligation"
    GDPR_VITAL_INTERESTS = "gdpr-6-1-d-vital-interests"
    GDPR_PUBLIC_TASK = "gdpr-6-1-e-public-task"
    GDPR_LEGITIMATE_INTERESTS = "gdpr-6-1-f-legitimate-interests"
    # GDPR art. 9(2): conditions for special categories; each stands beside a basis of art. 6, never alone
    GDPR_EXPLICIT_CONSENT = "gdpr-9-2-a-explicit-consent"
    GDPR_SUBSTANTIAL_PUBLIC_INTEREST = "gdpr-9-2-g-substantial-public-interest"
    GDPR_HEALTH_CARE = "gdpr-9-2-h-health-care"
    GDPR_PUBLIC_HEALTH = "gdpr-9-2-i-public-health"
    GDPR_RESEARCH = "gdpr-9-2-j-archiving-research-statistics"
    # PIPL art. 13(1)
    PIPL_CONSENT = "pipl-13-1-consent"
    PIPL_CONTRACT_OR_STAFF = "pipl-13-2-contract-or-human-resources"
    PIPL_STATUTORY_DUTY = "pipl-13-3-statutory-duty"
    PIPL_EMERGENCY = "pipl-13-4-public-health-or-emergency"
    PIPL_PUBLIC_INTEREST_NEWS = "pipl-13-5-news-or-public-interest"
    PIPL_DISCLOSED = "pipl-13-6-already-disclosed"
    PIPL_OTHER_LAW = "pipl-13-7-other-law"
    # PIPL art. 29
    PIPL_SEPARATE_CONSENT = "pipl-29-separate-consent"

    @property
    def is_condition(self) -> bool:
        """Whether it is a condition of GDPR art. 9(2), which needs a basis of art. 6 beside it."""
        return self.startswith("gdpr-9-")

    @property
    def is_gdpr_basis(self) -> bool:
        """Whether it is a basis of GDPR art. 6(1)."""
        return self.startswith("gdpr-6-")


class DatasetState(StrEnum):
    """Where a governed dataset is in its life; the moves are in `policies.datasets`."""

    REGISTERED = "registered"
    SEALING = "sealing"
    SEALED = "sealed"
    RETIRED = "retired"


class JobKind(StrEnum):
    """What a job does with the data; a grant lists the kinds it permits."""

    TRAINING = "training"
    EVALUATION = "evaluation"
    STATISTICS = "statistics"
    GLM = "glm"
    TUNING = "tuning"
    HE_GLM = "he.glm"
    HE_STATISTICS = "he.statistics"
    HE_AGGREGATE = "he.aggregate"
    HE_INFER = "he.infer"
    SYNTHESIS = "synthesis"
    HE_BLIND_LOGISTIC = "he.blind-logistic"


OWN_WORK = frozenset({JobKind.HE_BLIND_LOGISTIC})
"""Kinds whose result stays with the owner of the rows: he alone may ask for them, under a grant to himself that lists
nothing else, and they have no price."""


class ExactRelease(StrEnum):
    """Whether results without noise may leave under a grant: never, or once two people have said yes (RULES 20)."""

    NEVER = "never"
    TWO_APPROVALS = "two-approvals"


class CheckedBy(StrEnum):
    """Who may look at a held release and let it go."""

    OWNER = "owner"
    CHECKER = "checker"


class ApprovalVerdict(StrEnum):
    """A person's answer to one exact request."""

    APPROVED = "approved"
    REFUSED = "refused"


class Verdict(StrEnum):
    """The answer of a decision."""

    ALLOW = "allow"
    ALLOW_ONCE_APPROVED = "allow-once-approved"
    DENY = "deny"


class Obligation(StrEnum):
    """What an allowed request binds its user to."""

    EPSILON_CAP = "epsilon-cap"
    TRAINER_SHARE = "trainer-share"
    APPROVAL = "approval"
    AUTOMATIC_RELEASE_CEILING = "automatic-release-ceiling"
    EXACT_RELEASE = "exact-release"


class Reason(StrEnum):
    """Why a decision is what it is. One code for each way to be refused."""

    ALLOWED = "allowed"
    ALLOWED_AUTOMATICALLY = "allowed-automatically"
    APPROVAL_AWAITED = "approval-awaited"
    POLICY_ERROR = "policy-error"
    WRONG_TENANT = "wrong-tenant"
    PRINCIPAL_MISSING = "principal-missing"
    PRINCIPAL_UNKNOWN = "principal-unknown"
    PRINCIPAL_DISABLED = "principal-disabled"
    FACTS_MISSING = "facts-missing"
    DATASET_UNKNOWN = "dataset-unknown"
    SUBJECT_UNKNOWN = "subject-unknown"
    ROLE_NOT_PERMITTED = "role-not-permitted"
    FORBIDDEN_BY_RULE = "forbidden-by-rule"
    NOT_OWNER = "not-owner"
    NOT_REQUESTER = "not-requester"
    SENSITIVITY_TOO_HIGH = "sensitivity-too-high"
    ROLE_CONFLICT = "role-conflict"
    LAST_ADMIN = "last-admin"
    OWNER_IS_TRAINER = "owner-is-trainer"
    APPROVER_IS_REQUESTER = "approver-is-requester"
    CHECKER_IS_REQUESTER = "checker-is-requester"
    CHECKER_NOT_APPOINTED = "checker-not-appointed"
    DATASET_STATE = "dataset-state"
    BASIS_EXPIRED = "basis-expired"
    RETENTION_ENDED = "retention-ended"
    PURPOSE_UNKNOWN = "purpose-unknown"
    PURPOSE_NOT_ALLOWED = "purpose-not-allowed"
    PURPOSE_NOT_GRANTED = "purpose-not-granted"
    GRANT_MISSING = "grant-missing"
    GRANT_REVOKED = "grant-revoked"
    GRANT_EXPIRED = "grant-expired"
    JOB_KIND_NOT_GRANTED = "job-kind-not-granted"
    EPSILON_ABOVE_GRANT = "epsilon-above-grant"
    EXACT_NOT_PERMITTED = "exact-not-permitted"
    APPROVAL_REFUSED = "approval-refused"
    NO_RELEASE_CEILING = "no-release-ceiling"
    ABOVE_RELEASE_CEILING = "above-release-ceiling"
