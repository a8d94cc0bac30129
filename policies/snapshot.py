"""The policy of one tenant at one epoch: the fold of its events.

Rules
-----
1. A snapshot is immutable. `apply` takes the next epoch and no other; an event that breaks a rule of
   `docs/formats/policy-events.md` is refused and changes nothing.
2. The same events give the same snapshot, digest included, wherever they are folded.
3. Roles, ownership, purposes and grants are the records; the Casbin rows and links are derived here and nowhere else.
4. A changed snapshot copies only the tables that changed: many readers, one writer, no lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from kernel.canonical import Digest, digest_of
from kernel.errors import ConflictError, InvalidError
from kernel.ids import DatasetId, GrantId, PrincipalId, TenantId
from policies import events as made
from policies.datasets import GovernedDataset
from policies.grants import Grant
from policies.links import LinkChange
from policies.matcher import ANY, Row
from policies.principals import MEMBER, Principal
from policies.purposes import PurposeDag
from policies.rulebook import ALLOW, RuleBook
from policies.ruleset import DATASET_CLASS, GRANT, RuleSet, standard_rules
from policies.tenant_policy import STANDARD_POLICY, TenantPolicy
from policies.vocabulary import OWN_WORK, Action, DatasetState, Role, Sensitivity

K = TypeVar("K")
V = TypeVar("V")

GRANTED_ACTIONS: tuple[tuple[Action, bool], ...] = (
    (Action.DATASET_READ, False),
    (Action.JOB_QUOTE, True),
    (Action.JOB_SUBMIT, True),
)
"""What a grant gives its principal, and whether only for the grant's purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySnapshot:
    """Everything a decision may know beside its request. Start from `PolicySnapshot.empty`.

    Attributes:
        epoch: Number of policy events folded.
        digest: Chained digest of these events.
        rules: The rule set that decides; its digest goes into each decision.
        book: Its rows and this tenant's, as Casbin sees them.
        holdings: Grants by (principal, dataset), oldest first, revoked ones included.
    """

    tenant: TenantId
    epoch: int
    digest: Digest
    rules: RuleSet
    book: RuleBook
    policy: TenantPolicy
    purposes: PurposeDag
    principals: MappingProxyType[PrincipalId, Principal]
    datasets: MappingProxyType[DatasetId, GovernedDataset]
    grants: MappingProxyType[GrantId, Grant]
    holdings: MappingProxyType[tuple[PrincipalId, DatasetId], tuple[GrantId, ...]]

    @classmethod
    def empty(cls, tenant: TenantId, rules: RuleSet | None = None) -> PolicySnapshot:
        """Epoch 0: nobody may do anything.

        Args:
            tenant: Whose policy it will be.
            rules: The rule set that decides; the one in force if absent.
        """
        deciding = rules or standard_rules()
        return cls(
            tenant=tenant,
            epoch=0,
            digest=digest_of("policy/v1", {"tenant": tenant}),
            rules=deciding,
            book=deciding.book,
            policy=STANDARD_POLICY,
            purposes=PurposeDag(),
            principals=MappingProxyType({}),
            datasets=MappingProxyType({}),
            grants=MappingProxyType({}),
            holdings=MappingProxyType({}),
        )

    def apply(self, event: made.PolicyEvent) -> PolicySnapshot:
        """The policy after one more event.

        Raises:
            ConflictError, InvalidError: The event is not of the next epoch, or breaks a rule of its kind.
        """
        return self.fold((event,))

    def fold(self, events: Iterable[made.PolicyEvent]) -> PolicySnapshot:
        """The policy after the events, in order of epoch; raises like `apply`."""
        draft = _Draft(self)
        for event in events:
            draft.apply(event)
        return draft.finished()

    def admins(self) -> frozenset[PrincipalId]:
        """All enabled administrators."""
        return frozenset(p.id for p in self.principals.values() if p.enabled and Role.ADMIN in p.roles)


class _Table(Generic[K, V]):
    """A table that is copied when it is first written to."""

    def __init__(self, base: MappingProxyType[K, V]) -> None:
        self._base = base
        self._own: dict[K, V] | None = None

    def get(self, key: K) -> V | None:
        return (self._base if self._own is None else self._own).get(key)

    def put(self, key: K, value: V) -> None:
        if self._own is None:
            self._own = self._base.copy()
        self._own[key] = value

    def finished(self) -> MappingProxyType[K, V]:
        return self._base if self._own is None else MappingProxyType(self._own)


class _Draft:
    """A snapshot in the making; events change it in place, `finished` freezes it."""

    def __init__(self, base: PolicySnapshot) -> None:
        self._base = base
        self._epoch, self._digest = base.epoch, base.digest
        self._policy, self._purposes = base.policy, base.purposes
        self._principals, self._datasets = _Table(base.principals), _Table(base.datasets)
        self._grants, self._holdings = _Table(base.grants), _Table(base.holdings)
        self._links: dict[str, list[LinkChange]] = {}
        self._rows: list[tuple[bool, Row]] = []

    def apply(self, event: made.PolicyEvent) -> None:
        """Take one event; raise if it is not the next one or breaks a rule."""
        if event.epoch != self._epoch + 1:
            raise InvalidError("policy epochs run 1, 2, 3, ... without gap", field="epoch")
        if (event.epoch == 1) != isinstance(event, made.TenantCreated):
            raise InvalidError("a policy begins with `tenant:created`, once", field="epoch")
        match event:
            case made.TenantCreated():
                if event.tenant != self._base.tenant:
                    raise InvalidError("the policy belongs to another tenant", field="tenant")
            case made.PurposeDefined():
                self._define(event)
            case made.PolicySet():
                self._policy = event.policy
            case made.DatasetRegistered() | made.DatasetMoved():
                self._on_dataset(event)
            case made.GrantCreated():
                self._grant(event)
            case made.GrantRevoked():
                self._revoke(event)
            case _:
                self._on_principal(event)
        self._epoch = event.epoch
        body: dict[str, Any] = {"type": event.TYPE, "version": event.VERSION, "fields": event.to_fields()}
        self._digest = digest_of("policy/v1", {"before": self._digest, "event": body})

    def finished(self) -> PolicySnapshot:
        """The snapshot after all events so far."""
        base = self._base
        book = base.book.with_links(self._links) if self._links else base.book
        return PolicySnapshot(
            tenant=base.tenant,
            epoch=self._epoch,
            digest=self._digest,
            rules=base.rules,
            book=book.with_rows(self._rows) if self._rows else book,
            policy=self._policy,
            purposes=self._purposes,
            principals=self._principals.finished(),
            datasets=self._datasets.finished(),
            grants=self._grants.finished(),
            holdings=self._holdings.finished(),
        )

    def _on_principal(self, event: made.PolicyEvent) -> None:
        match event:
            case made.PrincipalEnrolled(principal=principal, name=name):
                if self._principals.get(principal) is not None:
                    raise ConflictError("this principal is enrolled already", field="principal")
                self._principals.put(principal, Principal(id=principal, name=name))
                self._link("g", principal, MEMBER)
            case made.PrincipalDisabled(principal=principal):
                self._principals.put(principal, self._principal(principal).disabled())
            case made.RoleAssigned(principal=principal, role=role):
                self._principals.put(principal, self._principal(principal).with_role(role))
                self._link("g", principal, role)
            case made.RoleRemoved(principal=principal, role=role):
                self._principals.put(principal, self._principal(principal).without_role(role))
                self._link("g", principal, role, added=False)
            case _:
                raise InvalidError("this event makes no policy", field="type")

    def _define(self, event: made.PurposeDefined) -> None:
        self._purposes = self._purposes.add(event.purpose, event.within)
        for wider in event.within:
            self._link("g3", event.purpose, wider)

    def _on_dataset(self, event: made.DatasetRegistered | made.DatasetMoved) -> None:
        if isinstance(event, made.DatasetMoved):
            self._datasets.put(event.dataset, self._dataset(event.dataset).moved(event.before, event.after))
            return
        if self._datasets.get(event.dataset) is not None:
            raise ConflictError("this dataset is registered already", field="dataset")
        owner = self._principal(event.owner)
        if not owner.enabled or Role.OWNER not in owner.roles:
            raise ConflictError("a dataset's owner holds the role owner", field="owner")
        if any(purpose not in self._purposes for purpose in event.purposes):
            raise InvalidError("define the purpose first", field="purposes")
        self._datasets.put(event.dataset, _governed(event, self._base.tenant))
        self._link("g2", event.dataset, DATASET_CLASS)

    def _grant(self, event: made.GrantCreated) -> None:
        if self._grants.get(event.grant) is not None:
            raise ConflictError("this grant exists already", field="grant")
        principal, dataset = self._principal(event.principal), self._dataset(event.dataset)
        own_work = bool(event.job_kinds) and set(event.job_kinds) <= OWN_WORK
        if not principal.enabled or (dataset.owner == principal.id) != own_work:
            raise ConflictError(
                "a grant goes to an enabled principal other than the owner, one for the owner's own work to the owner",
                field="principal",
            )
        if dataset.state is DatasetState.RETIRED:
            raise ConflictError("the dataset is retired", field="dataset")
        if not self._purposes.is_within_any(event.purpose, dataset.purposes):
            raise InvalidError("the dataset may not be used for this purpose", field="purpose")
        grant = _granted(event)
        held = (grant.principal, grant.dataset)
        self._grants.put(grant.id, grant)
        self._holdings.put(held, (*(self._holdings.get(held) or ()), grant.id))
        self._rows.extend((True, row) for row in grant_rows(grant, self._base.tenant))

    def _revoke(self, event: made.GrantRevoked) -> None:
        grant = self._grants.get(event.grant)
        if grant is None:
            raise InvalidError("there is no such grant", field="grant")
        self._grants.put(grant.id, grant.revoked())
        self._rows.extend((False, row) for row in grant_rows(grant, self._base.tenant))

    def _principal(self, principal: PrincipalId) -> Principal:
        found = self._principals.get(principal)
        if found is None:
            raise InvalidError("this principal is not enrolled", field="principal")
        return found

    def _dataset(self, dataset: DatasetId) -> GovernedDataset:
        found = self._datasets.get(dataset)
        if found is None:
            raise InvalidError("there is no such dataset", field="dataset")
        return found

    def _link(self, name: str, child: str, parent: str, *, added: bool = True) -> None:
        change = LinkChange(added, str(child), str(parent), str(self._base.tenant))
        self._links.setdefault(name, []).append(change)


def grant_rows(grant: Grant, tenant: TenantId) -> list[Row]:
    """The Casbin rows that a grant stands for; their rule name is the grant's id."""
    return [
        (
            GRANT,
            str(grant.principal),
            str(tenant),
            str(grant.dataset),
            action.value,
            "any",
            str(grant.purpose) if for_purpose else ANY,
            Sensitivity.RESTRICTED.value,
            ALLOW,
            str(grant.id),
        )
        for action, for_purpose in GRANTED_ACTIONS
    ]


def _governed(event: made.DatasetRegistered, tenant: TenantId) -> GovernedDataset:
    return GovernedDataset(
        id=event.dataset,
        tenant=tenant,
        owner=event.owner,
        population=event.population,
        sensitivity=event.sensitivity,
        purposes=event.purposes,
        legal_basis=event.legal_basis,
        special_condition=event.special_condition,
        basis_until=event.basis_until,
        retention_until=event.retention_until,
    )


def _granted(event: made.GrantCreated) -> Grant:
    return Grant(
        id=event.grant,
        principal=event.principal,
        dataset=event.dataset,
        purpose=event.purpose,
        until=event.until,
        job_kinds=event.job_kinds,
        obligations=event.obligations,
    )
