"""Checks of the ledgers: conserved at every prefix, priced, capped, and refused with reason.

The fold and all prices are those of `privacy.replay`; here they are asked for and sorted.
"""

from __future__ import annotations

from compliance.checks.check import Check, Source, Tally
from compliance.history import Entered, History
from kernel.events import Event
from kernel.ids import Slug
from privacy.events.budget import BudgetCharged, BudgetEvent, BudgetRefused, BudgetReserved, PopulationCreated
from privacy.events.choices import BudgetChosen
from privacy.replay import Fault, Posted, Replay, replay

CONSERVED = frozenset(
    {
        Fault.UNOPENED,
        Fault.GAP,
        Fault.REPEATED,
        Fault.ILLEGAL,
        Fault.OVERDRAWN,
        Fault.TWO_HOMES,
        Fault.WRONG_BLOCK,
        Fault.PART,
        Fault.EARLY,
        Fault.LATE,
    }
)
PRICED = frozenset({Fault.BUDGET, Fault.UNDERPRICED, Fault.OVERPRICED, Fault.ODDS})
CAPPED = frozenset({Fault.OVER_CAP})
REFUSED = frozenset({Fault.REFUSAL})


def ledgers(history: History) -> Replay:
    """Every ledger of the history, folded and checked; folded once."""
    known = history.memo.get("ledgers")
    if not isinstance(known, Replay):
        known = replay(Posted(index=e.index, at=e.at, event=e.event) for e in history.of(Event))
        history.memo["ledgers"] = known
    return known


def _conserved(history: History, tally: Tally) -> None:
    # Faults count from the first number on: a period's balance is what all before it left.
    tally.look(len(history.judged(BudgetEvent)))
    _note(history, tally, CONSERVED)


def _priced(history: History, tally: Tally) -> None:
    for kind in (PopulationCreated, BudgetChosen, BudgetReserved, BudgetCharged):
        tally.look(len(history.judged(kind)))
    _note(history, tally, PRICED)


def _capped(history: History, tally: Tally) -> None:
    tally.look(len(history.judged(BudgetReserved)))
    _note(history, tally, CAPPED)


def _refused(history: History, tally: Tally) -> None:
    tally.look(len(history.judged(BudgetRefused)))
    _note(history, tally, REFUSED)


def _note(history: History, tally: Tally, faults: frozenset[Fault]) -> None:
    places: dict[int, Entered[Event]] = {e.index: e for e in history.of(Event)}
    for found in ledgers(history).findings:
        if found.fault in faults:
            what = f"number {found.ledger_seq} of the ledger: {found.fault.value}"
            tally.fault(what, places.get(found.index), found.population)


CHECKS = (
    Check(
        id=Slug("budget.conserved"),
        title="No budget was ever overdrawn",
        question="After every single event of every ledger, what was charged and what was held together stayed within "
        "the capacity; no number is missing; nothing was freed that had touched data.",
        sources=(Source.LEDGER,),
        look=_conserved,
    ),
    Check(
        id=Slug("budget.priced"),
        title="Every price, computed again, is right",
        question="Order, capacity and each price follow from epsilon, delta and the mechanism: never below our own "
        "figure, never above 1.01 of it. The odds by which an owner chose a budget follow from it, too.",
        sources=(Source.LEDGER,),
        look=_priced,
    ),
    Check(
        id=Slug("budget.capped"),
        title="Trainers stayed within their caps",
        question="No trainer held and spent more of a population than the owner's cap. This is access policy, no part "
        "of the guarantee: trainers may collude.",
        sources=(Source.LEDGER,),
        look=_capped,
    ),
    Check(
        id=Slug("budget.refused"),
        title="Refusals for lack of budget were true",
        question="Each job that was refused for its price would indeed not have fitted into what was left.",
        sources=(Source.LEDGER,),
        look=_refused,
    ),
)
