"""The bridge from an async request body to sync code that reads a file: bounded, and honest about broken uploads.

Rules
-----
1. At most a few pieces wait in memory; a slow reader slows the sender down.
2. A client that goes away makes the reader fail; it never looks like the end of the file.
"""

from __future__ import annotations

import asyncio
import io
import queue

from starlette.requests import ClientDisconnect, Request

from kernel.errors import InvalidError

WAITING_PIECES = 8
_END: bytes | None = b""
_BROKEN = None
POLL_SECONDS = 0.01


class BodyReader(io.RawIOBase):
    """A readable stream over the body of a request; `feed` runs in the event loop, `read` in a thread."""

    def __init__(self) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue(WAITING_PIECES)
        self._rest = b""
        self._ended = False
        self._abandoned = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, at most `size`; nothing at the end.

        Raises:
            InvalidError: The upload broke off.
        """
        if not self._rest and not self._ended:
            piece = self._pieces.get()
            if piece is _BROKEN:
                raise InvalidError("the upload broke off; send it again", field="content")
            self._rest, self._ended = piece, piece == _END
        taken = self._rest if size is None or size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken

    def abandon(self) -> None:
        """Stop taking pieces: the reader is gone."""
        self._abandoned = True

    async def feed(self, request: Request) -> None:
        """Pass the body on, piece by piece."""
        try:
            async for piece in request.stream():
                if piece and not await self._put(piece):
                    return
        except ClientDisconnect:
            await self._put(_BROKEN)
            return
        await self._put(_END)

    async def _put(self, piece: bytes | None) -> bool:
        while not self._abandoned:
            try:
                self._pieces.put_nowait(piece)
            except queue.Full:
                await asyncio.sleep(POLL_SECONDS)
            else:
                return True
        return False
