"""What the gateway answers with: public shapes, one per noun. Nothing derived from rows has a place here.

The exact counts of a dataset and what was wrong with an upload are in `VersionView` alone, which its owner may read.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True)


class Problem(BaseModel):
    """RFC 9457 problem document; further members carry figures such as what remains."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str
    code: str
    correlation: str
    decision: str | None = None
    field: str | None = None


class SelfView(View):
    """Who you are here."""

    tenant: str
    principal: str
    roles: list[str]


class PrincipalView(View):
    """A principal and its roles; the name is shown to whoever may list principals."""

    principal: str
    name: str | None
    roles: list[str]
    enabled: bool


class TokenView(View):
    """A fresh access token; it is shown this once."""

    principal: str
    credential: str
    token: str


class Done(View):
    """It is done."""

    done: bool = True


class PurposeView(View):
    """A purpose and what it is part of."""

    purpose: str
    within: list[str]


class PolicyView(View):
    """The tenant's policy at an epoch."""

    epoch: int
    digest: str
    policy: dict[str, Any]


class BlockView(View):
    """What is charged and held in one block."""

    block: str
    charged: str
    held: str


class PopulationView(View):
    """A population's budget: what one unit may lose in total, what is held, what is spent."""

    population: str
    owner: str
    unit_kind: str
    unit_noun: str
    unit_domain: str
    adjacency: str
    public_size: int
    holdout_share: str
    epsilon: str
    delta: str
    order: int
    capacity: str
    committed: str
    blocks: list[BlockView]
    retired: bool
    uncovered_since: int | None
    odds: int | None
    """How often in 100 an attacker who knows everything else is right about one unit, at most, once all is spent.
    Absent if an exact result left."""
    ledger_seq: int


class DatasetView(View):
    """A dataset's card: what anybody who may see it sees."""

    dataset: str
    title: str
    description: str
    owner: str
    population: str
    unit_noun: str
    public_size: int
    state: str
    sensitivity: str
    purposes: list[str]
    legal_basis: str
    retention_until: str
    table: dict[str, Any]
    unit: dict[str, Any]
    home_size: int
    holdout_share: str
    site: str | None
    delta: str
    order: int
    """With the public size and the unit: all that a plan knows of the people, so that anybody can make the same one.
    `home_size` is the declared size of the home block that was open when the rows were sealed."""


class VersionView(View):
    """An upload, for its owner alone: where it stands, and what was wrong with it or how much it holds."""

    version: str
    dataset: str
    state: str
    created_at: str
    problems: dict[str, Any] | None
    rows: dict[str, int] | None


class GrantView(View):
    """A grant."""

    grant: str
    principal: str
    dataset: str
    purpose: str
    until: str
    job_kinds: list[str]
    obligations: dict[str, Any]
    state: str


class PartyView(View):
    """An agent that takes part in jobs on data that stays elsewhere. Compare the fingerprint over a second channel."""

    party: str
    kind: str
    name: str
    owner: str
    fingerprint: str
    identity: dict[str, Any]
    disabled: bool
    connection: str
    """The SHA-256 of the certificate of its connections."""
    connection_until: str | None
    certificate: str | None = None
    """On enrolment alone: the certificate of the party's connections, in PEM."""


class CertificateView(View):
    """A certificate of a party's connections, in PEM."""

    certificate: str


class QuoteView(View):
    """What a job would cost, and its request in final form."""

    quote: dict[str, Any]
    spec: dict[str, Any]
    request_digest: str


class QuestionTermsView(View):
    """What a question to a released model must be: all that is public of the model, and no weight.

    `request` has shape and profile; `features` says how a row of `table`'s columns becomes the model's numbers.
    """

    job: str
    request: dict[str, Any]
    request_digest: str
    features: dict[str, Any]
    table: dict[str, Any]
    deadline: str | None = None
    question: str | None = None


class QuestionView(View):
    """A question that was received, by its document's digest."""

    job: str
    question: str


class JobView(View):
    """A job as its requester and owner see it: coarse, and only at ticks."""

    job: str
    kind: str
    state: str
    percent: int
    dataset: str
    purpose: str
    epsilon: str
    request_digest: str
    created_at: str
    release: str | None
    principal: str
    model: dict[str, Any] | None = None
    """Of a training or tuning: digest and size of the model graph, the engine and the kind of clipping."""
    datasets: list[str] | None = None
    """Of a job on data of several sites: all of its datasets; `dataset` is the first, and `epsilon` is `exact`."""
    request: dict[str, Any] | None = None
    """The request in its final form, for whoever reads this one job: an owner approves what stands here."""


class ReleaseView(View):
    """A release and where it stands."""

    release: str
    job: str
    kind: str
    state: str
    dataset: str
    epsilon: str
    artifact_digest: str
    certificate_digest: str
    principal: str


class ReportView(View):
    """A compliance report that was issued."""

    report: str
    digest: str
    created_at: str


class TrustView(View):
    """What a reader pins at enrolment; compare it over a second channel."""

    trust: dict[str, Any]


class EntryView(View):
    """An entry of the tenant: its index, its payload, and the salt that opens its leaf."""

    index: int
    payload: dict[str, Any]
    salt: str


class Health(View):
    """How the gateway feels."""

    status: str
    parts: dict[str, bool]
