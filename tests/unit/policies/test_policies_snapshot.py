"""The policy is the fold of its events, and of nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kernel.amounts import Epsilon, Share
from kernel.errors import PrivgateError
from kernel.ids import DatasetId, GrantId, PopulationId, PrincipalId, Slug, TenantId
from policies import events as made
from policies.grants import GrantState, Obligations
from policies.ruleset import GRANT
from policies.snapshot import PolicySnapshot
from policies.vocabulary import DatasetState, JobKind, LegalBasis, Role, Sensitivity

UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


def test_folding_at_once_equals_applying_one_by_one(world: Any) -> None:
    """The live gateway and the verifier reach the same policy, digest and rows included."""
    folded = PolicySnapshot.empty(world.tenant).fold(world.events)
    live = world.snapshot
    assert (folded.epoch, folded.digest, folded.policy) == (live.epoch, live.digest, live.policy)
    assert (folded.principals, folded.datasets, folded.grants) == (live.principals, live.datasets, live.grants)
    assert (folded.purposes, folded.holdings) == (live.purposes, live.holdings)
    assert sorted(folded.book.rows()) == sorted(live.book.rows())
    assert {n: found.all() for n, found in folded.book.links.items()} == {
        n: found.all() for n, found in live.book.links.items()
    }


@pytest.mark.parametrize("epoch", [0, 1, 2, 99])
def test_a_gap_or_a_repetition_of_epochs_is_refused(empty_world: Any, epoch: int) -> None:
    """Only the next epoch is taken."""
    world = empty_world
    world.purpose("research")
    event = made.PurposeDefined(epoch=epoch, purpose=Slug("care"))
    with pytest.raises(PrivgateError):
        world.snapshot.apply(event)
    assert world.snapshot.apply(made.PurposeDefined(epoch=3, purpose=Slug("care"))).epoch == 3


def test_a_policy_begins_with_its_tenant_and_only_once(empty_world: Any) -> None:
    """Another first event, another tenant, or a second beginning is refused."""
    world = empty_world
    start = PolicySnapshot.empty(world.tenant)
    with pytest.raises(PrivgateError):
        start.apply(made.PurposeDefined(epoch=1, purpose=Slug("research")))
    with pytest.raises(PrivgateError):
        start.apply(made.TenantCreated(epoch=1, tenant=world.id(TenantId, "other"), name=world.commitment("x")))
    with pytest.raises(PrivgateError):
        world.snapshot.apply(made.TenantCreated(epoch=2, tenant=world.tenant, name=world.commitment("x")))


def refused(
    kind: type[made.PolicyEvent], **fields: Any
) -> tuple[type[made.PolicyEvent], Callable[[Any], dict[str, Any]]]:
    """An event whose fields may be callables of the world."""
    return kind, lambda world: {k: v(world) if callable(v) else v for k, v in fields.items()}


def person(name: str) -> Callable[[Any], PrincipalId]:
    """A principal of the world, or one who is not there."""
    return lambda world: world.id(PrincipalId, name)


def data(name: str) -> Callable[[Any], DatasetId]:
    """A dataset of the world, or one that is not there."""
    return lambda world: world.id(DatasetId, name)


OBLIGATIONS = Obligations(trainer_share=Share.parse("1"), approval_required=False)
GRANT_FACTS: dict[str, Any] = {
    "grant": lambda world: world.id(GrantId, "new"),
    "principal": person("paul"),
    "dataset": data("tumours"),
    "purpose": Slug("research"),
    "until": UNTIL,
    "job_kinds": (JobKind.TRAINING,),
    "obligations": OBLIGATIONS,
}
DATASET_FACTS: dict[str, Any] = {
    "dataset": data("new"),
    "owner": person("otto"),
    "population": lambda world: world.id(PopulationId, "new"),
    "sensitivity": Sensitivity.CONFIDENTIAL,
    "purposes": (Slug("research"),),
    "legal_basis": LegalBasis.GDPR_PUBLIC_TASK,
    "retention_until": UNTIL,
}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        refused(made.PrincipalEnrolled, principal=person("otto"), name=lambda world: world.commitment("again")),
        refused(made.PrincipalDisabled, principal=person("nobody")),
        refused(made.PrincipalDisabled, principal=person("gone")),
        refused(made.RoleAssigned, principal=person("nobody"), role=Role.OWNER),
        refused(made.RoleAssigned, principal=person("gone"), role=Role.CHECKER),
        refused(made.RoleAssigned, principal=person("otto"), role=Role.OWNER),
        refused(made.RoleAssigned, principal=person("otto"), role=Role.AUDITOR),
        refused(made.RoleAssigned, principal=person("ada"), role=Role.OWNER),
        refused(made.RoleRemoved, principal=person("otto"), role=Role.TRAINER),
        refused(made.RoleRemoved, principal=person("nobody"), role=Role.TRAINER),
        refused(made.PurposeDefined, purpose=Slug("research")),
        refused(made.PurposeDefined, purpose=Slug("research"), within=(Slug("research/oncology"),)),
        refused(made.PurposeDefined, purpose=Slug("care"), within=(Slug("unknown"),)),
        refused(made.DatasetRegistered, **(DATASET_FACTS | {"dataset": data("tumours")})),
        refused(made.DatasetRegistered, **(DATASET_FACTS | {"owner": person("tina")})),
        refused(made.DatasetRegistered, **(DATASET_FACTS | {"owner": person("gone")})),
        refused(made.DatasetRegistered, **(DATASET_FACTS | {"owner": person("nobody")})),
        refused(made.DatasetRegistered, **(DATASET_FACTS | {"purposes": (Slug("unknown"),)})),
        refused(made.DatasetRegistered, **(DATASET_FACTS | {"purposes": ()})),
        refused(made.DatasetRegistered, **(DATASET_FACTS | {"legal_basis": LegalBasis.NOT_PERSONAL_DATA})),
        refused(made.DatasetRegistered, **(DATASET_FACTS | {"legal_basis": LegalBasis.GDPR_RESEARCH})),
        refused(made.DatasetMoved, dataset=data("unknown"), before=DatasetState.SEALED, after=DatasetState.RETIRED),
        refused(made.DatasetMoved, dataset=data("tumours"), before=DatasetState.SEALING, after=DatasetState.SEALED),
        refused(made.DatasetMoved, dataset=data("tumours"), before=DatasetState.SEALED, after=DatasetState.REGISTERED),
        refused(made.GrantCreated, **(GRANT_FACTS | {"grant": lambda world: world.id(GrantId, "first")})),
        refused(made.GrantCreated, **(GRANT_FACTS | {"principal": person("nobody")})),
        refused(made.GrantCreated, **(GRANT_FACTS | {"principal": person("gone")})),
        refused(made.GrantCreated, **(GRANT_FACTS | {"principal": person("otto")})),
        refused(made.GrantCreated, **(GRANT_FACTS | {"dataset": data("unknown")})),
        refused(made.GrantCreated, **(GRANT_FACTS | {"dataset": data("old")})),
        refused(made.GrantCreated, **(GRANT_FACTS | {"purpose": Slug("marketing")})),
        refused(made.GrantCreated, **(GRANT_FACTS | {"purpose": Slug("unknown")})),
        refused(made.GrantCreated, **(GRANT_FACTS | {"job_kinds": ()})),
        refused(made.GrantRevoked, grant=lambda world: world.id(GrantId, "unknown")),
        refused(made.GrantRevoked, grant=lambda world: world.id(GrantId, "taken back")),
    ],
)
def test_an_event_that_breaks_a_rule_was_never_policy(
    world: Any, kind: type[made.PolicyEvent], fields: Callable[[Any], dict[str, Any]]
) -> None:
    """It is refused, and the policy is what it was before."""
    gone = world.enrol("gone", Role.OWNER)
    world.apply(made.PrincipalDisabled, principal=gone)
    world.dataset("old", "otto", DatasetState.RETIRED)
    world.apply(made.GrantRevoked, grant=world.grant("taken back", "paul", "tumours"))
    before, rows = world.snapshot, sorted(world.snapshot.book.rows())
    with pytest.raises(PrivgateError):
        before.apply(kind(epoch=before.epoch + 1, **fields(world)))
    assert sorted(before.book.rows()) == rows


def test_the_events_of_the_refusals_are_otherwise_good(world: Any) -> None:
    """The facts above are accepted as they stand: each refusal is due to the one thing it changes."""
    for kind, facts in ((made.GrantCreated, GRANT_FACTS), (made.DatasetRegistered, DATASET_FACTS)):
        world.apply(kind, **{k: v(world) if callable(v) else v for k, v in facts.items()})


def test_a_snapshot_never_changes(world: Any) -> None:
    """Whoever still holds an older snapshot decides as of then; its tables cannot be written."""
    before = world.snapshot
    rows = sorted(before.book.rows())
    world.apply(made.GrantRevoked, grant=world.id(GrantId, "first"))
    world.enrol("nina", Role.TRAINER)
    assert sorted(before.book.rows()) == rows
    assert before.grants[world.id(GrantId, "first")].state is GrantState.ACTIVE
    assert world.id(PrincipalId, "nina") not in before.principals
    for table in (before.principals, before.datasets, before.grants, before.holdings):
        with pytest.raises(TypeError):
            table["x"] = "y"  # type: ignore[index]


def test_rows_come_and_go_with_their_grant(world: Any) -> None:
    """The rows are derived: a revoked grant has none, and is still remembered."""
    named = world.id(GrantId, "first")
    assert sum(row[-1] == named for row in world.snapshot.book.rows()) == 3
    world.apply(made.GrantRevoked, grant=named)
    assert [row for row in world.snapshot.book.rows() if row[0] == GRANT] == []
    assert world.snapshot.holdings[(world.id(PrincipalId, "tina"), world.id(DatasetId, "tumours"))] == (named,)


def test_each_epoch_has_its_own_digest(world: Any) -> None:
    """The digest chains: no two epochs share one, and another history has others from its first difference on."""
    digests = [PolicySnapshot.empty(world.tenant).digest]
    snapshot = PolicySnapshot.empty(world.tenant)
    for event in world.events:
        snapshot = snapshot.apply(event)
        digests.append(snapshot.digest)
    assert len(set(digests)) == len(world.events) + 1
    other = PolicySnapshot.empty(world.tenant).fold(
        [*world.events[:-1], made.PurposeDefined(epoch=len(world.events), purpose=Slug("care"))]
    )
    assert other.epoch == world.snapshot.epoch
    assert other.digest != world.snapshot.digest
    assert PolicySnapshot.empty(world.id(TenantId, "other")).digest != digests[0]


def test_admins_are_the_enabled_ones(world: Any) -> None:
    """Who was disabled or gave the role up is not counted."""
    second = world.enrol("abel", Role.ADMIN)
    assert world.snapshot.admins() == {world.id(PrincipalId, "ada"), second}
    world.apply(made.PrincipalDisabled, principal=second)
    assert world.snapshot.admins() == {world.id(PrincipalId, "ada")}


def test_ten_thousand_grants_fold_and_change_fast(empty_world: Any) -> None:
    """A fold of ten thousand grants takes seconds at worst, a further change milliseconds: no quadratic step."""
    world = empty_world
    world.purpose("research")
    world.enrol("otto", Role.OWNER)
    for number in range(20):
        world.dataset(f"d{number}", "otto")
        world.enrol(f"t{number}", Role.TRAINER)
    grants = [
        made.GrantCreated(
            epoch=world.snapshot.epoch + 1 + number,
            grant=world.id(GrantId, str(number)),
            principal=world.id(PrincipalId, f"t{number % 20}"),
            dataset=world.id(DatasetId, f"d{number // 20 % 20}"),
            purpose=Slug("research"),
            until=UNTIL,
            job_kinds=(JobKind.TRAINING,),
            obligations=Obligations(
                trainer_share=Share.parse("1"), approval_required=False, max_epsilon=Epsilon.parse("1")
            ),
        )
        for number in range(10_000)
    ]
    start = time.perf_counter()
    full = world.snapshot.fold(grants)
    folded = time.perf_counter()
    for number in range(20):
        full = full.apply(made.GrantRevoked(epoch=full.epoch + 1, grant=world.id(GrantId, str(number))))
    changed = time.perf_counter()
    assert folded - start < 10
    assert (changed - folded) / 20 < 0.1
    assert len(full.grants) == 10_000
