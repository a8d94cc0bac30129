"""How an agent reaches the gateway: asking for documents and leaving them, with a certificate that says who it is.

Rules
-----
1. TLS 1.3, both sides with certificates: the gateway's is checked against the authority that came with the enrolment,
   and the agent's names its party. No proxy, no redirect, no environment.
2. What arrives is bounded, and believed by nobody: agents check every byte against their pins.
3. A document is left at its place under the same bytes as often as needed: a lost answer is asked for again.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx2

from kernel import canonical
from kernel.errors import ConflictError, InvalidError, PrivgateError, TooLargeError, UnavailableError
from kernel.ids import DatasetId, JobId
from privacy.homomorphic.documents.places import DATASETS, WORK, Place
from privacy.homomorphic.documents.signed import PARCEL_LIMIT
from privacy.sealing.secret import SecretBytes

MOST_WORK = 10_000
_WORK_LIMIT = 2**20


class Channel(Protocol):
    """What an agent needs of a gateway."""

    def work(self) -> Sequence[JobId]:
        """The jobs that this party takes part in and that have not ended."""
        ...

    def fetch(self, place: Place) -> bytes | None:
        """The document at a place, or nothing yet."""
        ...

    def post(self, place: Place, data: bytes) -> None:
        """Leave a document at its place; raise `ConflictError` if another is there, or the job has ended."""
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
        timeout_seconds: How long an answer may take to begin.
    """

    def __init__(self, access: Access, *, timeout_seconds: float = 60.0) -> None:
        if not access.url.startswith("https://"):
            raise InvalidError("`url` must begin with https://", field="url")
        self._client = httpx2.Client(
            base_url=access.url, verify=_context(access), trust_env=False, timeout=timeout_seconds
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

    def _put(self, path: str, data: bytes) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        try:
            status = self._client.put(path, content=data, headers=headers).status_code
        except httpx2.TransportError:
            raise _unreachable() from None
        if status == 409:
            raise ConflictError("the gateway has another document at that place, or the job has ended")
        _require(status)

    def _get(self, path: str, limit: int) -> bytes | None:
        try:
            with self._client.stream("GET", path) as response:
                if response.status_code == 404:
                    return None
                _require(response.status_code)
                found = bytearray()
                for piece in response.iter_bytes():
                    found += piece
                    if len(found) > limit:
                        raise TooLargeError("the gateway's answer is too large")
                return bytes(found)
        except httpx2.TransportError:
            raise _unreachable() from None


def _require(status: int) -> None:
    if status >= 300:
        raise UnavailableError(f"the gateway answers with status {status}: see its log, or this agent's enrolment")


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
