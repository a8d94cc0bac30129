"""Validators name the field and never repeat the value."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from kernel import checks
from kernel.errors import InvalidError

PATTERN = re.compile("[a-z]+")
CASES: list[tuple[str, Callable[[Any], Any], list[Any], list[Any]]] = [
    (
        "finite",
        lambda v: checks.finite(field=v),
        [0, -1.5, Decimal(2)],
        [math.nan, math.inf, Decimal("NaN"), "1", True, None],
    ),
    ("positive", lambda v: checks.positive(field=v), [1, 0.1, Decimal("1e-9")], [0, -1, math.nan, "1", False]),
    ("non_negative", lambda v: checks.non_negative(field=v), [0, 1], [-1, -0.1, math.inf, None]),
    ("probability", lambda v: checks.probability(field=v), [1, 0.5, Decimal("1e-9")], [0, 1.1, -0.1, math.nan, "x"]),
    ("within", lambda v: checks.within(1, 3, field=v), [1, 2, 3], [0, 4, math.nan, None]),
    ("whole", lambda v: checks.whole(0, 5, field=v), [0, 5], [-1, 6, 1.0, True, "1", None, Decimal(1)]),
    ("text", lambda v: checks.text(5, field=v), ["a", "é b"], ["", "abcdef", "a\n", "\x00", 7, None]),
    (
        "matching",
        lambda v: checks.matching(PATTERN, "must be letters", field=v),
        ["abc"],
        ["", "abc1", "abc\n", 7, None],
    ),
    ("size", lambda v: checks.size(2, field=v), [b"ab"], [b"a", b"abc", "ab", None, bytearray(b"ab")]),
]


@pytest.mark.parametrize(("name", "check", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_a_check_returns_the_value_or_names_the_field(
    name: str, check: Callable[[Any], Any], good: list[Any], bad: list[Any]
) -> None:
    """What passes is returned as it is; what does not raises an error about `field` that holds no value."""
    for value in good:
        assert check(value) is value
    for value in bad:
        with pytest.raises(InvalidError) as caught:
            check(value)
        assert caught.value.field == "field"
        assert "`field`" in caught.value.message


def test_a_check_takes_exactly_one_named_value() -> None:
    """Two names are a mistake of the programmer, not of the caller."""
    with pytest.raises(TypeError):
        checks.positive(first=1, second=2)
    with pytest.raises(TypeError):
        checks.positive()


def test_errors_repeat_no_text_that_came_in() -> None:
    """A secret that fails a check is not in the message."""
    for check in (
        lambda: checks.text(3, name="secret value"),
        lambda: checks.matching(PATTERN, "must be letters", name="secret 7"),
        lambda: checks.size(2, name=b"secret"),
    ):
        with pytest.raises(InvalidError) as caught:
            check()
        assert "secret" not in caught.value.message


WRITTEN = ["0", "-0", "5", "-1.50", "0.000", "10.25", "1e3", "1.5E-3", "2e+10"]
NOT_WRITTEN = [
    "", " 1", "1 ", "1\n", "+1", "--1", "01", "-01", ".5", "1.", "1_0", "1,5", "1e", "1e1.5", "1e1000", "0x1",
    "NaN", "Infinity", "sNaN", "\u0661", "0.\u0665", "\uff11", "1\u00b2", 0.5, True, None, [], (0, (1,), 0),
    Decimal("NaN"), Decimal("-Infinity"),
]  # fmt: skip


@pytest.mark.parametrize("good", [*WRITTEN, 7, Decimal("1.20")], ids=repr)
def test_a_decimal_is_exactly_what_is_written(good: Any) -> None:
    """In plain ASCII; a whole number or a `Decimal` stands for itself."""
    assert checks.decimal(field=good) == Decimal(good)


@pytest.mark.parametrize("bad", NOT_WRITTEN, ids=repr)
def test_no_other_writing_of_a_number_is_read(bad: Any) -> None:
    """Nothing is stripped, no script but ASCII, and the field is named without the value."""
    with pytest.raises(InvalidError) as caught:
        checks.decimal(field=bad)
    assert (caught.value.field, "`field`" in caught.value.message) == ("field", True)
