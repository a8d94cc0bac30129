"""Random histories of a small tenant: same rows as stock Casbin sees, nothing gained by taking away, honest replay."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import casbin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.amounts import Epsilon, Share
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.events import Commitment, Event
from kernel.ids import DatasetId, DecisionId, GrantId, Identifier, PopulationId, PrincipalId, Slug, TenantId
from policies import events as made
from policies.case import Case
from policies.decisions import recorded
from policies.enforcer import decide
from policies.grants import Obligations
from policies.replay import Replayed, replay
from policies.requests import AccessRequest
from policies.rulebook import ALLOW
from policies.ruleset import GRANT, GRANTED, MODEL_TEXT, ROLE
from policies.snapshot import PolicySnapshot
from policies.vocabulary import Action, DatasetState, JobKind, LegalBasis, Role, Sensitivity, Verdict

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
NAME = Commitment(Digest.of(b"a name"))
JOB = Digest.of(b"job")


def named(kind: type[Identifier], name: str) -> Any:
    """The identifier that a name stands for."""
    return kind.new(lambda size: hashlib.sha256(f"{kind.PREFIX} {name}".encode()).digest()[:size])


TENANT = named(TenantId, "clinic")
PEOPLE = [named(PrincipalId, name) for name in "abcd"]
DATA = [named(DatasetId, name) for name in "xy"]
GRANTS = [named(GrantId, str(number)) for number in range(4)]
PURPOSES = [Slug("research"), Slug("oncology"), Slug("marketing")]

people, data, grants = st.sampled_from(PEOPLE), st.sampled_from(DATA), st.sampled_from(GRANTS)
purposes, roles = st.sampled_from(PURPOSES), st.sampled_from(Role)


@st.composite
def policy_events(draw: st.DrawFn) -> tuple[type[made.PolicyEvent], dict[str, Any]]:
    """One event that may or may not fit the policy so far."""
    kind = draw(st.sampled_from([*made.POLICY_EVENTS[1:], made.RoleAssigned, made.GrantCreated, made.DatasetMoved]))
    fields: dict[type[made.PolicyEvent], dict[str, Any]] = {
        made.PrincipalEnrolled: {"principal": draw(people), "name": NAME},
        made.PrincipalDisabled: {"principal": draw(people)},
        made.RoleAssigned: {"principal": draw(people), "role": draw(roles)},
        made.RoleRemoved: {"principal": draw(people), "role": draw(roles)},
        made.PurposeDefined: {"purpose": draw(purposes), "within": tuple(draw(st.sets(purposes, max_size=1)))},
        made.PolicySet: {"policy": PolicySnapshot.empty(TENANT).policy},
        made.DatasetRegistered: {
            "dataset": draw(data),
            "owner": draw(people),
            "population": named(PopulationId, "p"),
            "sensitivity": draw(st.sampled_from(Sensitivity)),
            "purposes": (draw(purposes),),
            "legal_basis": LegalBasis.GDPR_PUBLIC_TASK,
            "retention_until": LATER,
        },
        made.DatasetMoved: {
            "dataset": draw(data),
            "before": draw(st.sampled_from(DatasetState)),
            "after": draw(st.sampled_from(DatasetState)),
        },
        made.GrantCreated: {
            "grant": draw(grants),
            "principal": draw(people),
            "dataset": draw(data),
            "purpose": draw(purposes),
            "until": LATER,
            "job_kinds": (JobKind.TRAINING,),
            "obligations": Obligations(trainer_share=Share.parse("1"), approval_required=False),
        },
        made.GrantRevoked: {"grant": draw(grants)},
    }
    return kind, fields[kind]


def start() -> list[made.PolicyEvent]:
    """A policy in which most things can happen: two owners, two trainers, purposes, datasets."""
    events: list[made.PolicyEvent] = []

    def add(kind: type[made.PolicyEvent], **fields: Any) -> None:
        events.append(kind(epoch=len(events) + 1, **fields))

    add(made.TenantCreated, tenant=TENANT, name=NAME)
    for index, principal in enumerate(PEOPLE):
        add(made.PrincipalEnrolled, principal=principal, name=NAME)
        add(made.RoleAssigned, principal=principal, role=Role.TRAINER if index else Role.OWNER)
    add(made.PurposeDefined, purpose=PURPOSES[0])
    add(made.PurposeDefined, purpose=PURPOSES[1], within=(PURPOSES[0],))
    for dataset, sensitivity in zip(DATA, (Sensitivity.INTERNAL, Sensitivity.RESTRICTED), strict=True):
        add(
            made.DatasetRegistered,
            dataset=dataset,
            owner=PEOPLE[0],
            population=named(PopulationId, "p"),
            sensitivity=sensitivity,
            purposes=(PURPOSES[0],),
            legal_basis=LegalBasis.GDPR_PUBLIC_TASK,
            retention_until=LATER,
        )
    return events


def grown(
    snapshot: PolicySnapshot, steps: list[tuple[type[made.PolicyEvent], dict[str, Any]]]
) -> list[made.PolicyEvent]:
    """The steps that the policy accepts, as its further events."""
    events: list[made.PolicyEvent] = []
    for kind, fields in steps:
        event = kind(epoch=snapshot.epoch + 1, **fields)
        try:
            snapshot = snapshot.apply(event)
        except PrivgateError:
            continue
        events.append(event)
    return events


@st.composite
def requests(draw: st.DrawFn) -> AccessRequest:
    """A question about anything, mostly with all facts."""
    return AccessRequest(
        tenant=TENANT,
        action=draw(st.sampled_from([*Action, Action.JOB_SUBMIT, Action.JOB_QUOTE, Action.DATASET_READ])),
        at=NOON,
        principal=draw(people),
        dataset=draw(data),
        purpose=draw(purposes),
        job_kind=draw(st.sampled_from(JobKind)),
        epsilon=Epsilon.parse("1"),
        request_digest=JOB,
        requester=draw(people),
        holder=draw(people),
        subject=draw(people),
        role=draw(roles),
    )


histories = st.lists(policy_events(), max_size=25)
START = PolicySnapshot.empty(TENANT).fold(start())


def stock(snapshot: PolicySnapshot) -> casbin.Enforcer:
    """Stock Casbin with the rows and links of a snapshot."""
    enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=MODEL_TEXT))
    enforcer.add_policies([[str(value) for value in row] for row in snapshot.book.rows()])
    for name, links in snapshot.book.links.items():
        rows = [list(link) if name != "g4" else list(link[:2]) for link in links.all()]
        if rows:
            enforcer.add_named_grouping_policies(name, rows)
    return enforcer


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.lists(requests(), min_size=8, max_size=8))
def test_a_grown_policy_means_to_casbin_what_it_means_to_us(steps: Any, asked: list[AccessRequest]) -> None:
    """After any history, each layer of each question has the answer that stock Casbin gives for the same rows."""
    snapshot = START.fold(grown(START, steps))
    enforcer = stock(snapshot)
    for request in asked:
        case = Case.of(snapshot, request)
        assert request.principal is not None
        question = case.question(request.principal, request.action, request.requester)
        for layer in (ROLE, GRANTED, GRANT):
            ours = case.has_effect(case.deciding_row(layer, question), ALLOW)
            assert ours == enforcer.enforce(layer, *map(str, question.fields))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.data())
def test_taking_away_never_gives(steps: Any, draw: st.DataObject) -> None:
    """Revoking, disabling or removing a role turns no denial into leave (but for re-assigning what was removed)."""
    before = START.fold(grown(START, steps))
    taken = draw.draw(
        st.lists(
            policy_events().filter(
                lambda step: step[0] in (made.GrantRevoked, made.PrincipalDisabled, made.RoleRemoved)
            ),
            min_size=1,
            max_size=4,
        )
    )
    after = before.fold(grown(before, taken))
    name = named(DecisionId, "d")
    for request in draw.draw(st.lists(requests(), min_size=10, max_size=10)):
        if request.action is Action.ROLE_ASSIGN or decide(before, request, name).verdict is not Verdict.DENY:
            continue
        assert decide(after, request, name).verdict is Verdict.DENY


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.lists(requests(), min_size=3, max_size=6), st.randoms(use_true_random=False))
def test_any_honest_history_replays_the_same(steps: Any, asked: list[AccessRequest], shuffled: Any) -> None:
    """Decisions scattered over a random history, read in random order, all come out as they went in."""
    events: list[Event] = list(start())
    snapshot = START
    for number, event in enumerate(grown(START, steps)):
        for index, request in enumerate(asked):
            events.append(recorded(decide(snapshot, request, named(DecisionId, f"{number} {index}"))))
        snapshot = snapshot.apply(event)
        events.append(event)
    shuffled.shuffle(events)
    found = replay(events)
    assert found.policy_whole
    assert found.counts()[Replayed.SAME] == len(found.decisions)
