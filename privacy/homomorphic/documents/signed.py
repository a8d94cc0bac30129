"""What every document has in common: strict members, a digest, one signature, and bytes beside it where there are any.

Rules
-----
1. A document is a DSSE envelope around canonical JSON, with a payload type of its own kind.
2. Its digest is that of its content under the tag of its kind; signatures do not change it.
3. `opened` takes the keys that may sign this kind; a document never says itself who may.

Format: docs/formats/he-documents.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

from kernel import canonical
from kernel.canonical import Digest, digest_of
from kernel.errors import CorruptError, InvalidError, TooLargeError
from kernel.signing import Envelope, PublicKey, Signer, open_envelope, sign_envelope
from privacy.jobs.strict import members_of

DOCUMENT_LIMIT = 8 * 2**20
ATTACHMENT_LIMIT = 64 * 2**20
PARCEL_LIMIT = ATTACHMENT_LIMIT + 2 * DOCUMENT_LIMIT
MAGIC = b"privgate/parcel/v1\n"
LENGTH_BYTES = 4


class DocumentKind(StrEnum):
    """What lies in a job, what a site says of its rows before any, and what a client asks a model.

    A header is an upload without its bytes.
    """

    ORDER = "order"
    KEY = "key"
    ROUND = "round"
    UPLOAD = "upload"
    HEADER = "header"
    SUM = "sum"
    RESULT = "result"
    FINAL = "final"
    REFUSAL = "refusal"
    ATTESTATION = "attestation"
    RENEWAL = "renewal"
    QUESTION = "question"
    DATA = "data"
    WEIGHTS = "weights"
    GRADIENT = "gradient"


PARCELS = frozenset(
    {
        DocumentKind.KEY, DocumentKind.ROUND, DocumentKind.UPLOAD, DocumentKind.SUM, DocumentKind.FINAL,
        DocumentKind.DATA, DocumentKind.WEIGHTS, DocumentKind.GRADIENT,
    }
)  # fmt: skip
"""Kinds that have bytes beside the document."""


class Document(ABC):
    """A signed statement of one kind. Subclasses are frozen dataclasses."""

    KIND: ClassVar[DocumentKind]
    TAG: ClassVar[str]
    TYPE: ClassVar[str]
    MEMBERS: ClassVar[tuple[str, ...]]

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""

    @classmethod
    @abstractmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from exactly `MEMBERS`; raise `InvalidError` for a value that breaks its rule."""

    @property
    def digest(self) -> Digest:
        """What later documents name it by."""
        return digest_of(self.TAG, self.to_json())

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read strictly; raise `InvalidError` otherwise."""
        members = members_of(body, cls.KIND.value, cls.MEMBERS)
        if members["v"] != 1 or isinstance(members["v"], bool):
            raise InvalidError("this version reads documents with `v` 1", field="v")
        return cls.from_members(members)

    def signed(self, signer: Signer) -> bytes:
        """Sign it and write the envelope."""
        return sign_envelope(self.TYPE, canonical.encode(self.to_json()), signer).to_bytes()

    @classmethod
    def opened(cls, data: bytes, trusted: Iterable[PublicKey]) -> Self:
        """Read an envelope that one of the trusted keys signed.

        Raises:
            CorruptError: Another kind, another signer, or altered.
            InvalidError: Signed, and not of the form.
        """
        payload = open_envelope(Envelope.from_bytes(data), cls.TYPE, trusted)
        return cls.from_json(canonical.decode(payload, limit=DOCUMENT_LIMIT, canonical=True))

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read an envelope whose signature was verified when it was kept; raise `InvalidError` or `CorruptError`."""
        envelope = Envelope.from_bytes(data)
        if envelope.payload_type != cls.TYPE:
            raise CorruptError("the envelope holds another kind of statement")
        return cls.from_json(canonical.decode(envelope.payload, limit=DOCUMENT_LIMIT, canonical=True))


@dataclass(frozen=True, slots=True)
class Parcel:
    """A signed document with bytes beside it: a public key, ciphertexts, an artefact."""

    document: bytes
    attachment: bytes

    def to_bytes(self) -> bytes:
        """Write both, one after the other."""
        return MAGIC + len(self.document).to_bytes(LENGTH_BYTES, "big") + self.document + self.attachment

    @classmethod
    def from_bytes(cls, data: bytes) -> Parcel:
        """Cut into both; raise `CorruptError` or `TooLargeError`. Nothing in it is believed yet."""
        if len(data) > PARCEL_LIMIT:
            raise TooLargeError(f"a parcel has at most {PARCEL_LIMIT} bytes")
        begin = len(MAGIC) + LENGTH_BYTES
        length = int.from_bytes(data[len(MAGIC) : begin], "big")
        if not data.startswith(MAGIC) or not 0 < length <= min(2 * DOCUMENT_LIMIT, len(data) - begin):
            raise CorruptError("not a parcel: a document with bytes beside it")
        return cls(data[begin : begin + length], data[begin + length :])

    def attached(self, digest: Digest) -> bytes:
        """Return the bytes beside the document if they are those it names; raise `CorruptError` otherwise."""
        if Digest.of(self.attachment) != digest:
            raise CorruptError("the bytes beside a document are not those that it names")
        return self.attachment
