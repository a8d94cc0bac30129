"""Work whose result stays with the owner of the rows: he alone asks for it, under a grant to himself, at no price."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.errors import ConflictError
from kernel.ids import PrincipalId, Slug
from policies import events as made
from policies.vocabulary import OWN_WORK, Action, JobKind, Reason, Role, Sensitivity

BLIND = JobKind.HE_BLIND_LOGISTIC
NO_PRICE: dict[str, Any] = {"job_kind": BLIND, "epsilon": None}


@pytest.fixture
def own(world: Any) -> Any:
    """The owner is a trainer as well, and has a grant to himself."""
    world.apply(made.RoleAssigned, principal=world.id(PrincipalId, "otto"), role=Role.TRAINER)
    world.grant("own", "otto", "tumours", job_kinds=(BLIND,))
    return world


def test_an_owner_asks_for_his_own_work_without_a_price(own: Any) -> None:
    """Quote and submission alike; there is no epsilon to ask for."""
    for action in (Action.JOB_QUOTE, Action.JOB_SUBMIT):
        asked = own.ask_for_job(action, "otto", "tumours", "research", **NO_PRICE)
        assert own.decide(asked).reason is Reason.ALLOWED


def test_his_request_is_his_yes(own: Any) -> None:
    """Neither a grant that asks for approval nor rows that always need one make him wait for himself."""
    own.grant("asking", "otto", "tumours", job_kinds=(BLIND,), approval_required=True)
    own.dataset("genomes", "otto", sensitivity=Sensitivity.RESTRICTED)
    own.grant("restricted", "otto", "genomes", job_kinds=(BLIND,))
    for dataset in ("tumours", "genomes"):
        assert own.decide(own.submit("otto", dataset, **NO_PRICE)).reason is Reason.ALLOWED


def test_nobody_else_asks_for_it(own: Any) -> None:
    """A grant that lists every kind does not reach it: refusals would tell a trainer of rows that he never sees."""
    assert own.decide(own.submit("tina", "tumours", **NO_PRICE)).reason is Reason.NOT_OWNER
    assert own.decide(own.submit("paul", "tumours", **NO_PRICE)).reason is Reason.NOT_OWNER


def test_he_asks_for_nothing_else(own: Any) -> None:
    """Of what leaves, nobody trains on rows of his own; and any other kind needs its price."""
    for kind in set(JobKind) - OWN_WORK:
        assert own.decide(own.submit("otto", "tumours", job_kind=kind)).reason is Reason.OWNER_IS_TRAINER
    nothing = own.submit("tina", "tumours", epsilon=None)
    assert own.decide(nothing).reason is Reason.FACTS_MISSING


def test_without_a_grant_or_the_role_he_does_not(world: Any) -> None:
    """It is a fact of policy, not of ownership."""
    assert world.decide(world.submit("otto", "tumours", **NO_PRICE)).reason is Reason.ROLE_NOT_PERMITTED
    otto = world.id(PrincipalId, "otto")
    world.apply(made.RoleAssigned, principal=otto, role=Role.TRAINER)
    assert world.decide(world.submit("otto", "tumours", **NO_PRICE)).reason is Reason.GRANT_MISSING


@pytest.mark.parametrize(
    ("to", "kinds"),
    [("tina", (BLIND,)), ("otto", (JobKind.HE_GLM,)), ("otto", (BLIND, JobKind.HE_GLM)), ("otto", tuple(JobKind))],
)
def test_a_grant_for_it_goes_to_the_owner_and_lists_nothing_else(own: Any, to: str, kinds: tuple[JobKind, ...]) -> None:
    """Whatever was decided, the fold refuses the event."""
    with pytest.raises(ConflictError, match="own work"):
        own.grant("wrong", to, "tumours", job_kinds=kinds)


@pytest.mark.parametrize(
    ("subject", "kind", "why"),
    [
        ("otto", BLIND, Reason.ALLOWED),
        ("otto", None, Reason.OWNER_IS_TRAINER),
        ("tina", BLIND, Reason.NOT_OWNER),
        ("tina", None, Reason.ALLOWED),
    ],
)
def test_making_such_a_grant_is_decided(own: Any, subject: str, kind: JobKind | None, why: Reason) -> None:
    """The kind to be granted is a fact of the question where it is the owner's own work."""
    asked = own.request(
        Action.GRANT_CREATE, "otto", dataset="tumours", purpose=Slug("research"), subject=subject, job_kind=kind
    )
    assert own.decide(asked).reason is why
