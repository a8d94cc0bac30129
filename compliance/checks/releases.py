"""Checks of releases: each paid for, each let go by its desk, each fetched by leave, and exact results named."""

from __future__ import annotations

from compliance.certificates import certified
from compliance.checks.budgets import ledgers
from compliance.checks.check import Check, Source, Tally
from compliance.history import Entered, History, first_of
from kernel.errors import PrivgateError
from kernel.events import Event
from kernel.ids import ReleaseId, Slug
from policies.vocabulary import Action, Verdict
from privacy.events.blind import BlindConcluded
from privacy.events.budget import BudgetCharged, PopulationUncovered
from privacy.events.inferences import QuestionAnswered
from privacy.events.jobs import JobEnd, JobEnded
from privacy.events.releases import (
    RELEASE_EVENTS,
    ReleaseChecked,
    ReleaseFetched,
    ReleaseHeld,
    ReleasePublished,
    ReleaseRecalled,
    ReleaseRefused,
)
from privacy.release.desk import AFTER_VERDICT, DeskVerdict, ReleaseState, move


def _charged(history: History, tally: Tally) -> None:
    """Releases and finished jobs answer each other one to one, and each pair has its charge."""
    charged, ended = history.about("job", BudgetCharged), history.about("job", JobEnded)
    marked = history.about("job", PopulationUncovered)
    answered, kept = history.about("job", QuestionAnswered), history.about("job", BlindConcluded)
    held = history.about("job", ReleaseHeld)
    for entered in history.judged(ReleaseHeld):
        tally.look()
        job = entered.event.job
        charge, end = first_of(charged.get(job)), first_of(ended.get(job))
        mark = first_of(marked.get(job))
        answer, word = first_of(answered.get(job)), first_of(kept.get(job))
        paid = any(entry is not None and entry.index < entered.index for entry in (charge, mark, answer, word))
        tally.demand(
            paid,
            "a release without a charge, a mark of its disclosure, a model that gave it, or its owner's word that he "
            "has it alone, before it",
            entered,
            entered.event.release,
        )
        finished = end is not None and end.event.end is JobEnd.FINISHED
        tally.demand(finished, "a release of a job that did not finish", entered, entered.event.release)
        tally.demand(len(held[job]) == 1, "one job, two releases", entered, job)
    for over in history.judged(JobEnded):
        if over.event.end is JobEnd.FINISHED:
            tally.look()
            tally.demand(over.event.job in held, "a job finished and its result was never held", over, over.event.job)


def _desk(history: History, tally: Tally) -> None:
    """Every release moves as the desk may move it, and what is published is what was held."""
    states: dict[ReleaseId, ReleaseState] = {}
    held: dict[ReleaseId, ReleaseHeld] = {}
    verdicts: dict[ReleaseId, DeskVerdict] = {}
    for entered in history.of(Event):
        event = entered.event
        if not isinstance(event, RELEASE_EVENTS):
            continue
        tally.look(entered.index >= history.from_size)
        match event:
            case ReleaseHeld():
                tally.demand(event.release not in states, "held twice", entered, event.release)
                states[event.release], held[event.release] = ReleaseState.HELD, event
            case ReleaseChecked():
                verdicts[event.release] = event.verdict
            case ReleasePublished():
                known = held.get(event.release)
                same = known is not None and (known.job, known.artifact, known.certificate) == (
                    event.job, event.artifact, event.certificate,
                )  # fmt: skip
                tally.demand(same, "what was published is not what was held", entered, event.release)
                _move(states, verdicts, tally, entered, ReleaseState.RELEASED)
            case ReleaseRefused():
                _move(states, verdicts, tally, entered, ReleaseState.REFUSED)
            case ReleaseRecalled():
                _move(states, verdicts, tally, entered, ReleaseState.RECALLED)
            case ReleaseFetched():
                open_ = states.get(event.release) is ReleaseState.RELEASED
                tally.demand(open_, "fetched while it was not released", entered, event.release)


def _move(
    states: dict[ReleaseId, ReleaseState],
    verdicts: dict[ReleaseId, DeskVerdict],
    tally: Tally,
    entered: Entered[Event],
    after: ReleaseState,
) -> None:
    release: ReleaseId = getattr(entered.event, "release")  # noqa: B009 - one of several classes that have it
    before, verdict = states.get(release), verdicts.get(release)
    if after is not ReleaseState.RECALLED:
        said = verdict is not None and AFTER_VERDICT[verdict] is after
        tally.demand(said, "no door-keeper said this", entered, release)
    try:
        states[release] = move(before, after) if before is not None else _unheld()
    except PrivgateError:
        tally.fault("a move that the desk does not have", entered, release)
        states[release] = after


def _unheld() -> ReleaseState:
    return move(ReleaseState.REFUSED, ReleaseState.RELEASED)  # there is no such move: it raises


def _fetched(history: History, tally: Tally) -> None:
    for entered in history.judged(ReleaseFetched):
        tally.look()
        decision = history.decisions.get(entered.event.decision)
        if decision is None or decision.index > entered.index:
            tally.fault("handed out without a decision before it", entered, entered.event.release)
            continue
        made, asked = decision.event, decision.event.request
        allowed = made.verdict is Verdict.ALLOW and asked.action is Action.RELEASE_FETCH
        same = asked.release == entered.event.release and asked.principal == entered.actor.principal
        tally.demand(allowed and same, "the decision does not allow this", entered, entered.event.release)


def _exact(history: History, tally: Tally) -> None:
    """A certificate names the exact results that left before it, or that none did."""
    folded = ledgers(history).ledgers
    for found in certified(history).values():
        if found.held.index < history.from_size:
            continue
        if found.disclosure is not None:
            tally.look()
            for site in found.disclosure.predicate.sites:
                ledger = folded.get(site.population)
                since = None if ledger is None else ledger.account.uncovered_since
                said = site.uncovered_since == since
                tally.demand(said, "an exact result left, and not from when it says", found.held, site.population)
            continue
        if found.noised is not None:
            tally.look()
            for part in found.noised.predicate.sites:
                ledger = folded.get(part.population.id)
                since = None if ledger is None else ledger.account.uncovered_since
                due = since if since is not None and since <= part.guarantee.ledger_seq else None
                said = part.uncovered_since == due
                tally.demand(said, "exact results left, and the certificate does not say so", found.held, part.dataset)
            continue
        if found.inference is not None:
            tally.look()
            asked = found.inference.predicate.model
            ledger = folded.get(asked.population)
            since = None if ledger is None else ledger.account.uncovered_since
            due = since if since is not None and since <= asked.ledger_seq else None
            said = asked.uncovered_since == due
            tally.demand(said, "exact results left, and the certificate does not say so", found.held, asked.release)
            continue
        if found.blind is not None:
            continue  # it promises nothing to anybody, and says so
        if found.certificate is None:
            tally.cannot_tell("a certificate that is missing or cannot be read", found.held, found.held.event.release)
            continue
        tally.look()
        stated = found.certificate.predicate
        ledger = folded.get(stated.population.id)
        since = None if ledger is None else ledger.account.uncovered_since
        due = since if since is not None and since <= stated.guarantee.ledger_seq else None
        tally.demand(
            stated.uncovered_since == due,
            "exact results left, and the certificate does not say so",
            found.held,
            stated.release,
        )


CHECKS = (
    Check(
        id=Slug("releases.charged"),
        title="No release without a charge",
        question="Each release belongs to one job that finished and was charged before, and each job that finished has "
        "its release.",
        sources=(Source.RELEASES, Source.LEDGER, Source.JOBS),
        look=_charged,
    ),
    Check(
        id=Slug("releases.desk"),
        title="Nothing left before its door-keeper said so",
        question="Each release moved only as the desk may move it, what was published is what was held, and nothing "
        "was fetched that was not released.",
        sources=(Source.RELEASES,),
        look=_desk,
    ),
    Check(
        id=Slug("releases.fetched"),
        title="Each hand-out was decided",
        question="Whoever received a part of a release had been allowed to, and the log names the part.",
        sources=(Source.RELEASES, Source.DECISIONS),
        look=_fetched,
    ),
    Check(
        id=Slug("releases.exact"),
        title="Exact results are named",
        question="Each certificate tells from which number of the ledger on exact results left its population, if any "
        "did.",
        sources=(Source.RELEASES, Source.CERTIFICATES, Source.LEDGER),
        look=_exact,
    ),
)
