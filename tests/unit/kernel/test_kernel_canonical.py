"""Canonical JSON: one value, one encoding; strict reading; tagged digests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.canonical import DEEPEST, LARGEST_INTEGER, Digest, decode, digest_of, encode
from kernel.errors import InvalidError, PrivgateError, TooLargeError

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/rfc8785/vectors.json").read_text("utf-8"))

scalars = st.none() | st.booleans() | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | st.text(max_size=12)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_published_vectors_encode_as_published(vector: dict[str, str]) -> None:
    """The canonical form of each published input is the published output."""
    assert encode(decode(vector["input"].encode(), limit=4096)) == vector["output"].encode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_published_outputs_are_read_as_canonical_and_inputs_are_not(vector: dict[str, str]) -> None:
    """Only the canonical form passes where the canonical form is demanded."""
    assert encode(decode(vector["output"].encode(), limit=4096, canonical=True)) == vector["output"].encode()
    with pytest.raises(InvalidError):
        decode(vector["input"].encode(), limit=4096, canonical=True)


@given(values)
def test_reading_returns_what_was_written(value: object) -> None:
    """Encoding then strict decoding gives the same value and the same bytes."""
    written = encode(value)
    assert decode(written, limit=10**6, canonical=True) == value
    assert encode(decode(written, limit=10**6)) == written


@given(values)
def test_member_order_does_not_matter(value: object) -> None:
    """Two mappings that differ in insertion order alone have one encoding."""
    reversed_value = dict(reversed(value.items())) if isinstance(value, dict) else value
    assert encode(reversed_value) == encode(value)


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        float("nan"),
        LARGEST_INTEGER + 1,
        -LARGEST_INTEGER - 1,
        {1: "a"},
        {"a": 1, 2: "b"},
        "\ud800",
        b"x",
        {1},
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """Floats, large integers, other keys and types, and lone surrogates are refused when writing."""
    with pytest.raises(InvalidError):
        encode(value)


@pytest.mark.parametrize(
    "written",
    [
        b"0.5",
        b"1e3",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"9007199254740992",
        b"-9007199254740992",
        b"9" * 5000,
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"x":{"a":1,"a":1}}',
        b'"\\ud800"',
        b"\xff",
        b"",
        b"{",
        b"[1,]",
        b"01",
        b"[" * 40 + b"]" * 40,
        b"[" * 20_000,
        b"tru",
        b'"\x01"',
        b"1 2",
        b"\xef\xbb\xbf1",
    ],
    ids=lambda b: repr(b[:24]),
)
@pytest.mark.parametrize("canonically", [False, True])
def test_what_could_be_read_in_two_ways_is_refused(written: bytes, canonically: bool) -> None:
    """Duplicates, floats, large integers, depth, bad UTF-8 and broken text are refused when reading."""
    with pytest.raises(InvalidError):
        decode(written, limit=10**6, canonical=canonically)


@pytest.mark.parametrize(
    "written",
    [b" 1", b"1 ", b"1\n", b'{"b":1,"a":2}', b'{"a": 1}', b'"\\u0041"', b'"\\/"', b'"\\u000A"', b'"\\u00e9"', b"-0"],
    ids=repr,
)
def test_other_spellings_are_not_canonical(written: bytes) -> None:
    """White space, order and needless escapes are read, but not where the canonical form is demanded."""
    decode(written, limit=100)
    with pytest.raises(InvalidError):
        decode(written, limit=100, canonical=True)


def test_depth_is_bounded_exactly() -> None:
    """`DEEPEST` levels pass, one more does not, written or read."""
    deepest: object = "x"
    for _ in range(DEEPEST):
        deepest = [deepest]
    written = encode(deepest)
    assert decode(written, limit=1000, canonical=True) == deepest
    with pytest.raises(InvalidError):
        encode([deepest])
    with pytest.raises(InvalidError):
        decode(b"[" + written + b"]", limit=1000, canonical=True)


def test_no_more_bytes_than_the_limit_are_read() -> None:
    """One byte over the limit is refused before it is parsed."""
    assert decode(b"12345", limit=5) == 12345
    with pytest.raises(TooLargeError):
        decode(b"12345", limit=4)


@settings(max_examples=300)
@given(values, st.data())
def test_the_fast_reader_agrees_with_the_slow_one(value: object, data: st.DataObject) -> None:
    """On ASCII input, mutated or not, the C-only path accepts and returns exactly what the general path does."""
    written = bytearray(json.dumps(value, separators=(",", ":"), sort_keys=True).encode())
    for _ in range(data.draw(st.integers(0, 2))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 127))
    fast, slow = _outcome(canonical._decode_plain, bytes(written).decode()), _outcome(_slow, bytes(written))
    assert fast == slow or _too_deep(fast)


def _slow(data: bytes) -> object:
    found = decode(data, limit=10**6)
    if encode(found) != data:
        raise InvalidError("not canonical")
    return found


def _outcome(read: object, data: object) -> object:
    try:
        return ("read", repr(read(data)))
    except PrivgateError:
        return "refused"


def _too_deep(outcome: object) -> bool:
    # `decode` sends nothing deeper than DEEPEST down the fast path.
    return isinstance(outcome, tuple) and outcome[1].count("[") + outcome[1].count("{") > DEEPEST


@settings(max_examples=500)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789.-+eEtrufalsn \\ud8\n', max_size=60).map(str.encode))
def test_no_input_makes_the_reader_fail_otherwise(data: bytes) -> None:
    """Whatever the bytes, only a PrivgateError comes out; and what is accepted as canonical is its own encoding."""
    for canonically in (False, True):
        try:
            value = decode(data, limit=50, canonical=canonically)
        except PrivgateError:
            continue
        assert not canonically or encode(value) == data


def test_a_digest_names_what_it_is() -> None:
    """The same value under two tags has two digests, and neither is the digest of the bare bytes."""
    value = {"a": 1}
    digests = {digest_of("one/v1", value), digest_of("two/v1", value), Digest.of(encode(value))}
    assert len(digests) == 3


def test_a_digest_is_validated() -> None:
    """Only `sha256:` and 64 lower-case digits make a digest; the forms convert into each other."""
    digest = Digest.of(b"")
    assert digest == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Digest.from_raw(digest.raw) == digest
    assert digest.hex == digest.raw.hex()
    for bad in (digest.upper(), digest[:-1], digest + "0", digest + "\n", digest.hex, "", None):
        with pytest.raises(InvalidError):
            Digest(bad)
    with pytest.raises(InvalidError):
        Digest.from_raw(b"short")
