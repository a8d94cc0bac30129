"""Times and events become rows of periods: at risk until the event, nothing after it, nothing half watched."""

from __future__ import annotations

import pytest

from kernel.errors import InvalidError
from privgate.survival import baseline, period_column, person_periods

ENDS = (30.0, 60.0, 90.0)


def rows(time: object, event: object) -> list[tuple[int, bool]]:
    """Period and event of one person's rows."""
    made = person_periods([{"age": 40, "days": time, "died": event}], time="days", event="died", ends=ENDS)
    return [(row["period"], row["died"]) for row in made]


def test_an_event_ends_a_persons_rows() -> None:
    """Also one on the very end of a period, which belongs to it; one after all periods was not seen in them."""
    assert rows(45, "yes") == [(0, False), (1, True)]
    assert rows(30, "1") == [(0, True)]
    assert rows("0", "TRUE") == [(0, True)]
    assert rows(91, "yes") == [(0, False), (1, False), (2, False)]


def test_whoever_leaves_within_a_period_has_no_row_for_it() -> None:
    """Whether the event would have come is not known; who is watched to its very end has one."""
    assert rows(45, "no") == [(0, False)]
    assert rows(60, "0") == [(0, False), (1, False)]
    assert rows(29, False) == []
    assert rows(1000, "false") == [(0, False), (1, False), (2, False)]


def test_other_columns_are_repeated_and_the_time_is_gone() -> None:
    """A time of a person's own would be a predictor that knows the event."""
    people = iter([{"age": 40, "days": 45, "died": "yes"}])
    assert list(person_periods(people, time="days", event="died", ends=ENDS, period="month")) == [
        {"age": 40, "month": 0, "died": False},
        {"age": 40, "month": 1, "died": True},
    ]


@pytest.mark.parametrize(("time", "event", "field"), [(-1, "yes", "days"), ("", "no", "days"), (3, "maybe", "died")])
def test_what_is_no_time_and_no_answer_is_refused(time: object, event: str, field: str) -> None:
    """The row's number is named; no value is repeated."""
    with pytest.raises(InvalidError, match="row 1") as caught:
        rows(time, event)
    assert caught.value.field == field
    assert str(time) not in str(caught.value) or not str(time).strip("-1")


@pytest.mark.parametrize("ends", [(), (0.0,), (30.0, 30.0), (60.0, 30.0), (float("nan"),), (30.0, float("inf"))])
def test_periods_end_in_order(ends: tuple[float, ...]) -> None:
    """The first after 0."""
    with pytest.raises(InvalidError) as caught:
        list(person_periods([], time="days", event="died", ends=ends))
    assert caught.value.field == "ends"


def test_the_declaration_and_the_baseline_fit_the_periods() -> None:
    """One bin for each of few periods; of many a few of about one width."""
    assert period_column(ENDS) == {"name": "period", "kind": "numeric", "low": "0", "high": "2"}
    assert baseline(3)["edges"] == ["1", "2"]
    assert baseline(12, at_most=4)["edges"] == ["3", "6", "9"]
