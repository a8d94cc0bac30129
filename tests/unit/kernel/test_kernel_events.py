"""Events: closed field kinds, strict reading, no room for free text."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import canonical
from kernel.amounts import Delta, Epsilon
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.errors import InvalidError, PrivgateError
from kernel.events import Commitment, Event, Parameter, Record, Registry, UnknownEvent
from kernel.ids import JobId, Slug


class Colour(StrEnum):
    """A closed choice."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    """A nested group."""

    colour: Colour
    digest: Digest


@dataclass(frozen=True, kw_only=True)
class Everything(Event):
    """One field of every kind."""

    TYPE = "test:tried"

    job: JobId
    purpose: Slug
    rate: Parameter
    digest: Digest
    commitment: Commitment
    epsilon: Epsilon
    delta: Delta | None = None
    colour: Colour
    flag: bool
    count: int
    at: datetime
    part: Part
    parts: tuple[Part, ...]
    colours: tuple[Colour, ...]
    note: Commitment | None = None


EXAMPLE = Everything(
    job=JobId("job_" + "a" * 26),
    purpose=Slug("research/cancer"),
    rate=Parameter("0.01"),
    digest=Digest.of(b"a"),
    commitment=Commitment(Digest.of(b"b")),
    epsilon=Epsilon.parse("3"),
    colour=Colour.RED,
    flag=True,
    count=7,
    at=datetime(2026, 11, 23, tzinfo=UTC),
    part=Part(colour=Colour.BLUE, digest=Digest.of(b"c")),
    parts=(Part(colour=Colour.RED, digest=Digest.of(b"d")),),
    colours=(Colour.RED, Colour.BLUE),
)


def written() -> dict[str, Any]:
    """The example's members, as they come back from JSON."""
    return dict(canonical.decode(canonical.encode(EXAMPLE.to_fields()), limit=10_000))


def test_an_event_is_read_back_through_json() -> None:
    """Every kind survives, and absent fields leave no trace."""
    assert Everything.from_fields(written()) == EXAMPLE
    assert "delta" not in written()
    assert "note" not in written()
    with_optional = Everything(
        **{f.name: getattr(EXAMPLE, f.name) for f in fields(EXAMPLE)} | {"delta": Delta.parse("0.1")}
    )
    assert Everything.from_fields(with_optional.to_fields()) == with_optional


WRONG = [None, 1.5, -1, "free text", [], {}, ["x"], {"x": 1}, "2026-11-23", "0.1.2", LARGEST_INTEGER + 1]
# What is right for these fields after all: absence, an empty list, and names that look like dates.
RIGHT = {"delta": [None], "note": [None], "parts": [[]], "colours": [[]], "purpose": ["2026-11-23", "0.1.2"]}


@pytest.mark.parametrize(
    ("name", "value"), [(f.name, v) for f in fields(Everything) for v in WRONG if v not in RIGHT.get(f.name, [])]
)
def test_a_member_of_a_wrong_kind_is_refused_by_name(name: str, value: Any) -> None:
    """The error names the member and repeats nothing of it."""
    with pytest.raises(InvalidError) as caught:
        Everything.from_fields(written() | {name: value})
    assert caught.value.field is not None
    assert name in caught.value.message
    assert "free text" not in caught.value.message


def test_missing_and_unknown_members_are_refused() -> None:
    """At the top and inside a nested group."""
    for name in written():
        with pytest.raises(InvalidError):
            Everything.from_fields({k: v for k, v in written().items() if k != name})
    with pytest.raises(InvalidError):
        Everything.from_fields(written() | {"comment": "x"})
    with pytest.raises(InvalidError):
        Everything.from_fields(written() | {"part": written()["part"] | {"comment": "x"}})


def test_there_is_no_kind_for_text() -> None:
    """A class with a field of text, bytes, float, a choice of kinds or a bare list cannot be written or read."""
    for kind in (str, bytes, float, "int | str", "list[int]", "dict[str, int]", "tuple[int, int]", "object"):
        made = dataclass(frozen=True, kw_only=True)(
            type("Made", (Event,), {"__annotations__": {"field": kind}, "TYPE": "t:t"})
        )
        with pytest.raises(TypeError):
            made(field="x").to_fields()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
    )
)
def test_whatever_is_read_only_a_privgate_error_comes_out(value: Any) -> None:
    """In place of the whole, and in place of each member."""
    for attempt in (value, *({**written(), name: value} for name in ("job", "part", "parts", "at", "rate", "epsilon"))):
        try:
            Everything.from_fields(attempt)
        except PrivgateError:
            continue


def test_an_unknown_type_or_version_is_reported_not_skipped() -> None:
    """The reader gets the fields as they stand, and the name."""
    registry = Registry([Everything])
    assert registry.decode("test:tried", 1, written()) == EXAMPLE
    for type_, version in (("test:tried", 2), ("test:other", 1)):
        assert registry.decode(type_, version, {"a": 1}) == UnknownEvent(type_, version, {"a": 1})
    with pytest.raises(InvalidError):
        registry.decode("test:tried", 1, {})
    assert registry.types() == ("test:tried",)


def test_no_two_classes_claim_one_event() -> None:
    """The same type and version by two classes is a mistake that shows at the start; the same class twice is not."""
    twin = type("Twin", (Event,), {"TYPE": "test:tried"})
    with pytest.raises(TypeError):
        Registry([Everything], [twin])
    Registry([Everything], [Everything])


@pytest.mark.parametrize(
    ("given_form", "plain"),
    [
        ("0.010", "0.01"),
        ("1e-3", "0.001"),
        (5, "5"),
        ("1E2", "100"),
        ("-0", "0"),
        ("-1.50", "-1.5"),
        (Decimal("0.1"), "0.1"),
    ],
    ids=str,
)
def test_a_parameter_is_an_exact_plain_decimal(given_form: Any, plain: str) -> None:
    """However it was given, it is written in one way and stands for the exact value."""
    parameter = Parameter(given_form)
    assert parameter == plain
    assert parameter.number == Decimal(given_form)


@pytest.mark.parametrize(
    "wrong",
    [0.1, "x", "", "NaN", "Infinity", "1" * 35, "1e40", "1e-40", "1e9999999", None, [], "1.2.3", True, (0, (1,), 0)],
    ids=repr,
)
def test_what_is_no_parameter_is_refused(wrong: Any) -> None:
    """A float, a special value, too many digits or too large an exponent."""
    with pytest.raises(InvalidError):
        Parameter(wrong)
    with pytest.raises(InvalidError) as caught:
        Parameter.of(wrong, "rate")
    assert caught.value.field == "rate"


@given(st.decimals(min_value=-(10**29), max_value=10**29, allow_nan=False, allow_infinity=False, places=4))
def test_what_a_parameter_writes_it_reads_unchanged(value: Decimal) -> None:
    """The written form is its own form, and `number` is the value: nothing that is stored reads as something else."""
    written = str(Parameter(value))
    assert str(Parameter(written)) == written
    assert Parameter(written).number == value
    assert "e" not in written.lower()


@given(
    sign=st.sampled_from(["", "-"]),
    whole=st.integers(0, 10**9),
    places=st.text("0123456789", max_size=9),
    exponent=st.none() | st.integers(-9, 9),
)
def test_every_plain_writing_of_a_number_is_read(sign: str, whole: int, places: str, exponent: int | None) -> None:
    """Sign, whole part without zeros before it, places, exponent: the value is Python's."""
    text = f"{sign}{whole}{'.' if places else ''}{places}{'' if exponent is None else f'e{exponent}'}"
    assert Parameter(text).number == Decimal(text)


@given(st.text(alphabet="01.-+eE_ \t\n\u0661\uff11\u00b2", max_size=7))
def test_whatever_is_read_was_written_plainly(text: str) -> None:
    """By parameters and by rounding amounts: ASCII, no space, `_` or `+` before it, a digit at each end and point."""
    for read in (Parameter, Epsilon.up):
        try:
            read(text)
        except InvalidError:
            continue
        digits, _, exponent = text.lower().removeprefix("-").partition("e")
        whole, *places = digits.split(".")
        assert all(part.isascii() and part.isdecimal() for part in (whole, *places))
        assert whole == "0" or not whole.startswith("0")
        assert "e" not in text.lower() or (exponent.isascii() and exponent.lstrip("+-").isdecimal())


@pytest.mark.parametrize("wrong", ["1_0", " 1", "+1", "01", ".5", "\uff11", True, 0.5], ids=repr)
def test_a_field_of_a_record_is_named_when_its_decimal_is_refused(wrong: Any) -> None:
    """By its own name, not its kind's."""
    with pytest.raises(InvalidError) as caught:
        Everything.from_fields(EXAMPLE.to_fields() | {"rate": wrong})
    assert caught.value.field == "rate"
