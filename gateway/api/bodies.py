"""What clients send: strict shapes with limits, turned into domain values by the routes.

Rules
-----
1. Unknown members are refused; every text has a longest length; numbers that become amounts are decimal text.
2. A body checks form only. What a value means is checked by the domain type that it becomes.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,18})?$", examples=["3"])]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_./-]{0,63}$", examples=["research/oncology"])]
Moment = Annotated[
    str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$", examples=["2027-06-30T00:00:00Z"])
]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Word = Annotated[str, Field(max_length=20, pattern="^[a-z-]+$")]
KindName = Annotated[str, Field(max_length=20, pattern=r"^[a-z]+(\.[a-z-]+)?$")]
Prose = Annotated[str, Field(max_length=4000)]


PrincipalRef = Annotated[str, Field(pattern=r"^prn_[a-z2-7]{26}$", examples=["prn_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
PopulationRef = Annotated[str, Field(pattern=r"^pop_[a-z2-7]{26}$", examples=["pop_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
DatasetRef = Annotated[str, Field(pattern=r"^dst_[a-z2-7]{26}$", examples=["dst_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
VersionRef = Annotated[str, Field(pattern=r"^ver_[a-z2-7]{26}$", examples=["ver_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
GrantRef = Annotated[str, Field(pattern=r"^grt_[a-z2-7]{26}$", examples=["grt_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
CredentialRef = Annotated[str, Field(pattern=r"^tok_[a-z2-7]{26}$", examples=["tok_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
JobRef = Annotated[str, Field(pattern=r"^job_[a-z2-7]{26}$", examples=["job_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
ReleaseRef = Annotated[str, Field(pattern=r"^rel_[a-z2-7]{26}$", examples=["rel_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
PartyRef = Annotated[str, Field(pattern=r"^pty_[a-z2-7]{26}$", examples=["pty_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
ReportRef = Annotated[str, Field(pattern=r"^rpt_[a-z2-7]{26}$", examples=["rpt_aaaaaaaaaaaaaaaaaaaaaaaaaa"])]
RoleName = Annotated[str, Field(max_length=20, pattern="^[a-z]+$", examples=["trainer"])]


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EnrolPrincipal(Body):
    """A person or service to let in, without any role yet."""

    name: Line
    token_days: Annotated[int, Field(ge=1, le=366)] = 90


class IssueCredential(Body):
    """A further token."""

    token_days: Annotated[int, Field(ge=1, le=366)] = 90


class AssignRole(Body):
    """A role to give to a principal."""

    role: RoleName


class DefinePurpose(Body):
    """A purpose and the purposes that it is part of."""

    purpose: Name
    within: Annotated[list[Name], Field(max_length=8)] = []


class NeededApproval(Body):
    """Jobs of this kind on data of this sensitivity wait for the owner's yes."""

    sensitivity: Word
    job_kind: KindName


class Ceiling(Body):
    """Up to this epsilon a release from data of this sensitivity may leave by itself."""

    sensitivity: Word
    epsilon: Amount


class SetPolicy(Body):
    """The tenant's policy: who must approve, who may check, what may leave by itself."""

    approvals: Annotated[list[NeededApproval], Field(max_length=16)] = []
    ceilings: Annotated[list[Ceiling], Field(max_length=8)] = []
    checked_by: Annotated[list[Word], Field(max_length=4)] = ["owner", "checker"]


class PopulationUnit(Body):
    """What one unit is, and what to call it."""

    kind: Annotated[str, Field(pattern="^(record|column)$")]
    noun: Name


class BudgetChoice(Body):
    """What an owner was shown before he chose epsilon, and why he chose it; logged, the reason as a commitment."""

    alternatives: Annotated[list[Amount], Field(max_length=16)] = []
    reason: Prose | None = None


class CreatePopulation(Body):
    """The people (or records) that one budget protects. `public_size` is coarse, public and need not be true."""

    unit: PopulationUnit
    unit_domain: Name
    public_size: Annotated[int, Field(ge=10, le=10**10)]
    holdout_share: Amount = "0.2"
    epsilon: Amount
    delta: Amount
    larger_delta_reason: Prose | None = None
    choice: BudgetChoice | None = None


class ChangeBudget(Body):
    """A new epsilon for a population; order, delta, adjacency and unit never change."""

    epsilon: Amount
    choice: BudgetChoice | None = None


Home = Annotated[int, Field(ge=2, le=64, examples=[2])]


class OpenBlock(Body):
    """About how many units will be at home in a new block: coarse, public, not more than the population."""

    public_size: Annotated[int, Field(ge=10, le=10**10)]


class CapTrainer(Body):
    """The most of a population's budget that one trainer may hold and spend."""

    principal: PrincipalRef
    share: Amount


class RegisterDataset(Body):
    """A dataset's public face, its schema and its governance."""

    title: Line
    description: Prose = ""
    population: PopulationRef
    table: Annotated[dict[str, Any], Field(alias="schema")]
    unit: dict[str, Any]
    sensitivity: Word
    purposes: Annotated[list[Name], Field(min_length=1, max_length=32)]
    legal_basis: Annotated[str, Field(max_length=64)]
    special_condition: Annotated[str, Field(max_length=64)] | None = None
    basis_until: Moment | None = None
    retention_until: Moment
    site: PartyRef | None = None
    """The party with which the rows stay; absent: they are sent here and sealed."""


class EnrolParty(Body):
    """An agent to let in: its identity (docs/formats/he-documents.md) and a request for a TLS certificate, in PEM."""

    identity: dict[str, Any]
    request: Annotated[str, Field(max_length=4096)]


class RenewParty(Body):
    """An agent's renewal of its certificate (docs/formats/he-documents.md), as its identity signed it."""

    renewal: Annotated[str, Field(max_length=16384)]


class GrantObligations(Body):
    """What the grant binds its holder to."""

    trainer_share: Amount = "1"
    approval_required: bool = False
    max_epsilon: Amount | None = None
    auto_release_epsilon: Amount | None = None
    exact_release: Word | None = None


class CreateGrant(Body):
    """Permission for one principal, one dataset, one purpose, until a date."""

    principal: PrincipalRef
    dataset: DatasetRef
    purpose: Name
    until: Moment
    job_kinds: Annotated[list[KindName], Field(min_length=1, max_length=16)]
    obligations: GrantObligations = GrantObligations()


class JobRequest(Body):
    """A job, as data. See docs/formats/job-spec.md."""

    spec: dict[str, Any]


class AnswerApproval(Body):
    """The owner's answer to one exact request."""

    verdict: Annotated[str, Field(pattern="^(approved|refused)$")]
    request_digest: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
    graph: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")] | None = None
    """The digest of the model graph that was looked at, if the job trains one; another one is refused."""


class CheckRelease(Body):
    """The door-keeper's answer."""

    verdict: Annotated[str, Field(pattern="^(release|refuse)$")]


class IssueReport(Body):
    """A period in tree sizes; `until_size` absent means the newest checkpoint."""

    from_size: Annotated[int, Field(ge=0)] = 0
    until_size: Annotated[int, Field(ge=1)] | None = None
    frameworks: Annotated[list[Name], Field(max_length=16)] = []
