"""The bridge from an async request body to sync code that reads a file: bounded, and honest about broken uploads.

Rules
-----
1. At most a few pieces wait in memory; a slow reader slows the sender down.
2. A client that goes away, or that sends other than it declared, makes the reader fail; neither looks like the end of
   the file.
3. A client may keep us waiting for `PATIENCE_SECONDS`, and for a second more with every `SLOWEST_RATE` bytes it sent:
   whoever drips bytes holds no place for long.
"""

from __future__ import annotations

import asyncio
import io
import queue
import time
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

from gateway.api.problems import ProblemError
from kernel.errors import InvalidError, Kind, PrivgateError

WAITING_PIECES = 8
NO_LENGTH = -1
POLL_SECONDS = 0.01
ABANDONED_AFTER_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
SLOWEST_RATE = 64 * 2**10

_Failure = PrivgateError | ProblemError


def declared_length(request: Request) -> int:
    """What `Content-Length` says, or `NO_LENGTH`."""
    written = request.headers.get("content-length", "")
    return int(written[:20]) if written.isascii() and written.isdecimal() else NO_LENGTH


class BodyReader(io.RawIOBase):
    """A readable stream over the body of a request; `feed` runs in the event loop, `read` in a thread."""

    def __init__(self, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._pieces: queue.Queue[bytes | _Failure] = queue.Queue(WAITING_PIECES)
        self._rest = b""
        self._ended = False
        self._abandoned = False
        self._patience = patience_seconds

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, at most `size`; nothing at the end.

        Raises:
            InvalidError: The upload broke off, or is not as long as it said.
            ProblemError: The upload was too slow.
        """
        if not self._rest and not self._ended:
            piece = self._next()
            if not isinstance(piece, bytes):
                raise piece
            self._rest, self._ended = piece, not piece
        taken = self._rest if size is None or size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken

    def abandon(self) -> None:
        """Stop taking pieces: the reader is gone."""
        self._abandoned = True

    def _next(self) -> bytes | _Failure:
        while True:
            try:
                return self._pieces.get(timeout=ABANDONED_AFTER_SECONDS)
            except queue.Empty:
                if self._abandoned:
                    return InvalidError("the upload broke off; send it again", field="content")

    async def feed(self, request: Request) -> None:
        """Pass the body on, piece by piece."""
        declared = declared_length(request)
        received, waited = 0, 0.0
        pieces = aiter(request.stream())
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._patience + received / SLOWEST_RATE - waited):
                    piece = await anext(pieces, b"")
            except ClientDisconnect:
                await self._put(InvalidError("the upload broke off; send it again", field="content"))
                return
            except TimeoutError:
                await self._put(too_slow())
                return
            waited += time.monotonic() - began
            received += len(piece)
            if not piece and declared not in (NO_LENGTH, received):
                await self._put(InvalidError("the upload is not as long as `Content-Length` says", field="content"))
                return
            if not await self._put(piece) or not piece:
                return

    async def _put(self, piece: bytes | _Failure) -> bool:
        while not self._abandoned:
            try:
                self._pieces.put_nowait(piece)
            except queue.Full:
                await asyncio.sleep(POLL_SECONDS)
            else:
                return True
        return False


def too_slow() -> ProblemError:
    """The answer to a body that does not arrive; it may be sent again."""
    return ProblemError(
        Kind.INVALID, "request-timeout", "The upload did not arrive in time.", status=HTTPStatus.REQUEST_TIMEOUT
    )
