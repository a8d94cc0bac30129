"""History -> same decision? Anybody who holds the log asks each question again.

Rules
-----
1. Pure: events in, findings out. No clock, no gateway, no database.
2. Three answers. "Same" needs verdict, rule, reason, epoch, policy digest, grant and obligations to agree and each
   approval that was relied on to stand in the log as it was given. "Cannot tell" is never "same".
3. Order of the input does not matter: policy events order themselves by epoch, decisions are answered one by one.
4. A policy whose events have a gap, a duplicate, an unknown version or an event that breaks a rule is believed up
   to that point only. Where the policy is whole, a decision that cites a later epoch cites a policy that never was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.events import Event, UnknownEvent
from kernel.ids import ApprovalId, DecisionId, TenantId
from policies.approvals import Approval
from policies.decisions import recorded
from policies.enforcer import decide
from policies.events import ApprovalGiven, DecisionMade, PolicyEvent, TenantCreated
from policies.ruleset import RuleSet, rules_named
from policies.snapshot import PolicySnapshot


class Replayed(StrEnum):
    """What asking again showed."""

    SAME = "same"
    DIFFERENT = "different"
    CANNOT_TELL = "cannot-tell"


class Difference(StrEnum):
    """Why it is not the same, or cannot be told."""

    VERDICT = "verdict"
    REASON = "reason"
    RULE = "rule"
    EPOCH = "epoch"
    POLICY_DIGEST = "policy-digest"
    GRANT = "grant"
    OBLIGATIONS = "obligations"
    APPROVAL_NOT_LOGGED = "approval-not-logged"
    DECISION_TWICE = "decision-twice"
    POLICY_INCOMPLETE = "policy-incomplete"
    RULES_UNKNOWN = "rules-unknown"


_CANNOT_TELL = frozenset({Difference.POLICY_INCOMPLETE, Difference.RULES_UNKNOWN})


@dataclass(frozen=True, slots=True)
class ReplayedDecision:
    """One decision and what asking again showed.

    Attributes:
        stored: As the log has it.
        again: The answer now, if it could be asked.
        difference: The first that was found.
    """

    stored: DecisionMade
    again: DecisionMade | None
    difference: Difference | None

    @property
    def outcome(self) -> Replayed:
        """One of three."""
        if self.difference is None:
            return Replayed.SAME
        return Replayed.CANNOT_TELL if self.difference in _CANNOT_TELL else Replayed.DIFFERENT


@dataclass(frozen=True, slots=True)
class Replay:
    """The findings for one tenant.

    Attributes:
        decisions: In the order of the input.
        policy_events: How many policy events there were, those of unknown versions included.
        epoch: Up to which epoch the policy is whole and valid.
    """

    decisions: tuple[ReplayedDecision, ...]
    policy_events: int
    epoch: int

    @property
    def policy_whole(self) -> bool:
        """Whether every policy event could be folded."""
        return self.policy_events == self.epoch

    def counts(self) -> dict[Replayed, int]:
        """How many decisions had each outcome."""
        return {outcome: sum(d.outcome is outcome for d in self.decisions) for outcome in Replayed}


def replay(events: Iterable[Event | UnknownEvent]) -> Replay:
    """Ask every decision of a tenant's log again.

    Args:
        events: The tenant's events, all of them, in any order; those of other packages are passed over.
    """
    policy: dict[int, list[PolicyEvent]] = defaultdict(list)
    approvals: dict[ApprovalId, list[Approval]] = defaultdict(list)
    decisions: list[DecisionMade] = []
    held = list(events)
    for event in held:
        match event:
            case PolicyEvent():
                policy[event.epoch].append(event)
            case ApprovalGiven():
                approvals[event.approval.approval].append(event.approval)
            case DecisionMade():
                decisions.append(event)
            case _:
                pass
    unknown = sum(isinstance(event, UnknownEvent) and "epoch" in event.fields for event in held)
    history = _History(policy, unknown)
    again = {index: _again(decisions[index], history, approvals) for index in _by_epoch(decisions)}
    once = _named_once(decisions)
    return Replay(
        decisions=tuple(
            again[index] if made.decision in once else ReplayedDecision(made, None, Difference.DECISION_TWICE)
            for index, made in enumerate(decisions)
        ),
        policy_events=history.policy_events,
        epoch=history.whole_until,
    )


class _History:
    """The policy at each epoch, folded forward once for each rule set that was in force."""

    def __init__(self, policy: Mapping[int, list[PolicyEvent]], unknown: int) -> None:
        self._events = policy
        self.policy_events = unknown + sum(len(found) for found in policy.values())
        first = policy.get(1, [None])[0]
        self._tenant: TenantId | None = first.tenant if isinstance(first, TenantCreated) else None
        self._at: dict[Digest, PolicySnapshot] = {}
        self.whole_until = self._valid_until()

    def at(self, epoch: int, rules: RuleSet) -> PolicySnapshot | None:
        """The policy at that epoch; ask in rising order. `None` if it cannot be known."""
        if self._tenant is None or not 0 <= epoch <= self.whole_until:
            return None
        snapshot = self._at.get(rules.digest) or PolicySnapshot.empty(self._tenant, rules)
        due = range(snapshot.epoch + 1, epoch + 1)
        snapshot = snapshot.fold(self._events[number][0] for number in due) if due else snapshot
        self._at[rules.digest] = snapshot
        return snapshot

    def _valid_until(self) -> int:
        whole = 0
        while len(self._events.get(whole + 1, ())) == 1:
            whole += 1
        if self._tenant is None:
            return 0
        start = PolicySnapshot.empty(self._tenant)
        try:
            return start.fold(self._events[number][0] for number in range(1, whole + 1)).epoch
        except PrivgateError:
            return self._first_broken(start) - 1

    def _first_broken(self, snapshot: PolicySnapshot) -> int:
        while True:
            number = snapshot.epoch + 1
            try:
                snapshot = snapshot.apply(self._events[number][0])
            except PrivgateError:
                return number


def _again(made: DecisionMade, history: _History, approvals: Mapping[ApprovalId, list[Approval]]) -> ReplayedDecision:
    rules = rules_named(made.rules)
    if rules is None:
        return ReplayedDecision(made, None, Difference.RULES_UNKNOWN)
    snapshot = history.at(made.epoch, rules)
    if snapshot is None:
        whole = history.policy_events == history.whole_until
        return ReplayedDecision(made, None, Difference.EPOCH if whole else Difference.POLICY_INCOMPLETE)
    again = recorded(decide(snapshot, made.request, made.decision))
    return ReplayedDecision(made, again, _difference(made, again, approvals))


def _difference(
    made: DecisionMade, again: DecisionMade, approvals: Mapping[ApprovalId, list[Approval]]
) -> Difference | None:
    compared = (
        (Difference.POLICY_DIGEST, made.policy == again.policy),
        (Difference.VERDICT, made.verdict is again.verdict),
        (Difference.REASON, made.reason is again.reason),
        (Difference.RULE, made.rule == again.rule),
        (Difference.GRANT, made.grant == again.grant),
        (Difference.OBLIGATIONS, made.obligations == again.obligations),
        (Difference.APPROVAL_NOT_LOGGED, all(approvals.get(a.approval) == [a] for a in made.request.approvals)),
    )
    return next((difference for difference, same in compared if not same), None)


def _by_epoch(decisions: list[DecisionMade]) -> list[int]:
    return sorted(range(len(decisions)), key=lambda index: decisions[index].epoch)


def _named_once(decisions: list[DecisionMade]) -> frozenset[DecisionId]:
    seen: dict[DecisionId, int] = defaultdict(int)
    for made in decisions:
        seen[made.decision] += 1
    return frozenset(decision for decision, times in seen.items() if times == 1)
