"""An upload: one site's ciphertexts of one round, signed by the site, and bound to everything that they are for.

Rules
-----
1. The site signs always. What it signs names job, order, round, key, profile, layout, participants, itself, how many
   ciphertexts there are, and the digest of the bytes that travel.
2. Under a `seeded` profile every site holds the secret key: the bytes are then sealed to the key holder (RULES 36).
3. The reader knows what has to be in an upload, and compares every member (`Expected`): nothing is taken from it but
   the bytes. Those pass `validator` before anybody else sees them.
4. Each upload is one summand. A second upload of a site in a round is for the caller to refuse.

Format: docs/formats/he-upload.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError
from kernel.ids import JobId, PartyId
from kernel.signing import PublicKey, Signer
from privacy.homomorphic.documents.order import MOST_ROUNDS
from privacy.homomorphic.documents.parties import SealingKey
from privacy.homomorphic.documents.signed import Document, DocumentKind, Parcel
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.profiles import Mode
from privacy.homomorphic.sealed import OVERHEAD, open_sealed, seal_to
from privacy.homomorphic.validator import require_upload
from privacy.sealing.secret import SecretBytes

_MOST_CIPHERTEXTS = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What an upload is for. Site and reader each build it from documents that they hold themselves.

    Attributes:
        job: Which job.
        order: The order's digest.
        round: The digest of the round's document.
        number: The round's number.
        key: The digest of the public key's bytes.
        participants: The digest of the order's list of sites.
        site: Whose upload.
        layout: Where the values lie, and under which profile.
    """

    job: JobId
    order: Digest
    round: Digest
    number: int
    key: Digest
    participants: Digest
    site: PartyId
    layout: Layout

    @property
    def sealed(self) -> bool:
        """Whether the bytes are sealed to the key holder."""
        return self.layout.profile.mode is Mode.SEEDED

    @property
    def body_bytes(self) -> int:
        """How many bytes travel beside the signed document."""
        return self.layout.upload_bytes + (OVERHEAD if self.sealed else 0)

    def context(self) -> dict[str, Any]:
        """What sealed bytes are bound to."""
        return {"key": self.key, "part": "upload", "round": self.round, "site": self.site}

    def upload(self, body: Digest) -> Upload:
        """The document over these bytes."""
        return Upload(
            job=self.job,
            order=self.order,
            round=self.round,
            number=self.number,
            key=self.key,
            profile=self.layout.profile.digest,
            layout=self.layout.digest,
            participants=self.participants,
            site=self.site,
            ciphertexts=self.layout.ciphertexts,
            sealed=self.sealed,
            body=body,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(Document):
    """What a site signs.

    Attributes:
        job, order, round, number: Which job and round, as in `Expected`.
        key: The digest of the public key.
        profile, layout: Digests of both.
        participants: The digest of the list of sites.
        site: Whose numbers these are.
        ciphertexts: How many there are.
        sealed: Whether they are sealed to the key holder.
        body: The digest of the bytes beside this document.
        summands: How many sites' numbers are in it: one.
    """

    job: JobId
    order: Digest
    round: Digest
    number: int
    key: Digest
    profile: Digest
    layout: Digest
    participants: Digest
    site: PartyId
    ciphertexts: int
    sealed: bool
    body: Digest
    summands: int = 1

    KIND: ClassVar = DocumentKind.UPLOAD
    TAG: ClassVar = "he-upload/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-upload.v1+json"
    MEMBERS: ClassVar = (
        "body", "ciphertexts", "job", "key", "layout", "number", "order", "participants", "profile", "round", "sealed",
        "site", "summands", "v",
    )  # fmt: skip

    def __post_init__(self) -> None:
        whole(1, MOST_ROUNDS, number=self.number)
        whole(1, _MOST_CIPHERTEXTS, ciphertexts=self.ciphertexts)
        whole(1, 1, summands=self.summands)
        if not isinstance(self.sealed, bool):
            raise InvalidError("`sealed` must be true or false", field="sealed")

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        members = {name: getattr(self, name) for name in self.MEMBERS if name != "v"}
        return {**members, "v": 1}

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        digests = ("body", "key", "layout", "order", "participants", "profile", "round")
        return cls(
            job=JobId(members["job"]),
            site=PartyId(members["site"]),
            number=members["number"],
            ciphertexts=members["ciphertexts"],
            sealed=members["sealed"],
            summands=members["summands"],
            **{name: Digest(members[name]) for name in digests},
        )


def make_upload(expected: Expected, body: bytes, signer: Signer, holder: SealingKey) -> bytes:
    """Sign one site's ciphertexts; the parcel that travels.

    Args:
        expected: What they are for.
        body: The ciphertexts, from `Confined.encrypt`.
        signer: The site's identity key.
        holder: The key holder's sealing key, used under a `seeded` profile.
    """
    require_upload(expected.layout, body)
    travelling = seal_to(holder, expected.context(), body) if expected.sealed else body
    document = expected.upload(Digest.of(travelling))
    return Parcel(document.signed(signer), travelling).to_bytes()


def read_upload(expected: Expected, parcel: bytes, site: PublicKey) -> Upload:
    """Judge an upload without opening it, as the gateway does: signature, every member, digest and length.

    Raises:
        PrivgateError: It is not the upload that is expected, or not that site's.
    """
    return _read(expected, parcel, site)[0]


def open_upload(
    expected: Expected, parcel: bytes, site: PublicKey, private: SecretBytes | None = None
) -> tuple[Upload, bytes]:
    """Judge an upload and return it with its ciphertexts, as the key holder does.

    Args:
        expected: What it has to be.
        parcel: What travelled.
        site: The site's identity key, as it was pinned.
        private: The key holder's private sealing key; needed under a `seeded` profile.

    Raises:
        PrivgateError: It is not the upload that is expected, or not that site's.
    """
    upload, body = _read(expected, parcel, site)
    if expected.sealed:
        if private is None:
            raise InvalidError("sealed uploads open with the key holder's sealing key", field="private")
        body = open_sealed(private, expected.context(), body)
    require_upload(expected.layout, body)
    return upload, body


def read_header(expected: Expected, document: bytes, site: PublicKey) -> Upload:
    """Judge an upload's signed document without its bytes, as the key holder does where the gateway adds.

    Raises:
        PrivgateError: It is not of the upload that is expected, or not that site's.
    """
    upload = Upload.opened(document, [site])
    if upload != expected.upload(upload.body):
        raise CorruptError("an upload is for another job, round, key, profile or set of sites")
    return upload


def _read(expected: Expected, data: bytes, site: PublicKey) -> tuple[Upload, bytes]:
    parcel = Parcel.from_bytes(data)
    if len(parcel.attachment) != expected.body_bytes:
        raise CorruptError("an upload has another length than its layout gives it")
    upload = read_header(expected, parcel.document, site)
    body = parcel.attached(upload.body)
    if not expected.sealed:
        require_upload(expected.layout, body)
    return upload, body
