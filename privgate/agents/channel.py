"""How an agent reaches the gateway: asking for documents and leaving them, with a certificate that says who it is.

Rules
-----
1. TLS 1.3, both sides with certificates: the gateway's is checked against the authority that came with the enrolment,
   and the agent's names its party. No proxy, no redirect, no environment.
2. What arrives is bounded in length and in time, headers included, and believed by nobody: agents check every byte
   against their pins. A gateway that drips bytes holds an agent no longer than one that is slow.
3. A document is left at its place under the same bytes as often as needed: a lost answer is asked for again.
4. A status says whether trying again can help. What will be refused again is `RejectedError`, and is not tried again;
   whatever people or time may mend is `UnavailableError`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

import httpx2

from kernel import canonical
from kernel.errors import ConflictError, InvalidError, PrivgateError, TooLargeError, UnavailableError
from kernel.ids import DatasetId, JobId
from privacy.homomorphic.documents.places import CERTIFICATE, DATASETS, WORK, Place
from privacy.homomorphic.documents.signed import PARCEL_LIMIT
from privacy.sealing.secret import SecretBytes

MOST_WORK = 10_000
SLOWEST_RATE: Final = 64 * 2**10
"""Bytes a second, beyond the patience for an answer to begin."""
_WORK_LIMIT: Final = 2**20
_REMARK_LIMIT: Final = 2**16
"""As much as is read of an answer that is no document, so that its connection can be used again."""
_MENDABLE: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.MISDIRECTED_REQUEST,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
"""Refusals that people or time may mend. Every other one of the client's errors will come again for the same bytes."""


class RejectedError(InvalidError):
    """The gateway does not take this, and the same again will be refused as well."""


class Channel(Protocol):
    """What an agent needs of a gateway."""

    def work(self) -> Sequence[JobId]:
        """The jobs that this party takes part in and that have not ended."""
        ...

    def fetch(self, place: Place) -> bytes | None:
        """The document at a place, or nothing yet."""
        ...

    def post(self, place: Place, data: bytes) -> None:
        """Leave a document at its place.

        Raises:
            ConflictError: Another one is there, or the job has ended.
            RejectedError: The gateway takes no such document.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the gateway listens for parties, and how an agent shows who it is there.

    Attributes:
        url: `https://...`.
        authority: PEM of the authority that made the listener's certificate.
        certificate: PEM of the agent's own certificate.
        key: PEM of its private key.
    """

    url: str
    authority: str
    certificate: str
    key: SecretBytes


class HttpsChannel:
    """A gateway at an address.

    Args:
        access: Where, and as whom.
        timeout_seconds: How long an answer may take to begin, and how long it may pause.
    """

    def __init__(self, access: Access, *, timeout_seconds: float = 60.0) -> None:
        if not access.url.startswith("https://"):
            raise InvalidError("`url` must begin with https://", field="url")
        self._patience = timeout_seconds
        self._socket: socket.socket | None = None
        self._client = httpx2.Client(
            base_url=access.url,
            verify=_context(access),
            trust_env=False,
            timeout=timeout_seconds,
            limits=httpx2.Limits(max_connections=1),
            headers={"Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()

    def __enter__(self) -> HttpsChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def work(self) -> Sequence[JobId]:
        """The jobs that this party takes part in and that have not ended."""
        data = self._get(WORK, _WORK_LIMIT)
        try:
            jobs = canonical.decode(data or b"", limit=_WORK_LIMIT)["jobs"][:MOST_WORK]
            return [JobId(job) for job in jobs]
        except (PrivgateError, KeyError, TypeError):
            raise UnavailableError("the gateway's list of work is of another form") from None

    def fetch(self, place: Place) -> bytes | None:
        """The document at a place, or nothing yet."""
        return self._get(place.path, PARCEL_LIMIT)

    def post(self, place: Place, data: bytes) -> None:
        """Leave a document at its place."""
        self._put(place.path, data)

    def attest(self, dataset: DatasetId, data: bytes) -> None:
        """Say which rows a dataset has."""
        self._put(f"{DATASETS}/{dataset}/attestation", data)

    def renew(self, data: bytes) -> str:
        """Ask for another certificate; PEM, which is nobody's word but the gateway's."""
        status, answer = self._exchange("POST", CERTIFICATE, _WORK_LIMIT, data)
        _require(status)
        try:
            return str(canonical.decode(answer, limit=_WORK_LIMIT)["certificate"])
        except (PrivgateError, KeyError, TypeError):
            raise UnavailableError("the gateway's answer has no certificate") from None

    def _put(self, path: str, data: bytes) -> None:
        status, _ = self._exchange("PUT", path, 0, data)
        if status == HTTPStatus.CONFLICT:
            raise ConflictError("the gateway has another document at that place, or the job has ended")
        _require(status)

    def _get(self, path: str, limit: int) -> bytes | None:
        status, found = self._exchange("GET", path, limit)
        if status == HTTPStatus.NOT_FOUND:
            return None
        _require(status)
        return found

    def _exchange(self, method: str, path: str, limit: int, data: bytes = b"") -> tuple[int, bytes]:
        """Ask once: the status, and of a document at most `limit` bytes."""
        headers = {"Content-Type": "application/octet-stream"} if data else {}
        self._client.cookies.clear()
        try:
            with contextlib.ExitStack() as held:
                with self._cut_off_after(self._patience + len(data) / SLOWEST_RATE):
                    sent = self._client.stream(
                        method, path, content=data or None, headers=headers, extensions={"trace": self._connected}
                    )
                    response = held.enter_context(sent)
                if limit and response.status_code == HTTPStatus.OK:
                    return response.status_code, self._document(response, limit)
                self._remark(response)
                return response.status_code, b""
        except httpx2.TransportError:
            raise _unreachable() from None

    def _document(self, response: httpx2.Response, limit: int) -> bytes:
        found = bytearray()
        for piece in self._pieces(response):
            found += piece
            if len(found) > limit:
                raise TooLargeError("the gateway's answer is too large")
        return bytes(found)

    def _remark(self, response: httpx2.Response) -> None:
        """Read what the gateway says beside a status, to its end if that is near; nobody is told what it says."""
        left = _REMARK_LIMIT
        for piece in self._pieces(response):
            left -= len(piece)
            if left < 0:
                return

    def _pieces(self, response: httpx2.Response) -> Iterator[bytes]:
        """The raw bytes of an answer, as long as they come fast enough."""
        began, received = time.monotonic(), 0
        for piece in response.iter_raw():
            received += len(piece)
            if time.monotonic() - began > self._patience + received / SLOWEST_RATE:
                raise UnavailableError("the gateway's answer does not come to an end")
            yield piece

    @contextlib.contextmanager
    def _cut_off_after(self, seconds: float) -> Iterator[None]:
        """Whatever waits for an answer to begin waits no longer: the client's own limit is for each pause."""
        timer = threading.Timer(seconds, self._cut_off)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut_off(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Of the socket below: TLS would wait for the other end to agree.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _connected(self, event: str, told: dict[str, Any]) -> None:
        """Remember the connection, so that it can be cut off."""
        if event == "connection.start_tls.complete":
            self._socket = told["return_value"].get_extra_info("socket")


class UnknownPartyError(UnavailableError):
    """The gateway knows this certificate as nobody's."""


def _require(status: int) -> None:
    """Return if the gateway did what it was asked for.

    Raises:
        RejectedError: It will not do so later either.
        UnknownPartyError: It takes the certificate for nobody's.
        UnavailableError: It may.
    """
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise UnknownPartyError("the gateway does not know this agent's certificate, or no longer: see its enrolment")
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _MENDABLE:
        raise RejectedError(
            f"the gateway does not take this and will not take it later: status {status}, and its own log says why"
        )
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise UnavailableError(f"the gateway answers with status {status}: see its log")


def _unreachable() -> UnavailableError:
    return UnavailableError("no gateway of the pinned authority answers at its address for parties")


def _context(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=access.authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with _in_memory(access.certificate.encode("ascii")) as chain, _in_memory(access.key.reveal()) as key:
            context.load_cert_chain(chain, key)
    except (ssl.SSLError, UnicodeEncodeError, ValueError):
        raise InvalidError(
            "the enrolment's certificate, key or authority is damaged: enrol again", field="party"
        ) from None
    return context


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path to bytes that are on no disk: Python's TLS reads certificates and keys from files alone."""
    file = os.memfd_create("privgate", os.MFD_CLOEXEC)
    try:
        os.write(file, data)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)
