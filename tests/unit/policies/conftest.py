"""A small world to ask questions in: events are applied as a gateway would apply them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from kernel.amounts import Epsilon, Share
from kernel.canonical import Digest
from kernel.events import Commitment, Event
from kernel.ids import ApprovalId, DatasetId, DecisionId, GrantId, Identifier, PopulationId, PrincipalId, Slug, TenantId
from policies import events as made
from policies.approvals import Approval
from policies.decisions import Decision, recorded
from policies.enforcer import decide
from policies.grants import Obligations
from policies.requests import AccessRequest
from policies.snapshot import PolicySnapshot
from policies.vocabulary import (
    Action,
    ApprovalVerdict,
    DatasetState,
    JobKind,
    LegalBasis,
    Role,
    Sensitivity,
)

Id = TypeVar("Id", bound=Identifier)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = datetime(2027, 6, 30, tzinfo=UTC)
LONG_AFTER = datetime(2036, 1, 1, tzinfo=UTC)
STATES = (DatasetState.REGISTERED, DatasetState.SEALING, DatasetState.SEALED)


def name_of(kind: type[Id], name: str) -> Id:
    """The identifier that stands for a name in these tests."""
    return kind.new(lambda size: hashlib.sha256(f"{kind.PREFIX} {name}".encode()).digest()[:size])


class World:
    """A tenant whose policy grows event by event; names are plain words."""

    def __init__(self, tenant: str = "clinic") -> None:
        self.tenant = name_of(TenantId, tenant)
        self.events: list[Event] = []
        self.snapshot = PolicySnapshot.empty(self.tenant)
        self.apply(made.TenantCreated, tenant=self.tenant, name=self.commitment(tenant))

    def apply(self, kind: type[made.PolicyEvent], **fields: Any) -> made.PolicyEvent:
        """One more policy event."""
        event = kind(epoch=self.snapshot.epoch + 1, **fields)
        self.snapshot = self.snapshot.apply(event)
        self.events.append(event)
        return event

    def enrol(self, name: str, *roles: Role) -> PrincipalId:
        """A principal with roles."""
        principal = name_of(PrincipalId, name)
        self.apply(made.PrincipalEnrolled, principal=principal, name=self.commitment(name))
        for role in roles:
            self.apply(made.RoleAssigned, principal=principal, role=role)
        return principal

    def purpose(self, name: str, *within: str) -> None:
        """A purpose and what it lies within."""
        self.apply(made.PurposeDefined, purpose=Slug(name), within=tuple(map(Slug, within)))

    def dataset(self, name: str, owner: str, state: DatasetState = DatasetState.SEALED, **facts: Any) -> DatasetId:
        """A dataset in the given state."""
        dataset = name_of(DatasetId, name)
        standard: dict[str, Any] = {
            "population": name_of(PopulationId, name),
            "sensitivity": Sensitivity.CONFIDENTIAL,
            "purposes": (Slug("research"),),
            "legal_basis": LegalBasis.GDPR_PUBLIC_TASK,
            "retention_until": LONG_AFTER,
        }
        self.apply(made.DatasetRegistered, dataset=dataset, owner=name_of(PrincipalId, owner), **(standard | facts))
        self.move(name, state)
        return dataset

    def move(self, name: str, state: DatasetState) -> None:
        """Bring a registered dataset to a state."""
        path = (STATES[0], DatasetState.RETIRED) if state is DatasetState.RETIRED else STATES[: STATES.index(state) + 1]
        for before, after in pairwise(path):
            self.apply(made.DatasetMoved, dataset=name_of(DatasetId, name), before=before, after=after)

    def grant(self, name: str, to: str, dataset: str, purpose: str = "research", **facts: Any) -> GrantId:
        """A grant; obligations may be given one by one."""
        bound: dict[str, Any] = {"trainer_share": Share.parse("0.5"), "approval_required": False}
        bound |= {key: facts.pop(key) for key in list(facts) if key in Obligations.__dataclass_fields__}
        standard: dict[str, Any] = {"until": LATER, "job_kinds": tuple(JobKind)} | facts
        self.apply(
            made.GrantCreated,
            grant=name_of(GrantId, name),
            principal=name_of(PrincipalId, to),
            dataset=name_of(DatasetId, dataset),
            purpose=Slug(purpose),
            obligations=Obligations(**bound),
            **standard,
        )
        return name_of(GrantId, name)

    def request(self, action: Action, by: str | None, **facts: Any) -> AccessRequest:
        """A request; `dataset`, `requester`, `holder`, `subject` and `grant` are names."""
        kinds: dict[str, type[Identifier]] = {
            "dataset": DatasetId,
            "requester": PrincipalId,
            "holder": PrincipalId,
            "subject": PrincipalId,
            "grant": GrantId,
        }
        read: dict[str, Any] = {
            key: name_of(kinds[key], value) if key in kinds and isinstance(value, str) else value
            for key, value in facts.items()
        }
        read["principal"] = None if by is None else name_of(PrincipalId, by)
        return AccessRequest(**({"tenant": self.tenant, "action": action, "at": NOON} | read))

    def submit(self, by: str, dataset: str, purpose: str = "research", **facts: Any) -> AccessRequest:
        """A request to train at epsilon 1."""
        return self.ask_for_job(Action.JOB_SUBMIT, by, dataset, purpose, **facts)

    def ask_for_job(self, action: Action, by: str, dataset: str, purpose: str, **facts: Any) -> AccessRequest:
        """A quote or a submission, to train at epsilon 1."""
        standard: dict[str, Any] = {
            "job_kind": JobKind.TRAINING,
            "epsilon": Epsilon.parse("1"),
            "request_digest": self.digest("job"),
        }
        return self.request(action, by, dataset=dataset, purpose=Slug(purpose), **(standard | facts))

    def approval(self, by: str, verdict: ApprovalVerdict = ApprovalVerdict.APPROVED, **facts: Any) -> Approval:
        """An approval of the job that `submit` asks for."""
        standard: dict[str, Any] = {"request_digest": self.digest("job"), "until": LATER}
        approver = name_of(PrincipalId, by)
        return Approval(
            approval=name_of(ApprovalId, f"{by} {verdict}"), approver=approver, verdict=verdict, **(standard | facts)
        )

    def decide(self, request: AccessRequest, name: str = "decision") -> Decision:
        """The answer now."""
        return decide(self.snapshot, request, name_of(DecisionId, name))

    def log(self, request: AccessRequest, name: str) -> made.DecisionMade:
        """The answer now, logged."""
        event = recorded(self.decide(request, name))
        self.events.append(event)
        return event

    @staticmethod
    def commitment(name: str) -> Commitment:
        """A commitment to a name."""
        return Commitment(Digest.of(name.encode()))

    @staticmethod
    def digest(name: str) -> Digest:
        """A digest of something named."""
        return Digest.of(name.encode())

    @staticmethod
    def id(kind: type[Id], name: str) -> Id:
        """The identifier that a name stands for."""
        return name_of(kind, name)


@pytest.fixture
def empty_world() -> World:
    """A tenant with nobody in it."""
    return World()


@pytest.fixture
def world() -> World:
    """A clinic: an owner with a sealed dataset, a trainer with a grant, and everybody else that a cycle needs."""
    clinic = World()
    clinic.enrol("ada", Role.ADMIN)
    clinic.enrol("otto", Role.OWNER)
    clinic.enrol("tina", Role.TRAINER)
    clinic.enrol("paul", Role.TRAINER)
    clinic.enrol("carl", Role.CHECKER)
    clinic.enrol("aude", Role.AUDITOR)
    clinic.enrol("mia")
    clinic.purpose("research")
    clinic.purpose("research/oncology", "research")
    clinic.purpose("marketing")
    clinic.dataset("tumours", "otto")
    clinic.grant("first", "tina", "tumours", max_epsilon=Epsilon.parse("3"))
    return clinic
