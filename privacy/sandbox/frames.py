"""Frames over two pipes: the only words between a parent and its confined child.

Rules
-----
1. A frame is a 4-byte big-endian header length, a 4-byte big-endian body length, the header as canonical JSON (an
   object of at most 1 MiB), and the body. Nothing else is ever read or written.
2. A length is compared with its limit before a byte of what it announces is kept.
3. With a deadline neither side's silence can hold the other: every wait ends in `ChannelTimeoutError`.
4. After any error the channel is closed; there is no resynchronising with a peer that broke the form.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from kernel import canonical
from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError, UnavailableError

HEADER_LIMIT = 2**20
BODY_LIMIT = 2**32 - 1
_LENGTHS = struct.Struct(">II")
_PIECE = 2**20


class ChannelClosedError(UnavailableError):
    """The other side is gone, or this side closed after an error."""


class ChannelTimeoutError(UnavailableError):
    """The other side was silent, or did not listen, until the deadline."""


class Channel:
    """A pair of pipe ends that carries frames. Not for several threads at once.

    Args:
        receiving: Descriptor to read from; owned by the channel from here on.
        sending: Descriptor to write to; owned by the channel from here on.
        deadline: Instant on `monotonic` after which every wait ends; none means waiting as long as the peer lives.
        monotonic: The clock of deadlines.
    """

    def __init__(
        self,
        receiving: int,
        sending: int,
        *,
        deadline: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receiving, self._sending = receiving, sending
        self._deadline, self._monotonic = deadline, monotonic
        self._closed = False
        for descriptor in (receiving, sending):
            os.set_blocking(descriptor, False)

    def send(self, header: Mapping[str, Any], body: bytes = b"", *, timeout_seconds: float | None = None) -> None:
        """Send one frame.

        Raises:
            InvalidError: The header has no canonical form; nothing was sent.
            TooLargeError: Header or body is longer than a frame can hold; nothing was sent.
            ChannelClosedError: The peer is gone.
            ChannelTimeoutError: The peer did not read in time.
        """
        encoded = canonical.encode(header)
        if len(encoded) > HEADER_LIMIT or len(body) > BODY_LIMIT:
            raise TooLargeError("a frame is longer than the form allows")
        self._require_open()
        until = self._until(timeout_seconds)
        # Lengths and header are sent as one; the body is not copied.
        for data in (_LENGTHS.pack(len(encoded), len(body)) + encoded, body):
            self._write(memoryview(data), until)

    def receive(self, max_body: int = 0, *, timeout_seconds: float | None = None) -> tuple[dict[str, Any], bytes]:
        """Receive one frame: header and body.

        Args:
            max_body: The longest body that is expected here.
            timeout_seconds: The longest this call may wait, whatever the channel's deadline.

        Raises:
            CorruptError: Not a frame.
            TooLargeError: Announced longer than allowed; not read.
            ChannelClosedError: The peer is gone.
            ChannelTimeoutError: The peer was silent.
        """
        self._require_open()
        until = self._until(timeout_seconds)
        header_length, body_length = _LENGTHS.unpack(self._read(_LENGTHS.size, until))
        if header_length > HEADER_LIMIT or body_length > min(max_body, BODY_LIMIT):
            self._fail(TooLargeError("a frame is longer than what is expected here"))
        header = self._decoded(self._read(header_length, until))
        return header, self._read(body_length, until)

    def close(self) -> None:
        """Close both ends; harmless when repeated."""
        if not self._closed:
            self._closed = True
            for descriptor in (self._receiving, self._sending):
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _decoded(self, encoded: bytes) -> dict[str, Any]:
        try:
            header = canonical.decode(encoded, limit=HEADER_LIMIT, canonical=True)
        except PrivgateError:
            self._fail(CorruptError("a frame's header is not canonical JSON"))
        if not isinstance(header, dict):
            self._fail(CorruptError("a frame's header is not an object"))
        return header

    def _read(self, length: int, until: float | None) -> bytes:
        data = bytearray()
        while len(data) < length:
            try:
                piece = os.read(self._receiving, min(length - len(data), _PIECE))
            except BlockingIOError:
                self._wait(self._receiving, select.POLLIN, until)
                continue
            except OSError:
                piece = b""
            if not piece:
                self._fail(ChannelClosedError("the other side closed its pipe"))
            data += piece
        return bytes(data)

    def _write(self, rest: memoryview, until: float | None) -> None:
        while rest:
            try:
                rest = rest[os.write(self._sending, rest[:_PIECE]) :]
            except BlockingIOError:
                self._wait(self._sending, select.POLLOUT, until)
            except OSError:
                self._fail(ChannelClosedError("the other side closed its pipe"))

    def _wait(self, descriptor: int, event: int, until: float | None) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        remaining = None if until is None else max(until - self._monotonic(), 0.0)
        # Rounded up, so that a wait of less than a millisecond does not become a busy loop.
        ready = poll.poll(None if remaining is None else int(remaining * 1000) + 1)
        if not ready and until is not None and self._monotonic() >= until:
            self._fail(ChannelTimeoutError("the other side did not answer in time"))

    def _until(self, timeout_seconds: float | None) -> float | None:
        bounds = [] if self._deadline is None else [self._deadline]
        if timeout_seconds is not None:
            bounds.append(self._monotonic() + timeout_seconds)
        return min(bounds, default=None)

    def _require_open(self) -> None:
        if self._closed:
            raise ChannelClosedError("this channel is closed")

    def _fail(self, error: PrivgateError) -> NoReturn:
        self.close()
        raise error from None


def expect(header: Mapping[str, Any], *members: str) -> tuple[Any, ...]:
    """Return the named members of a header that has exactly these; raise `InvalidError` otherwise."""
    if set(header) != set(members):
        raise InvalidError("a frame has other members than are expected here")
    return tuple(header[name] for name in members)
