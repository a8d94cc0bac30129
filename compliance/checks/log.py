"""Checks of the log itself: whole, gapless, readable, in order, and read by nobody in silence.

They ask what the archive alone can answer. Whether the checkpoint is signed by a key that the reader pinned is asked
by the log verifier, which has the trust file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from audit.entry import Actor
from audit.events import LogExported, LogRead
from audit.findings import StepResult, Verdict
from compliance.checks.check import Check, Source, Tally
from compliance.events import ReportIssued, ReportRead
from compliance.history import History, Malformed
from kernel.events import Event, UnknownEvent
from kernel.ids import DecisionId, PrincipalId, Slug
from policies.events import DecisionMade, PolicyEvent, PrincipalEnrolled, RoleAssigned, RoleRemoved
from policies.vocabulary import Action
from policies.vocabulary import Verdict as Answer

FILES, TREE, LEAVES, COUNTER, PAYLOADS = 2, 5, 6, 7, 8
"""Numbers of the log verifier's steps, see `audit.verify`."""

TOLERANCE = timedelta(minutes=1)
PERMITTED_BY: Mapping[type[Event], Action] = {
    LogRead: Action.LOG_READ,
    LogExported: Action.LOG_EXPORT,
    ReportIssued: Action.REPORT_ISSUE,
    ReportRead: Action.REPORT_READ,
}
"""Readings of the record, and what permits each."""

READS = (LogRead, LogExported, ReportIssued, ReportRead)


def _chain(history: History, tally: Tally) -> None:
    tally.look(history.until_size - history.from_size)
    _steps(history, tally, (FILES, TREE, LEAVES))


def _complete(history: History, tally: Tally) -> None:
    tally.look(sum(entered.index >= history.from_size for entered in history.entries))
    _steps(history, tally, (COUNTER, PAYLOADS))


def _known(history: History, tally: Tally) -> None:
    for entered in history.entries:
        if entered.index < history.from_size:
            continue
        tally.look()
        if isinstance(entered.event, Malformed):
            tally.fault("an event whose fields break their kinds", entered)
        elif isinstance(entered.event, UnknownEvent):
            tally.cannot_tell("an event of a kind or version that this program does not know", entered)


def _clock(history: History, tally: Tally) -> None:
    latest = None
    for entered in history.entries:
        tally.look(entered.index >= history.from_size)
        if latest is not None and latest - entered.at > TOLERANCE and entered.index >= history.from_size:
            tally.fault("more than a minute earlier than an entry before it", entered)
        latest = entered.at if latest is None else max(latest, entered.at)


def _actors(history: History, tally: Tally) -> None:
    roles = _Roles(history)
    for entered in history.entries:
        who, event = entered.actor.principal, entered.event
        roles.reached(event)
        if who is None or entered.index < history.from_size:
            continue
        tally.look()
        held = roles.at(_epoch(history, event), who)
        if held is None:
            # Somebody unknown may ask, and is refused; but nobody unknown ever does anything else.
            tally.demand(_refused(event), "by a principal who had not enrolled", entered)
        else:
            tally.demand(set(entered.actor.roles) == held, "roles that its principal did not hold then", entered)


class _Roles:
    """Who held which roles at which policy epoch. Epochs order it, as everywhere: a reading may be logged later."""

    def __init__(self, history: History) -> None:
        self._changes: dict[PrincipalId, list[tuple[int, frozenset[str]]]] = {}
        self._newest = 0
        for entered in sorted(history.of(PolicyEvent), key=lambda entered: entered.event.epoch):
            self._follow(entered.event)

    def reached(self, event: object) -> None:
        """Move on in the log: what names no epoch is of the newest one."""
        if isinstance(event, PolicyEvent):
            self._newest = max(self._newest, event.epoch)

    def at(self, epoch: int | None, who: PrincipalId) -> frozenset[str] | None:
        """The roles then; nothing before the principal enrolled."""
        until = self._newest if epoch is None else epoch
        return next((held for since, held in reversed(self._changes.get(who, [])) if since <= until), None)

    def _follow(self, event: PolicyEvent) -> None:
        match event:
            case PrincipalEnrolled(principal=principal):
                self._put(principal, event.epoch, frozenset())
            case RoleAssigned(principal=principal, role=role):
                self._put(principal, event.epoch, self._last(principal) | {role.value})
            case RoleRemoved(principal=principal, role=role):
                self._put(principal, event.epoch, self._last(principal) - {role.value})
            case _:
                pass

    def _put(self, who: PrincipalId, epoch: int, roles: frozenset[str]) -> None:
        self._changes.setdefault(who, []).append((epoch, roles))

    def _last(self, who: PrincipalId) -> frozenset[str]:
        return self._changes[who][-1][1] if who in self._changes else frozenset()


def _epoch(history: History, event: object) -> int | None:
    """The policy that an entry was made under, if it says so: its own, or that of the decision that it names."""
    if isinstance(event, PolicyEvent):
        return event.epoch - 1
    if isinstance(event, DecisionMade):
        return event.epoch
    cited = getattr(event, "decision", None)
    decision = history.decisions.get(cited) if isinstance(cited, DecisionId) else None
    return None if decision is None else decision.event.epoch


def _refused(event: object) -> bool:
    return isinstance(event, DecisionMade) and event.verdict is Answer.DENY


def _readings(history: History, tally: Tally) -> None:
    """Every reading of the record follows from leave to read, and every leave to export was followed by its entry."""
    shown = {e.event.decision for e in history.of(Event) if isinstance(e.event, READS)}
    for entered in history.judged(Event):
        event = entered.event
        if isinstance(event, READS):
            tally.look()
            decision = history.decisions.get(event.decision)
            fine = (
                decision is not None and decision.index < entered.index and _lets(decision.event, event, entered.actor)
            )
            tally.demand(fine, "a reading that no decision before it allows", entered)
        elif isinstance(event, DecisionMade) and event.request.action is Action.LOG_EXPORT:
            tally.look()
            silent = event.verdict is Answer.ALLOW and event.decision not in shown
            tally.demand(not silent, "leave to export the log, and no entry that says what was exported", entered)


def _lets(made: DecisionMade, event: Event, actor: Actor) -> bool:
    allowed = made.verdict is Answer.ALLOW and made.request.action is PERMITTED_BY[type(event)]
    return allowed and made.request.principal == actor.principal


def _steps(history: History, tally: Tally, numbers: tuple[int, ...]) -> None:
    for step in history.steps:
        if step.number in numbers:
            _step(step, tally)


def _step(step: StepResult, tally: Tally) -> None:
    note = tally.fault if step.verdict is Verdict.NOT_OK else tally.cannot_tell
    if step.verdict is Verdict.OK:
        return
    note(f"the log verifier's step {step.number} ({step.title}) is {step.verdict.value}")


CHECKS = (
    Check(
        id=Slug("log.chain"),
        title="The log is one unaltered tree",
        question="Every tile and the root of the tree follow from the entries, and each entry is well formed.",
        sources=(Source.LOG,),
        look=_chain,
    ),
    Check(
        id=Slug("log.complete"),
        title="No entry is missing",
        question="The tenant's entries are numbered without a gap, and each of them could be opened.",
        sources=(Source.LOG,),
        look=_complete,
    ),
    Check(
        id=Slug("log.known"),
        title="Every entry could be read",
        question="Each entry is an event of a known kind whose fields are of their kinds.",
        sources=(Source.LOG,),
        look=_known,
    ),
    Check(
        id=Slug("log.clock"),
        title="The clock did not run backwards",
        question="No entry is more than a minute earlier than one before it.",
        sources=(Source.LOG,),
        look=_clock,
    ),
    Check(
        id=Slug("log.actors"),
        title="Every act has an actor with the roles held then",
        question="Whoever acted was enrolled, and the roles in the entry are those that the policy gave then.",
        sources=(Source.LOG, Source.POLICY),
        look=_actors,
    ),
    Check(
        id=Slug("log.readings"),
        title="Reading the record is on record",
        question="Each reading or export of the log or of a report was decided before, and each export that was "
        "allowed left its entry.",
        sources=(Source.LOG, Source.DECISIONS),
        look=_readings,
    ),
)
