"""Frames: what is sent arrives whole, and no peer can hang, overrun or crash the other side."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import canonical
from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError
from privacy.sandbox.frames import (
    BODY_LIMIT,
    HEADER_LIMIT,
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    expect,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé\U0001f600", max_size=3), inner, max_size=4)
    ),
    max_leaves=8,
)


def _pair(**options: float) -> tuple[Channel, Channel]:
    (a_read, a_write), (b_read, b_write) = os.pipe(), os.pipe()
    return Channel(a_read, b_write, **options), Channel(b_read, a_write, **options)


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    """Two ends of one conversation, with a deadline that no test should reach."""
    ends = _pair(deadline=time.monotonic() + 30)
    yield ends
    for end in ends:
        end.close()


def _feed(data: bytes, *, close: bool = True) -> Channel:
    """A channel whose peer wrote these bytes and perhaps left."""
    (their_read, our_write), (our_read, their_write) = os.pipe(), os.pipe()
    os.close(their_read)

    def write() -> None:
        try:
            os.write(their_write, data[:1])
            rest = memoryview(data)[1:]
            while rest:
                rest = rest[os.write(their_write, rest) :]
        except OSError:
            pass
        finally:
            if close:
                os.close(their_write)

    threading.Thread(target=write, daemon=True).start()
    return Channel(our_read, our_write)


@given(st.dictionaries(st.text("abc", max_size=3), json_values, max_size=4), st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_what_is_sent_is_received(header: dict[str, object], body: bytes) -> None:
    """Any canonical header and any body arrive as they were."""
    one, two = _pair(deadline=time.monotonic() + 30)
    one.send(header, body)
    assert two.receive(300) == (header, body)
    one.close()
    two.close()


def test_a_long_body_arrives_whole(pair: tuple[Channel, Channel]) -> None:
    """Far more than a pipe holds passes in both directions."""
    body = os.urandom(5_000_000)
    thread = threading.Thread(target=lambda: pair[0].send({"m": "x"}, body))
    thread.start()
    assert pair[1].receive(len(body)) == ({"m": "x"}, body)
    thread.join()


def test_frames_keep_their_order_and_borders(pair: tuple[Channel, Channel]) -> None:
    """Several frames in the pipe come out one by one."""
    for number in range(50):
        pair[0].send({"n": number}, bytes(number))
    for number in range(50):
        assert pair[1].receive(50) == ({"n": number}, bytes(number))


def test_the_form_on_the_wire(pair: tuple[Channel, Channel]) -> None:
    """Two big-endian lengths, canonical JSON, body."""
    pair[0].send({"b": 1, "a": "x"}, b"body")
    assert os.read(pair[1]._receiving, 100) == struct.pack(">II", 15, 4) + b'{"a":"x","b":1}' + b"body"


def test_what_cannot_be_a_frame_is_not_sent(pair: tuple[Channel, Channel]) -> None:
    """A float, an overlong header: refused before a byte leaves, and the channel stays usable."""
    with pytest.raises(InvalidError):
        pair[0].send({"m": 1.5})
    with pytest.raises(TooLargeError):
        pair[0].send({"m": "x" * HEADER_LIMIT})
    pair[0].send({"m": "fine"})
    assert pair[1].receive() == ({"m": "fine"}, b"")


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", ChannelClosedError),
        (b"\x00\x00\x00", ChannelClosedError),
        (struct.pack(">II", 10, 0) + b"{", ChannelClosedError),
        (struct.pack(">II", 2, 9) + b"{}" + b"x", ChannelClosedError),
        (struct.pack(">II", 0, 0), CorruptError),
        (struct.pack(">II", 2, 0) + b"[]", CorruptError),
        (struct.pack(">II", 3, 0) + b"{ }", CorruptError),
        (struct.pack(">II", 2, 0) + b"\xff\xfe", CorruptError),
        (struct.pack(">II", 15, 0) + b'{"a":1,"a":1.0}', CorruptError),
        (struct.pack(">II", 70, 0) + b'{"a":' + b"[" * 65, CorruptError),
        (struct.pack(">II", HEADER_LIMIT + 1, 0), TooLargeError),
        (struct.pack(">II", 2, 11) + b"{}", TooLargeError),
        (struct.pack(">II", BODY_LIMIT, BODY_LIMIT), TooLargeError),
    ],
)
def test_what_is_no_frame_closes_the_channel(data: bytes, error: type[PrivgateError]) -> None:
    """Every breach of the form has its error, and after it nothing more is read."""
    channel = _feed(data)
    with pytest.raises(error):
        channel.receive(10, timeout_seconds=10)
    with pytest.raises(ChannelClosedError):
        channel.receive(10)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_bytes_hang_or_crash_the_reader(data: bytes) -> None:
    """Random bytes end as one of our errors or as a frame, at once."""
    channel = _feed(data or b"\x00")
    try:
        header, body = channel.receive(100, timeout_seconds=10)
        assert isinstance(header, dict)
        assert len(body) <= 100
    except PrivgateError as error:  # its type is what is asserted; there may be none
        assert not isinstance(error, ChannelTimeoutError)  # noqa: PT017
    channel.close()


@given(st.binary(min_size=1, max_size=40), st.integers(0, 40), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_frame_with_one_byte_changed_never_crashes(body: bytes, place: int, value: int) -> None:
    """A valid frame that was damaged in one place still ends in an error or in a frame of the allowed size."""
    header = canonical.encode({"m": "chunk", "n": 7})
    data = bytearray(struct.pack(">II", len(header), len(body)) + header + body)
    data[place % len(data)] = value
    channel = _feed(bytes(data))
    try:
        assert len(channel.receive(40, timeout_seconds=10)[1]) <= 40
    except PrivgateError as error:  # its type is what is asserted; there may be none
        assert not isinstance(error, ChannelTimeoutError)  # noqa: PT017
    channel.close()


def test_a_silent_peer_is_left_at_the_deadline() -> None:
    """Nothing, half a length, half a header, half a body: each wait ends, and the channel is closed."""
    header = b"{}"
    for data in (b"\x00", struct.pack(">II", 100, 0) + b"{", struct.pack(">II", 2, 50) + header + b"xx"):
        channel = _feed(data, close=False)
        started = time.monotonic()
        with pytest.raises(ChannelTimeoutError):
            channel.receive(100, timeout_seconds=0.1)
        assert time.monotonic() - started < 5
        with pytest.raises(ChannelClosedError):
            channel.send({})


def test_a_slow_peer_gains_no_time_by_dripping(pair: tuple[Channel, Channel]) -> None:
    """The deadline is of the whole frame; one byte now and then does not extend it."""
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            try:
                os.write(pair[0]._sending, b"\x00")
            except OSError:
                return

    # The first four bytes announce a long header; what follows comes in drops.
    os.write(pair[0]._sending, struct.pack(">II", 1000, 0))
    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(ChannelTimeoutError):
        pair[1].receive(timeout_seconds=0.3)
    stop.set()
    thread.join()


def test_a_peer_that_does_not_listen_is_left_at_the_deadline(pair: tuple[Channel, Channel]) -> None:
    """A sender whose pipe is full ends too."""
    with pytest.raises(ChannelTimeoutError):
        pair[0].send({"m": "x"}, bytes(5_000_000), timeout_seconds=0.2)


def test_the_channels_own_deadline_bounds_every_call() -> None:
    """A deadline that has passed ends a wait whatever the call allows."""
    one, two = _pair(deadline=time.monotonic() + 0.1)
    with pytest.raises(ChannelTimeoutError):
        two.receive(timeout_seconds=60)
    one.close()


def test_a_peer_that_left_is_noticed_by_both_verbs(pair: tuple[Channel, Channel]) -> None:
    """Sending to and receiving from nobody is an error and no signal."""
    pair[0].close()
    with pytest.raises(ChannelClosedError):
        pair[1].send({"m": "x"}, bytes(100_000))
    with pytest.raises(ChannelClosedError):
        pair[1].receive()


def test_expected_members_are_exact() -> None:
    """A header with one member more or less than agreed is refused."""
    assert expect({"m": "x", "n": 1}, "n", "m") == (1, "x")
    for header in ({"m": 1}, {"m": 1, "n": 1, "o": 1}):
        with pytest.raises(InvalidError):
            expect(header, "m", "n")
