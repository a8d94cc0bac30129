"""The job's key, as its holder vouches for it: for this order, this profile and these sites, and no others.

Rules
-----
1. Signed by the key holder; one for each job. A site that has seen one for a job refuses every other.
2. The public key lies beside the document (a parcel); its digest is the key's name in uploads.
3. Under a profile in which sites encrypt with the secret key itself (`seeded`, RULES 36), that key is in here, sealed
   to each site; otherwise `sealed` is empty, and nobody but the key holder ever has it.

Format: docs/formats/he-documents.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.ids import JobId, PartyId
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.signed import Document, DocumentKind
from privacy.jobs.strict import bytes_of, members_of, text_from

SEALED_LIMIT = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecret:
    """The secret key, sealed to one site."""

    site: PartyId
    sealed: bytes

    def to_json(self) -> dict[str, Any]:
        """Encode as members of the key."""
        return {"sealed": text_from(self.sealed), "site": self.site}

    @classmethod
    def from_json(cls, body: Any) -> SealedSecret:
        """Read the members strictly."""
        members = members_of(body, "sealed", ("sealed", "site"))
        return cls(site=PartyId(members["site"]), sealed=bytes_of(members["sealed"], "sealed", SEALED_LIMIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKey(Document):
    """The key of one job.

    Attributes:
        job: Which job.
        order: The order's digest.
        profile: The profile's digest.
        participants: The digest of the order's list of sites.
        public_key: The digest of the public key's bytes.
        sealed: The secret key for each site; empty but in a seeded profile.
    """

    job: JobId
    order: Digest
    profile: Digest
    participants: Digest
    public_key: Digest
    sealed: tuple[SealedSecret, ...] = ()

    KIND: ClassVar = DocumentKind.KEY
    TAG: ClassVar = "he-key/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-key.v1+json"
    MEMBERS: ClassVar = ("job", "order", "participants", "profile", "public_key", "sealed", "v")

    @classmethod
    def of(cls, order: Order, public_key: bytes, sealed: tuple[SealedSecret, ...] = ()) -> Self:
        """The key of an order."""
        return cls(
            job=order.job,
            order=order.digest,
            profile=order.profile_digest,
            participants=order.participants,
            public_key=Digest.of(public_key),
            sealed=sealed,
        )

    def is_of(self, order: Order) -> bool:
        """Whether it was made for exactly this order."""
        named = (self.job, self.order, self.profile, self.participants)
        sealed = tuple(secret.site for secret in self.sealed)
        return named == (order.job, order.digest, order.profile_digest, order.participants) and sealed in (
            (),
            order.parties,
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "job": self.job,
            "order": self.order,
            "participants": self.participants,
            "profile": self.profile,
            "public_key": self.public_key,
            "sealed": [secret.to_json() for secret in self.sealed],
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        if not isinstance(members["sealed"], list):
            raise InvalidError("`sealed` must be a list", field="sealed")
        return cls(
            job=JobId(members["job"]),
            order=Digest(members["order"]),
            profile=Digest(members["profile"]),
            participants=Digest(members["participants"]),
            public_key=Digest(members["public_key"]),
            sealed=tuple(SealedSecret.from_json(secret) for secret in members["sealed"]),
        )
