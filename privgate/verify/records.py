"""Steps over the history alone: events, prices, budgets, decisions, permissions.

Rules
-----
1. Prices and balances come from `privacy.replay`, decisions from `policies.replay`; here they get their places.
2. Whoever acted on a permission cites the decision that gave it, and that decision was about this very act.
3. A change of policy or budget cites none; a decision that allowed it to whoever made it stands before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from audit.checkpoint import Checkpoint
from audit.events import LogExported, LogRead
from audit.findings import StepResult
from compliance import history as compliance
from compliance.checks.catalogue import CATALOGUE
from compliance.checks.check import Tally
from compliance.events import ReportIssued, ReportRead
from kernel.events import Event, UnknownEvent
from kernel.ids import Slug, TenantId
from policies.events import DecisionMade
from policies.replay import Replayed
from policies.replay import replay as replay_decisions
from policies.vocabulary import Action, Verdict
from privacy.events.blind import BlindRequested
from privacy.events.budget import BudgetCharged, BudgetReserved
from privacy.events.collections import CollectionRequested
from privacy.events.inferences import InferenceRequested
from privacy.events.jobs import JobRequested
from privacy.events.releases import ReleaseChecked, ReleaseFetched
from privacy.replay import Fault, Posted
from privacy.replay import Replay as LedgerReplay
from privacy.replay import replay as replay_ledgers
from privgate.verify.history import Entered, History, HistoryFindings, Malformed

ENACTED = Slug("policy.enacted")
PRICES = frozenset({Fault.UNDERPRICED, Fault.OVERPRICED})


def check_events(history: History) -> StepResult:
    """Every entry says something that this program understands."""
    findings = HistoryFindings("Events", history)
    for entered in history.entries:
        if isinstance(entered.event, UnknownEvent):
            findings.unclear(
                entered.file, "an event of a kind or version that this program does not know", entered.index
            )
        elif isinstance(entered.event, Malformed):
            findings.wrong(entered.file, f"{entered.event.type}: {entered.event.why}", entered.index)
    return findings.result(f"all {len(history.entries)} entries are events of known kinds")


@dataclass(frozen=True, slots=True)
class Ledgers:
    """The ledgers of a history, folded, and the two steps that come of it."""

    replay: LedgerReplay
    steps: tuple[StepResult, StepResult]


def check_ledgers(history: History) -> Ledgers:
    """Recompute every price; hold every prefix of every ledger against its capacity."""
    events = [e for e in history.entries if isinstance(e.event, Event)]
    replay = replay_ledgers(Posted(index=e.index, at=e.at, event=e.event) for e in events if isinstance(e.event, Event))
    prices, budgets = HistoryFindings("Prices", history), HistoryFindings("Budgets", history)
    files = {entered.index: entered.file for entered in history.entries}
    for found in replay.findings:
        findings = prices if found.fault in PRICES else budgets
        what = f"{found.fault} ({found.population}, number {found.ledger_seq} of its ledger)"
        findings.wrong(files[found.index], what, found.index)
    priced = sum(len(e.event.holds) for e in history.of(BudgetReserved))
    priced += sum(len(e.event.charges) for e in history.of(BudgetCharged))
    count = len(replay.ledgers)
    return Ledgers(
        replay,
        (
            prices.result(f"{priced} prices were computed again from their mechanisms' parameters"),
            budgets.result(
                f"{replay.checked} budget events: every prefix of {count} ledger(s) stays within its capacity"
            ),
        ),
    )


def check_decisions(history: History) -> StepResult:
    """Ask every decision of the log again."""
    findings = HistoryFindings("Decisions", history)
    replay = replay_decisions(e.event for e in history.entries if isinstance(e.event, Event | UnknownEvent))
    for entered, again in zip(history.of(DecisionMade), replay.decisions, strict=True):
        if again.outcome is Replayed.DIFFERENT:
            findings.wrong(
                entered.file, f"asked again, the policy answers otherwise: {again.difference}", entered.index
            )
        elif again.outcome is Replayed.CANNOT_TELL:
            findings.unclear(entered.file, f"it cannot be asked again: {again.difference}", entered.index)
    if not replay.policy_whole:
        findings.wrong("audit/payloads", f"the policy's history is broken after epoch {replay.epoch}")
    return findings.result(f"{len(replay.decisions)} decisions, asked again at their epochs, are the same")


def check_permissions(history: History, tenant: TenantId | None, checkpoint: Checkpoint) -> StepResult:
    """Every act that needs a permission rests on a decision that gave it for this act."""
    findings = HistoryFindings("Permissions", history)
    cited = 0
    for entered in history.entries:
        check = _CITING.get(type(entered.event))
        for problem in check(history, entered) if check else ():
            findings.wrong(entered.file, problem, entered.index)
        cited += check is not None
    changes = Tally()
    if tenant is None:
        findings.unclear("audit/archive.json", "nothing says whose history this is")
    else:
        CATALOGUE[ENACTED].look(_for_compliance(history, tenant, checkpoint), changes)
    files = {entered.index: entered.file for entered in history.entries}
    for found in changes.wrong:
        findings.wrong(files.get(found.entry or 0, ""), found.what, found.entry)
    return findings.result(
        f"{cited} acts cite the decision that allowed them, and one stands before each of {changes.looked_at} changes"
    )


def _for_compliance(history: History, tenant: TenantId, checkpoint: Checkpoint) -> compliance.History:
    """The same entries, as the checks of a report read them."""
    return compliance.History(
        tenant=tenant,
        origin=checkpoint.origin,
        from_size=0,
        until_size=checkpoint.size,
        root=checkpoint.root,
        entries=tuple(
            compliance.Entered(e.index, e.at, e.actor, None, e.leaf, e.event)
            for e in history.entries
            if not isinstance(e.event, Malformed)
        ),
        steps=(),
    )


def _allowed(history: History, entered: Entered[Event], action: Action, **facts: object) -> Iterator[str]:
    decision = history.decision(entered.event.decision)  # type: ignore[attr-defined]  # every citing event has one
    if decision is None:
        yield "it cites a decision that is not in the log"
    elif decision.verdict is Verdict.DENY:
        yield "it cites a decision that denied it"
    elif decision.request.action is not action:
        yield "it cites a decision about something else"
    elif any(getattr(decision.request, name) != value for name, value in facts.items()):
        yield "it cites a decision about another object"


def _reserved(history: History, entered: Entered[BudgetReserved]) -> Iterator[str]:
    event = entered.event
    yield from _allowed(
        history, entered, Action.JOB_SUBMIT, job=event.job, principal=event.principal, request_digest=event.request
    )
    decision = history.by_leaf.get(event.decision_leaf)
    if decision is None or getattr(decision.event, "decision", None) != event.decision:
        yield "the leaf that it cites is not that decision"
    elif isinstance(decision.event, DecisionMade):
        made = decision.event
        if made.verdict is not Verdict.ALLOW:
            yield "it rests on a decision that still awaited an approval"
        if made.grant != event.grant:
            yield "it names another grant than the decision"


def _requested(
    history: History, entered: Entered[JobRequested | CollectionRequested | InferenceRequested | BlindRequested]
) -> Iterator[str]:
    event = entered.event
    yield from _allowed(
        history, entered, Action.JOB_SUBMIT, job=event.job, dataset=event.dataset, request_digest=event.request
    )


def _checked(history: History, entered: Entered[ReleaseChecked]) -> Iterator[str]:
    event = entered.event
    yield from _allowed(history, entered, Action.RELEASE_CHECK, release=event.release)
    decision = history.decision(event.decision)
    if decision is not None and event.automatic != (decision.request.principal is None):
        yield "it does not say truly whether a person looked"


def _fetched(history: History, entered: Entered[ReleaseFetched]) -> Iterator[str]:
    yield from _allowed(history, entered, Action.RELEASE_FETCH, release=entered.event.release)


def _read(history: History, entered: Entered[LogRead]) -> Iterator[str]:
    yield from _allowed(history, entered, Action.LOG_READ)


def _exported(history: History, entered: Entered[LogExported]) -> Iterator[str]:
    yield from _allowed(history, entered, Action.LOG_EXPORT)


def _issued(history: History, entered: Entered[ReportIssued]) -> Iterator[str]:
    yield from _allowed(history, entered, Action.REPORT_ISSUE)


def _shown(history: History, entered: Entered[ReportRead]) -> Iterator[str]:
    yield from _allowed(history, entered, Action.REPORT_READ)


_CITING: dict[type, Callable[[History, Entered], Iterator[str]]] = {  # type: ignore[type-arg]  # each its own kind
    BudgetReserved: _reserved,
    JobRequested: _requested,
    CollectionRequested: _requested,
    InferenceRequested: _requested,
    BlindRequested: _requested,
    ReleaseChecked: _checked,
    ReleaseFetched: _fetched,
    LogRead: _read,
    LogExported: _exported,
    ReportIssued: _issued,
    ReportRead: _shown,
}
