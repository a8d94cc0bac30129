"""Budget events as the log holds them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.canonical import decode, encode
from kernel.errors import ConflictError, CorruptError, InvalidError
from kernel.events import Registry, UnknownEvent
from privacy.budget import ledger
from privacy.budget.balances import Account, TrainerAccount
from privacy.budget.fold import LedgerState, apply, fold
from privacy.budget.ledger import Exhausted
from privacy.budget.reservations import Reservation
from privacy.events import EVENTS
from privacy.events.budget import BUDGET_EVENTS, LEDGER_EVENTS, BudgetCharged, BudgetEvent
from privacy.events.choices import CHOICE_EVENTS
from tests.support.budgets import Book, counts, training

FORMAT = Path(__file__).parents[3] / "docs" / "formats" / "budget-events.md"
REGISTRY = Registry(EVENTS)


def every_event() -> list[Any]:
    """One of each kind at least."""
    book = Book()
    book.keep(
        ledger.cap_trainer(
            book.standing(book.state.account.population.owner), book.state.account.population.holdout_share
        )
    )
    book.spend(training(), counts())
    book.keep(ledger.open_block(book.standing(), 200))
    book.hold(training().placed(2, alone=False))
    book.keep(ledger.void(book.standing(job=book.hold(training()))))
    job = book.hold(training())
    expired = book.state.reservations[job].expires_at
    book.keep(ledger.expire(book.standing(job=job), now=expired))
    book.keep(ledger.change_budget(book.standing(), book.state.account.population.budget.epsilon * 2))
    refused = book.reserve([training(noise="0.5")])
    assert isinstance(refused, Exhausted)
    book.keep(ledger.mark_uncovered(book.standing(), job))
    book.keep(ledger.retire(book.standing()))
    return [*book.events, refused.refusal]


SAMPLES = every_event()


def test_the_samples_cover_every_budget_event() -> None:
    """A kind of event that no test writes would be a kind that nobody has read."""
    assert {type(event) for event in SAMPLES} == set(BUDGET_EVENTS)


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.TYPE)
def test_what_is_logged_reads_as_the_same_event(event: Any) -> None:
    """Through canonical JSON and back, by type and version, nothing is lost."""
    written = encode(event.to_fields())
    fields = decode(written, limit=1 << 16, canonical=True)
    assert REGISTRY.decode(event.TYPE, event.VERSION, fields) == event
    assert isinstance(REGISTRY.decode(event.TYPE, event.VERSION + 1, fields), UnknownEvent)


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: event.TYPE)
@given(data=st.data())
def test_an_event_with_a_wrong_member_is_refused(event: Any, data: st.DataObject) -> None:
    """Whatever is put in place of a member is refused, or is of that member's kind and comes out again."""
    fields = dict(event.to_fields())
    name = data.draw(st.sampled_from([*sorted(fields), "note"]))
    fields[name] = data.draw(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
    )
    try:
        read = REGISTRY.decode(event.TYPE, event.VERSION, fields)
    except InvalidError:
        return
    assert {k: v for k, v in fields.items() if v is not None} == read.to_fields()  # type: ignore[union-attr]


def test_rows_are_records_too() -> None:
    """An adapter may store account, trainer and reservation by their own written form."""
    book = Book()
    job = book.spend(training(), counts())
    account, reservation = book.state.account, book.state.reservations[job]
    trainer = book.state.trainers[reservation.principal]
    assert Account.from_fields(json.loads(encode(account.to_fields()))) == account
    assert TrainerAccount.from_fields(json.loads(encode(trainer.to_fields()))) == trainer
    assert Reservation.from_fields(json.loads(encode(reservation.to_fields()))) == reservation


def test_the_formats_example_reads_as_it_is_written() -> None:
    """The example in the format is a charge, in canonical form."""
    found = re.search(r"```json\n(.*)\n```", FORMAT.read_text(encoding="utf-8"))
    assert found is not None
    fields = decode(found[1].encode(), limit=4096, canonical=True)
    assert encode(BudgetCharged.from_fields(fields).to_fields()) == found[1].encode()


def test_the_format_lists_every_event_and_every_field() -> None:
    """Code and format name the same events with the same members."""
    rows = dict(re.findall(r"^\| `([a-z]+:[a-z]+)` \|([^|]*)\|", FORMAT.read_text(encoding="utf-8"), re.MULTILINE))
    kinds = (*BUDGET_EVENTS, *CHOICE_EVENTS)
    assert set(rows) == {event.TYPE for event in kinds}
    for kind in kinds:
        own = {field.name for field in dataclasses.fields(kind)} - (
            {"population", "ledger_seq"} if kind in LEDGER_EVENTS else set()
        )
        text = re.sub(r"\{[^}]*\}|\([^)]*\)", "", rows[kind.TYPE])
        assert set(re.findall(r"`([a-z_]+)`", text)) == own


def ledger_of(events: list[Any]) -> list[BudgetEvent]:
    """The numbered events of the samples."""
    return [event for event in events if isinstance(event, BudgetEvent)]


def test_a_ledger_folds_from_any_order() -> None:
    """RULES 9: `fold` goes by number, and equals posting one by one."""
    events = ledger_of(SAMPLES)
    state = LedgerState(events[0])  # type: ignore[arg-type]
    for event in events[1:]:
        state.post(event)
    again = fold(reversed(events))
    assert again.account == state.account
    assert again.reservations == state.reservations


def test_a_fold_refuses_gaps_repetitions_and_strangers() -> None:
    """A balance is never made from less, more or other events than the ledger's."""
    events, other = ledger_of(SAMPLES), ledger_of(every_event())
    for wrong in ([], events[1:], [*events[:3], *events[4:]], [*events, events[2]], [*events[:3], other[3]]):
        with pytest.raises(CorruptError):
            fold(wrong)
    with pytest.raises((CorruptError, ConflictError)):
        apply(Book().standing(), events[2])
