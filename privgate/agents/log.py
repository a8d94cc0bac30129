"""An agent's own log: one signed line for each deed, each naming the one before, on the disk before it has an effect.

Rules
-----
1. A line is a DSSE envelope, signed by the agent's identity key. It is flushed before `append` returns.
2. A deed that contradicts those before is not written (`privgate.agents.deeds`).
3. A last line without its end is what a kill left of a deed that had no effect yet; it is cut off. Anything else that
   does not verify is an error, and the agent does not run.

Format: docs/formats/party-home.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from kernel import canonical
from kernel.canonical import Digest
from kernel.clock import Clock
from kernel.errors import ConflictError, CorruptError, PrivgateError
from kernel.ids import JobId
from kernel.signing import Envelope, PublicKey, Signer, open_envelope, sign_envelope
from privacy.homomorphic.documents.parties import Identity
from privacy.homomorphic.documents.rounds import LogHead
from privacy.sealing.durable import FILE_MODE, Point, flush_directory, flush_file, no_point, write_all
from privgate.agents.deeds import Cost, Deed, Entry, History
from privgate.agents.refusing import Why

NAME: Final = "log.jsonl"
TYPE: Final = "application/vnd.privgate.party-log.v1+json"
_LONGEST_LINE: Final = 64 * 1024


class PartyLog:
    """The log of one home, which is locked.

    Args:
        path: Its file.
        who: Whose it is.
        signer: Their identity key.
        clock: When a deed is done.
        point: Crash points.
    """

    def __init__(self, path: Path, who: Identity, signer: Signer, clock: Clock, point: Point = no_point) -> None:
        self._signer, self._clock, self._point = signer, clock, point
        fresh = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        if fresh:
            _flush_parent(path, point)
        self.history, self._size, self._head = History(), 0, who.fingerprint
        self._read(who.identity, path.read_bytes())

    @property
    def head(self) -> LogHead:
        """Its length and the digest of its last entry; raise `ConflictError` while it is empty."""
        if not self._size:
            raise ConflictError("nothing was done yet")
        return LogHead(size=self._size, head=self._head)

    def append(
        self,
        deed: Deed,
        job: JobId,
        *,
        number: int = 0,
        what: Digest | None = None,
        learned: int = 0,
        why: Why | None = None,
        request: Digest | None = None,
        cost: Cost | None = None,
    ) -> LogHead:
        """Enter a deed and bring it to the disk.

        Raises:
            ConflictError: It contradicts what was done; nothing is entered.
        """
        entry = Entry(
            size=self._size + 1,
            previous=self._head,
            at=self._clock.now(),
            deed=deed,
            job=job,
            number=number,
            what=what,
            learned=learned,
            why=why,
            request=request,
            cost=cost,
        )
        self.history.fold(entry)
        line = sign_envelope(TYPE, canonical.encode(entry.to_json()), self._signer).to_bytes() + b"\n"
        self._point(f"party-log-{deed}:before-write")
        write_all(self._file, line)
        flush_file(self._file, f"party-log-{deed}", self._point)
        self._size, self._head = entry.size, entry.digest
        return self.head

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, key: PublicKey, data: bytes) -> None:
        whole = data[: data.rfind(b"\n") + 1]
        for entry in entries(whole, key, self._head):
            self.history.fold(entry)
            self._size, self._head = entry.size, entry.digest
        if len(whole) != len(data):
            os.ftruncate(self._file, len(whole))
            flush_file(self._file, "party-log-cut", self._point)
        os.lseek(self._file, 0, os.SEEK_END)


def entries(data: bytes, key: PublicKey, first: Digest) -> Iterator[Entry]:
    """Yield the entries of a log, each checked against the one before.

    Args:
        data: Whole lines.
        key: Whose signature each has.
        first: What the first entry names as the one before.

    Raises:
        CorruptError: A line is not signed by the key, is of another form, or does not follow.
    """
    size, previous = 0, first
    for line in data.splitlines():
        try:
            payload = open_envelope(Envelope.from_bytes(line[:_LONGEST_LINE]), TYPE, [key])
            entry = Entry.from_json(canonical.decode(payload, limit=_LONGEST_LINE, canonical=True))
        except PrivgateError:
            raise CorruptError(f"line {size + 1} of the log is not what this agent signed") from None
        if (entry.size, entry.previous) != (size + 1, previous):
            raise CorruptError(f"line {size + 1} of the log does not follow from the line before")
        size, previous = entry.size, entry.digest
        yield entry


def verified(data: bytes, who: Identity) -> tuple[History, LogHead | None]:
    """Judge a whole log by itself: signatures, chain, and that nothing happened twice.

    Raises:
        CorruptError: It does not verify.
    """
    history, head = History(), None
    if data and not data.endswith(b"\n"):
        raise CorruptError("the log ends within a line")
    for entry in entries(data, who.identity, who.fingerprint):
        try:
            history.fold(entry)
        except ConflictError:
            raise CorruptError(f"line {entry.size} of the log contradicts the lines before") from None
        head = LogHead(size=entry.size, head=entry.digest)
    return history, head


def _flush_parent(path: Path, point: Point) -> None:
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush_directory(folder, "party-log", point)
    finally:
        os.close(folder)
