"""Time: aware, UTC, whole seconds, one written form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.clock import ManualClock, SystemClock, check_time, format_time, parse_time
from kernel.errors import InvalidError

instants = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(lambda t: t.replace(tzinfo=UTC, microsecond=0))  # noqa: DTZ001


@given(instants)
def test_the_written_form_is_read_back(instant: datetime) -> None:
    """Twenty characters, the same instant, from the year 1 to 9999."""
    written = format_time(instant)
    assert len(written) == 20
    assert parse_time(written) == instant


@pytest.mark.parametrize(
    "written",
    [
        "",
        "2026-11-23",
        "2026-11-23T09:30:00",
        "2026-11-23 09:30:00Z",
        "2026-11-23T09:30:00z",
        "2026-11-23T09:30:00+00:00",
        "2026-11-23T09:30:00.0Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T09:60:00Z",
        "2026-11-23T09:30:60Z",
        "2026-02-30T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "\u0662026-11-23T09:30:00Z",
        "2026-11-23T09:30:00Z\n",
        None,
        0,
    ],
    ids=repr,
)
def test_other_texts_are_refused(written: object) -> None:
    """Other zones, fractions, missing parts, dates that do not exist, other digits."""
    with pytest.raises(InvalidError):
        parse_time(written)


def test_only_utc_in_whole_seconds_is_a_time() -> None:
    """A naive time, another zone or a fraction of a second is refused; another name for UTC is not."""
    instant = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    assert check_time(instant.replace(tzinfo=timezone(timedelta(0)))) == instant
    for wrong in (
        instant.replace(tzinfo=None),
        instant.replace(tzinfo=timezone(timedelta(hours=1))),
        instant.replace(microsecond=1),
    ):
        with pytest.raises(InvalidError):
            check_time(wrong)
        with pytest.raises(InvalidError):
            format_time(wrong)


def test_the_clocks() -> None:
    """The system's gives whole seconds in UTC; the manual one moves when it is told to."""
    assert check_time(SystemClock().now()).microsecond == 0
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    assert clock.advance(61) - datetime(2026, 1, 1, tzinfo=UTC) == timedelta(seconds=61)
    assert clock.now() == clock.now() == datetime(2026, 1, 1, 0, 1, 1, tzinfo=UTC)
