"""What an answer can be turned into, and what the log keeps of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from kernel import canonical
from kernel.amounts import Epsilon, Share
from kernel.errors import ConflictError, InvalidError
from kernel.events import Registry
from kernel.ids import CredentialId, GrantId, JobId, PrincipalId
from policies import events as made
from policies.decisions import Allow, Deny, recorded
from policies.requests import MOST_APPROVALS, AccessRequest
from policies.tenant_policy import STANDARD_POLICY
from policies.vocabulary import Action, Role, Sensitivity

UNTIL = datetime(2030, 1, 1, tzinfo=UTC)


class TestPermit:
    """From Allow to Permit."""

    def test_a_permit_binds_decision_request_job_and_grant(self, world: Any) -> None:
        """Everything the ledger needs to know, and nothing it must believe beside it."""
        decision = world.decide(world.submit("tina", "tumours"))
        assert isinstance(decision, Allow)
        job, leaf = world.id(JobId, "job"), world.digest("leaf")
        permit = decision.permit(leaf, job, world.digest("job"))
        assert (permit.decision, permit.decision_leaf) == (decision.decision, leaf)
        assert (permit.job, permit.request) == (job, world.digest("job"))
        assert (permit.principal, permit.grant) == (world.id(PrincipalId, "tina"), world.id(GrantId, "first"))
        assert permit.trainer_share == Share.parse("0.5")

    def test_another_request_or_job_gets_none(self, world: Any) -> None:
        """One character of difference in the request is another digest; a named job is that job."""
        job, other = world.id(JobId, "job"), world.id(JobId, "other")
        decision = world.decide(world.submit("tina", "tumours", job=job))
        decision.permit(world.digest("leaf"), job, world.digest("job"))
        with pytest.raises(ConflictError):
            decision.permit(world.digest("leaf"), job, world.digest("job "))
        with pytest.raises(ConflictError):
            decision.permit(world.digest("leaf"), other, world.digest("job"))

    def test_waiting_for_approval_is_no_leave_to_start(self, world: Any) -> None:
        """An Allow that awaits an approval permits nothing."""
        world.dataset("genomes", "otto", sensitivity=Sensitivity.RESTRICTED)
        world.grant("genomes", "tina", "genomes")
        decision = world.decide(world.submit("tina", "genomes"))
        assert isinstance(decision, Allow)
        with pytest.raises(ConflictError):
            decision.permit(world.digest("leaf"), world.id(JobId, "job"), world.digest("job"))

    def test_only_submitting_leads_to_a_reservation(self, world: Any) -> None:
        """A quote or any other right is no leave to spend; a denial has no way to a permit at all."""
        quote = world.decide(world.ask_for_job(Action.JOB_QUOTE, "tina", "tumours", "research"))
        reading = world.decide(world.request(Action.SELF_READ, "tina"))
        for decision in (quote, reading):
            assert isinstance(decision, Allow)
            with pytest.raises(ConflictError):
                decision.permit(world.digest("leaf"), world.id(JobId, "job"), world.digest("job"))
        assert isinstance(world.decide(world.submit("paul", "tumours")), Deny)
        assert not hasattr(Deny, "permit")

    def test_an_allow_without_grant_permits_nothing(self, world: Any) -> None:
        """A value built by hand, without the grant it should rest on, is refused."""
        decision = world.decide(world.submit("tina", "tumours"))
        for broken in (replace(decision, grant=None), replace(decision, obligations=None)):
            with pytest.raises(ConflictError):
                broken.permit(world.digest("leaf"), world.id(JobId, "job"), world.digest("job"))


class TestEvents:
    """What the log keeps."""

    def everything(self, world: Any) -> list[Any]:
        """At least one event of each kind."""
        world.apply(made.PolicySet, policy=STANDARD_POLICY)
        world.apply(made.RoleRemoved, principal=world.id(PrincipalId, "carl"), role=Role.CHECKER)
        world.apply(made.GrantRevoked, grant=world.id(GrantId, "first"))
        world.apply(made.PrincipalDisabled, principal=world.id(PrincipalId, "mia"))
        approval = world.approval("otto")
        world.log(world.submit("tina", "tumours", approvals=(approval,), epsilon=Epsilon.parse("0.5")), "one")
        world.log(world.request(Action.SELF_READ, "aude"), "two")
        tokens = {"credential": world.id(CredentialId, "c"), "principal": world.id(PrincipalId, "tina")}
        return [
            *world.events,
            made.ApprovalGiven(
                approval=approval, dataset=world.snapshot.datasets[next(iter(world.snapshot.datasets))].id
            ),
            made.CredentialIssued(**tokens, until=UNTIL),
            made.CredentialRevoked(credential=tokens["credential"]),
        ]

    def test_every_event_survives_the_log(self, world: Any) -> None:
        """Written as canonical JSON and read strictly, each event is what it was."""
        registry, events = Registry(made.EVENTS), self.everything(world)
        assert {type(event) for event in events} == set(made.EVENTS)
        for event in events:
            data = canonical.encode(event.to_fields())
            fields = canonical.decode(data, limit=2**20, canonical=True)
            assert registry.decode(event.TYPE, event.VERSION, fields) == event

    def test_policy_events_are_those_with_an_epoch(self) -> None:
        """What the fold reads carries an epoch; beside decisions, which cite one, nothing else does."""
        with_epoch = {kind for kind in made.EVENTS if "epoch" in kind.__dataclass_fields__}
        assert with_epoch == {*made.POLICY_EVENTS, made.DecisionMade}
        assert all(issubclass(kind, made.PolicyEvent) for kind in made.POLICY_EVENTS)

    def test_types_are_noun_and_past_tense(self) -> None:
        """`noun:verbed`, each once."""
        types = [kind.TYPE for kind in made.EVENTS]
        assert len(set(types)) == len(types)
        assert all(name.split(":")[1].endswith(("ed", "made", "given", "set")) for name in types)

    def test_a_decision_is_logged_whole(self, world: Any) -> None:
        """Request, verdict, rule, reason, epoch, digests, grant and obligations are those of the answer."""
        decision = world.decide(world.submit("tina", "tumours"))
        event = recorded(decision)
        for name in ("decision", "request", "verdict", "rule", "reason", "epoch", "policy", "rules", "grant"):
            assert getattr(event, name) == getattr(decision, name)
        assert event.obligations == decision.obligations
        assert event.policy == world.snapshot.digest

    def test_a_request_with_an_unknown_member_is_not_read(self, world: Any) -> None:
        """A later version's fact must not be passed over when an older program replays."""
        fields = world.submit("tina", "tumours").to_fields()
        with pytest.raises(InvalidError):
            AccessRequest.from_fields(fields | {"weather": "fine"})
        with pytest.raises(InvalidError):
            AccessRequest.from_fields(fields | {"action": "job:steal"})

    def test_a_request_has_bounded_approvals_and_whole_seconds(self, world: Any) -> None:
        """Its size in the log is bounded, and its time is one that the log can hold."""
        too_many = (world.approval("otto"),) * (MOST_APPROVALS + 1)
        with pytest.raises(InvalidError):
            world.submit("tina", "tumours", approvals=too_many)
        with pytest.raises(InvalidError):
            world.submit("tina", "tumours", at=UNTIL.replace(microsecond=1))
