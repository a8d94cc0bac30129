"""Amounts: exact decimals on a grid, rounded in a stated direction."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.amounts import Amount, Delta, Epsilon, Rdp, Share
from kernel.errors import InvalidError

KINDS = [Epsilon, Rdp, Delta, Share]
anything = st.decimals(min_value=0, max_value=10**11, allow_nan=False, allow_infinity=False)


def steps(kind: type[Amount], most: int) -> st.SearchStrategy[Amount]:
    """Amounts of a kind: some whole number of grid steps."""
    return st.integers(0, most).map(lambda n: kind(n * kind.QUANTUM))


@pytest.mark.parametrize("kind", [Epsilon, Rdp, Delta])
@given(value=anything)
def test_rounding_has_a_direction(kind: type[Amount], value: Decimal) -> None:
    """`up` never loses, `down` never gains, and neither moves by a whole step."""
    up, down = kind.up(value), kind.down(value)
    assert down.value <= value <= up.value
    assert up.value - value < kind.QUANTUM
    assert value - down.value < kind.QUANTUM


@given(steps(Rdp, 10**20), steps(Rdp, 10**20))
def test_sums_are_exact(first: Rdp, second: Rdp) -> None:
    """Adding and taking away again gives the same amount, whatever precision the caller's context has."""
    with localcontext() as context:
        context.prec = 3
        assert (first + second) - second == first
        total = first + second
    assert total.value == first.value + second.value


@given(steps(Epsilon, 10**15), st.integers(0, 1000))
def test_a_multiple_is_the_repeated_sum(amount: Epsilon, times: int) -> None:
    """Exactly."""
    assert (amount * times).value == amount.value * times


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_written_form_is_read_back(kind: type[Amount], data: st.DataObject) -> None:
    """Plain decimal text without exponent or trailing zeros."""
    amount = data.draw(steps(kind, int(1 / kind.QUANTUM)))
    written = str(amount)
    assert kind.parse(written) == amount
    assert "e" not in written.lower()
    assert "." not in written or not written.endswith(("0", "."))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "written",
    [
        "",
        " 1",
        "1 ",
        "+1",
        "-1",
        "1e3",
        "1.",
        ".5",
        "01",
        "1,5",
        "NaN",
        "Infinity",
        "0x1",
        "1_0",
        "\u0661",
        "0.\u0665",
        "1\n",
        None,
        1,
    ],
    ids=repr,
)
def test_other_texts_are_refused(kind: type[Amount], written: object) -> None:
    """Signs, exponents, white space, other digits, numbers instead of text."""
    with pytest.raises(InvalidError):
        kind.parse(written)


@pytest.mark.parametrize("kind", KINDS)
def test_an_amount_lies_on_its_grid(kind: type[Amount]) -> None:
    """Half a step, a negative, an infinite, a not-a-number or a huge amount cannot exist."""
    for value in (kind.QUANTUM / 2, -kind.QUANTUM, Decimal("Infinity"), Decimal("NaN"), Decimal(10) ** 12):
        with pytest.raises(InvalidError):
            kind(value)
    for value in (Decimal("NaN"), Decimal("Infinity"), Decimal(-1), Decimal(10) ** 12):
        for rounded in (kind.up, kind.down):
            with pytest.raises(InvalidError):
                rounded(value)


def test_nothing_is_below_zero() -> None:
    """Taking away more than there is raises; what remains is never negative."""
    with pytest.raises(InvalidError):
        Rdp.parse("0.1") - Rdp.parse("0.2")
    assert Rdp.parse("0.2") - Rdp.parse("0.2") == Rdp.zero()


def test_kinds_do_not_mix() -> None:
    """An epsilon is never added to a delta or to a Renyi divergence."""
    with pytest.raises(TypeError):
        Epsilon.zero() + Rdp.zero()
    with pytest.raises(TypeError):
        Delta.zero() - Epsilon.zero()
    with pytest.raises(TypeError):
        _ = Epsilon.zero() < Rdp.zero()
    assert Epsilon.zero() != Rdp.zero()


def test_a_share_is_part_of_a_whole() -> None:
    """From 0 to 1."""
    assert Share.parse("1").value == 1
    with pytest.raises(InvalidError):
        Share.parse("1.000000001")


@pytest.mark.parametrize("wrong", ["1_0", " 1", "+1", "01", ".5", "\uff11", "x", "NaN", "", True, 0.5, None], ids=repr)
@pytest.mark.parametrize("round_", [Epsilon.up, Epsilon.down])
def test_only_a_written_number_is_rounded(round_: Callable[[Any], Epsilon], wrong: Any) -> None:
    """Rounding reads text strictly and takes no float; the error names the amount."""
    with pytest.raises(InvalidError) as caught:
        round_(wrong)
    assert caught.value.field == "epsilon"
