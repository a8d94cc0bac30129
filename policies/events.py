"""What the policy is made of, and what was decided under it. Format: `docs/formats/policy-events.md`.

Rules
-----
1. A `PolicyEvent` changes the policy and carries the tenant's gapless `epoch`; the fold of these is the policy.
2. All other events here are facts beside it: they change no answer by themselves.
3. Names of people and organisations are commitments.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from kernel.canonical import Digest
from kernel.events import Commitment, Event
from kernel.ids import (
    CredentialId,
    DatasetId,
    DecisionId,
    GrantId,
    JobId,
    PopulationId,
    PrincipalId,
    Slug,
    TenantId,
)
from policies.approvals import Approval
from policies.grants import Obligations
from policies.requests import AccessRequest
from policies.tenant_policy import TenantPolicy
from policies.vocabulary import DatasetState, JobKind, LegalBasis, Reason, Role, Sensitivity, Verdict


@dataclass(frozen=True, kw_only=True)
class PolicyEvent(Event):
    """Base of the events that make policy."""

    epoch: int


@dataclass(frozen=True, kw_only=True)
class TenantCreated(PolicyEvent):
    """A tenant's policy begins; always epoch 1."""

    TYPE: ClassVar[str] = "tenant:created"
    tenant: TenantId
    name: Commitment


@dataclass(frozen=True, kw_only=True)
class PrincipalEnrolled(PolicyEvent):
    """Somebody may act here, without any role yet."""

    TYPE: ClassVar[str] = "principal:enrolled"
    principal: PrincipalId
    name: Commitment


@dataclass(frozen=True, kw_only=True)
class PrincipalDisabled(PolicyEvent):
    """A principal lost every right, for good."""

    TYPE: ClassVar[str] = "principal:disabled"
    principal: PrincipalId


@dataclass(frozen=True, kw_only=True)
class RoleAssigned(PolicyEvent):
    """A principal took on a role."""

    TYPE: ClassVar[str] = "role:assigned"
    principal: PrincipalId
    role: Role


@dataclass(frozen=True, kw_only=True)
class RoleRemoved(PolicyEvent):
    """A principal gave up a role."""

    TYPE: ClassVar[str] = "role:removed"
    principal: PrincipalId
    role: Role


@dataclass(frozen=True, kw_only=True)
class PurposeDefined(PolicyEvent):
    """A purpose exists, or lies within further purposes from now on."""

    TYPE: ClassVar[str] = "purpose:defined"
    purpose: Slug
    within: tuple[Slug, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PolicySet(PolicyEvent):
    """The tenant's settings were replaced, whole."""

    TYPE: ClassVar[str] = "policy:set"
    policy: TenantPolicy


@dataclass(frozen=True, kw_only=True)
class DatasetRegistered(PolicyEvent):
    """A dataset is governed from now on. Its schema and unit are told by an event of `privacy`."""

    TYPE: ClassVar[str] = "dataset:registered"
    dataset: DatasetId
    owner: PrincipalId
    population: PopulationId
    sensitivity: Sensitivity
    purposes: tuple[Slug, ...]
    legal_basis: LegalBasis
    special_condition: LegalBasis | None = None
    basis_until: datetime | None = None
    retention_until: datetime


@dataclass(frozen=True, kw_only=True)
class DatasetMoved(PolicyEvent):
    """A dataset changed state."""

    TYPE: ClassVar[str] = "dataset:moved"
    dataset: DatasetId
    before: DatasetState
    after: DatasetState


@dataclass(frozen=True, kw_only=True)
class GrantCreated(PolicyEvent):
    """An owner permitted a principal something."""

    TYPE: ClassVar[str] = "grant:created"
    grant: GrantId
    principal: PrincipalId
    dataset: DatasetId
    purpose: Slug
    until: datetime
    job_kinds: tuple[JobKind, ...]
    obligations: Obligations


@dataclass(frozen=True, kw_only=True)
class GrantRevoked(PolicyEvent):
    """An owner took a permission back."""

    TYPE: ClassVar[str] = "grant:revoked"
    grant: GrantId


@dataclass(frozen=True, kw_only=True)
class ApprovalGiven(Event):
    """A person said yes or no to one exact request."""

    TYPE: ClassVar[str] = "approval:given"
    approval: Approval
    dataset: DatasetId
    job: JobId | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionMade(Event):
    """The policy answered. Format: `docs/formats/decision.md`."""

    TYPE: ClassVar[str] = "decision:made"
    decision: DecisionId
    request: AccessRequest
    verdict: Verdict
    rule: Slug
    reason: Reason
    epoch: int
    policy: Digest
    rules: Digest
    grant: GrantId | None = None
    obligations: Obligations | None = None


@dataclass(frozen=True, kw_only=True)
class CredentialIssued(Event):
    """A principal can prove who they are until `until`."""

    TYPE: ClassVar[str] = "credential:issued"
    credential: CredentialId
    principal: PrincipalId
    until: datetime


@dataclass(frozen=True, kw_only=True)
class CredentialRevoked(Event):
    """A credential proves nothing any more."""

    TYPE: ClassVar[str] = "credential:revoked"
    credential: CredentialId


POLICY_EVENTS: tuple[type[PolicyEvent], ...] = (
    TenantCreated,
    PrincipalEnrolled,
    PrincipalDisabled,
    RoleAssigned,
    RoleRemoved,
    PurposeDefined,
    PolicySet,
    DatasetRegistered,
    DatasetMoved,
    GrantCreated,
    GrantRevoked,
)
"""The events that the fold reads."""

EVENTS: tuple[type[Event], ...] = (*POLICY_EVENTS, ApprovalGiven, DecisionMade, CredentialIssued, CredentialRevoked)
