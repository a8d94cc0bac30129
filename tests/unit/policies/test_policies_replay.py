"""Anybody with the log asks every question again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kernel.amounts import Epsilon, Share
from kernel.events import Event, UnknownEvent
from kernel.ids import DecisionId, GrantId, PrincipalId, Slug, TenantId
from policies import events as made
from policies import replay as module
from policies.replay import Difference, Replayed, replay
from policies.ruleset import rule_set
from policies.vocabulary import Action, ApprovalVerdict, Reason, Role, Sensitivity, Verdict


@pytest.fixture
def history(world: Any) -> list[Event]:
    """A clinic's year: decisions between changes of policy, among them waiting, approved and automatic ones."""
    world.log(world.submit("tina", "tumours"), "allowed")
    world.log(world.submit("paul", "tumours"), "no grant")
    world.log(world.request(Action.SELF_READ, "mia"), "reading")
    world.dataset("genomes", "otto", sensitivity=Sensitivity.RESTRICTED)
    world.grant("genomes", "tina", "genomes")
    world.log(world.submit("tina", "genomes"), "waiting")
    approval = world.approval("otto")
    dataset = world.submit("tina", "genomes").dataset
    world.events.append(made.ApprovalGiven(approval=approval, dataset=dataset))
    world.log(world.submit("tina", "genomes", approvals=(approval,)), "approved")
    world.apply(made.GrantRevoked, grant=world.id(GrantId, "first"))
    world.log(world.submit("tina", "tumours"), "revoked")
    world.log(world.request(Action.RELEASE_CHECK, None, dataset="tumours", requester="tina", grant="genomes",
                            epsilon=Epsilon.parse("1")), "automatic")  # fmt: skip
    world.purpose("care")
    world.log(world.request(Action.LOG_READ, "aude"), "audit")
    events: list[Event] = world.events
    return events


def flipped(history: list[Event], world: Any, name: str, **change: Any) -> list[Event]:
    """The history with one decision changed."""
    named = world.id(DecisionId, name)
    return [
        replace(event, **change) if isinstance(event, made.DecisionMade) and event.decision == named else event
        for event in history
    ]


def differences(history: list[Event]) -> set[tuple[Replayed, Difference | None]]:
    """All outcomes but "same"."""
    found = replay(history).decisions
    return {(d.outcome, d.difference) for d in found if d.outcome is not Replayed.SAME}


def test_an_honest_history_replays_the_same(history: list[Event]) -> None:
    """Every decision, whatever it was and whenever, comes out as it went in."""
    found = replay(history)
    assert found.counts() == {Replayed.SAME: 8, Replayed.DIFFERENT: 0, Replayed.CANNOT_TELL: 0}
    assert found.policy_whole
    assert {d.stored.verdict for d in found.decisions} == set(Verdict)


def test_the_order_of_the_log_does_not_matter(history: list[Event]) -> None:
    """Epochs order the policy; where an entry stands in the log decides nothing."""
    found = replay(list(reversed(history)))
    assert found.counts()[Replayed.SAME] == 8
    assert [d.stored for d in found.decisions] == [e for e in reversed(history) if isinstance(e, made.DecisionMade)]


@pytest.mark.parametrize(
    "name", ["allowed", "no grant", "reading", "waiting", "approved", "revoked", "automatic", "audit"]
)
class TestFlips:
    """One changed member of one stored decision is found."""

    def stored(self, history: list[Event], world: Any, name: str) -> made.DecisionMade:
        """The decision of that name."""
        named = world.id(DecisionId, name)
        return next(e for e in history if isinstance(e, made.DecisionMade) and e.decision == named)

    def test_verdict(self, history: list[Event], world: Any, name: str) -> None:
        """Any other verdict is different."""
        for other in set(Verdict) - {self.stored(history, world, name).verdict}:
            assert differences(flipped(history, world, name, verdict=other)) == {
                (Replayed.DIFFERENT, Difference.VERDICT)
            }

    def test_reason(self, history: list[Event], world: Any, name: str) -> None:
        """Any other reason is different."""
        for other in set(Reason) - {self.stored(history, world, name).reason}:
            assert differences(flipped(history, world, name, reason=other)) == {(Replayed.DIFFERENT, Difference.REASON)}

    def test_rule(self, history: list[Event], world: Any, name: str) -> None:
        """Another rule is different, also one that would have allowed as well."""
        for other in ("owner/job.read", "check/basis"):
            found = differences(flipped(history, world, name, rule=Slug(other)))
            assert found == {(Replayed.DIFFERENT, Difference.RULE)}

    def test_epoch(self, history: list[Event], world: Any, name: str) -> None:
        """Any other epoch is different, also one at which the answer would have been the same."""
        right = self.stored(history, world, name).epoch
        for other in {*range(world.snapshot.epoch + 3)} - {right}:
            (found,) = differences(flipped(history, world, name, epoch=other))
            assert found[0] is Replayed.DIFFERENT
            assert found[1] in (Difference.POLICY_DIGEST, Difference.EPOCH)

    def test_policy_digest(self, history: list[Event], world: Any, name: str) -> None:
        """A digest of another history is different."""
        found = differences(flipped(history, world, name, policy=world.digest("another policy")))
        assert found == {(Replayed.DIFFERENT, Difference.POLICY_DIGEST)}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"grant": None}, Difference.GRANT),
        ({"obligations": None}, Difference.OBLIGATIONS),
    ],
)
def test_what_an_answer_bound_to_cannot_be_changed(
    history: list[Event], world: Any, change: dict[str, Any], expected: Difference
) -> None:
    """A lost grant or a loosened obligation is different."""
    assert differences(flipped(history, world, "allowed", **change)) == {(Replayed.DIFFERENT, expected)}
    stored = next(e for e in history if isinstance(e, made.DecisionMade))
    assert stored.obligations is not None
    wider = replace(stored.obligations, trainer_share=Share.parse("0.9"))
    assert differences(flipped(history, world, "allowed", obligations=wider)) == {
        (Replayed.DIFFERENT, Difference.OBLIGATIONS)
    }


def test_a_changed_request_changes_the_answer(history: list[Event], world: Any) -> None:
    """A fact rewritten after the event no longer leads to the stored answer."""
    asked = world.submit("paul", "tumours")
    assert differences(flipped(history, world, "allowed", request=asked))
    elsewhere = replace(world.submit("tina", "tumours"), tenant=world.id(TenantId, "other"))
    assert differences(flipped(history, world, "allowed", request=elsewhere))


def test_an_approval_must_stand_in_the_log_as_given(history: list[Event], world: Any) -> None:
    """Left out, changed, or given twice: the decision that used it does not hold."""
    without = [event for event in history if not isinstance(event, made.ApprovalGiven)]
    assert differences(without) == {(Replayed.DIFFERENT, Difference.APPROVAL_NOT_LOGGED)}
    changed = [
        replace(event, approval=replace(event.approval, verdict=ApprovalVerdict.REFUSED))
        if isinstance(event, made.ApprovalGiven)
        else event
        for event in history
    ]
    assert differences(changed) == {(Replayed.DIFFERENT, Difference.APPROVAL_NOT_LOGGED)}
    twice = [*history, *(event for event in history if isinstance(event, made.ApprovalGiven))]
    assert differences(twice) == {(Replayed.DIFFERENT, Difference.APPROVAL_NOT_LOGGED)}


def test_a_missing_policy_event_cannot_be_told_past(history: list[Event], world: Any) -> None:
    """Decisions before the gap still replay; later ones are "cannot tell", never "same"."""
    gap = next(e for e in history if isinstance(e, made.DatasetRegistered) and e.epoch > 20)
    found = replay([event for event in history if event is not gap])
    assert not found.policy_whole
    assert found.epoch == gap.epoch - 1
    assert found.counts() == {Replayed.SAME: 3, Replayed.DIFFERENT: 0, Replayed.CANNOT_TELL: 5}


def test_two_events_of_one_epoch_cannot_be_told_apart(history: list[Event]) -> None:
    """Neither is believed, and nothing after them."""
    last = max((e for e in history if isinstance(e, made.PolicyEvent)), key=lambda e: e.epoch)
    rival = made.PurposeDefined(epoch=last.epoch, purpose=Slug("rival"))
    assert differences([*history, rival]) == {(Replayed.CANNOT_TELL, Difference.POLICY_INCOMPLETE)}


def test_an_event_that_breaks_a_rule_ends_what_is_believed(history: list[Event], world: Any) -> None:
    """A forged role that separation of duties forbids was never policy."""
    end = world.snapshot.epoch
    forged = made.RoleAssigned(epoch=end + 1, principal=world.id(PrincipalId, "aude"), role=Role.OWNER)
    after = made.PurposeDefined(epoch=end + 2, purpose=Slug("after"))
    found = replay([*history, forged, after])
    assert (found.epoch, found.policy_events) == (end, end + 2)
    assert found.counts()[Replayed.SAME] == 8
    cites = flipped([*history, forged, after], world, "audit", epoch=end + 2)
    assert differences(cites) == {(Replayed.CANNOT_TELL, Difference.POLICY_INCOMPLETE)}


def test_an_event_of_a_later_version_is_not_passed_over(history: list[Event], world: Any) -> None:
    """A newer policy event that this program cannot read: what cites its epoch cannot be told."""
    end = world.snapshot.epoch
    unknown = UnknownEvent("grant:created", 2, {"epoch": end + 1})
    found = replay([*history, unknown])
    assert not found.policy_whole
    cites = flipped([*history, unknown], world, "audit", epoch=end + 1)
    assert differences(cites) == {(Replayed.CANNOT_TELL, Difference.POLICY_INCOMPLETE)}


def test_a_decision_logged_twice_is_different(history: list[Event]) -> None:
    """A decision has one entry; two with one name are a forgery or a fault."""
    again = next(event for event in history if isinstance(event, made.DecisionMade))
    found = replay([*history, again])
    assert found.counts() == {Replayed.SAME: 7, Replayed.DIFFERENT: 2, Replayed.CANNOT_TELL: 0}


def test_another_rule_set_is_cannot_tell_until_it_is_kept(
    history: list[Event], world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision of an unknown rule set is "cannot tell"; with that rule set at hand it is asked under it."""
    text = "role,action,object,relation,sensitivity,layer,effect,rule\n"
    text += "auditor,log:read,tenant,any,restricted,role,allow,auditor/may-read-the-log\n"
    older = rule_set(text)
    by_older = flipped(history, world, "audit", rules=older.digest, rule=Slug("auditor/may-read-the-log"))
    assert differences(by_older) == {(Replayed.CANNOT_TELL, Difference.RULES_UNKNOWN)}
    known = module.rules_named
    monkeypatch.setattr(module, "rules_named", lambda digest: older if digest == older.digest else known(digest))
    assert differences(by_older) == set()
    assert differences(flipped(by_older, world, "audit", rule=Slug("auditor/log.read"))) == {
        (Replayed.DIFFERENT, Difference.RULE)
    }


def test_nothing_to_replay_is_not_a_pass() -> None:
    """An empty log has no decisions and no whole policy to boast of: zero of each."""
    found = replay([])
    assert (found.decisions, found.policy_events, found.epoch) == ((), 0, 0)
    assert set(found.counts().values()) == {0}
