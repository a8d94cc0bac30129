"""The question: what a client signs beside keys and ciphertexts, and what it must be to belong to a job.

Rules
-----
1. It names job, request, model and profile, and the digests of both bodies: nothing of it fits another job.
2. It is signed with a key that the client draws for it alone. Whose key that is, the gateway's log says: the question
   came under somebody's token, and the entry has both.
3. It says what is sent, never how many rows there are.

Form: docs/formats/he-inference.md, "Question".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.ids import Entropy, JobId, Slug
from kernel.signing import Ed25519Signer, PublicKey
from privacy.homomorphic.documents.signed import Document, DocumentKind, Parcel
from privacy.homomorphic.inferences.spec import MOST_BATCHES, InferenceSpec
from privacy.homomorphic.registry import profile_of

DOCUMENT_BYTES = 4096
"""The most bytes of the signed document."""
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Document):
    """What a client asks, signed with the question's own key.

    Attributes:
        job, request: Which job, and the digest of its request.
        certificate: That of the model's certificate.
        profile, profile_digest: The encryption's named parameters.
        batches: How many times a ciphertext for each feature follows.
        keys: The digest of the keys for products; of nothing, where the model needs none.
        ciphertexts: The digest of the ciphertexts, all batches after each other.
        client: The raw Ed25519 key that signed, in hexadecimal.
    """

    job: JobId
    request: Digest
    certificate: Digest
    profile: Slug
    profile_digest: Digest
    batches: int
    keys: Digest
    ciphertexts: Digest
    client: Slug

    KIND: ClassVar = DocumentKind.QUESTION
    TAG: ClassVar = "he-question/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-question.v1+json"
    MEMBERS: ClassVar = (
        "batches", "certificate", "ciphertexts", "client", "job", "keys", "profile", "profile_digest", "request", "v",
    )  # fmt: skip

    def __post_init__(self) -> None:
        whole(1, MOST_BATCHES, batches=self.batches)
        _raw(self.client)

    @property
    def signer(self) -> PublicKey:
        """The key that signed."""
        return PublicKey(_raw(self.client))

    def belongs_to(self, job: JobId, spec: InferenceSpec) -> bool:
        """Whether it is a question of this job."""
        profile = spec.profile
        return (self.job, self.request, self.certificate, self.batches) == (
            job, spec.digest, spec.certificate, spec.batches,
        ) and (self.profile, self.profile_digest) == (profile.name, profile.digest)  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "batches": self.batches,
            "certificate": self.certificate,
            "ciphertexts": self.ciphertexts,
            "client": self.client,
            "job": self.job,
            "keys": self.keys,
            "profile": self.profile,
            "profile_digest": self.profile_digest,
            "request": self.request,
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        return cls(
            job=JobId(members["job"]),
            request=Digest(members["request"]),
            certificate=Digest(members["certificate"]),
            profile=profile_of(members["profile"]).name,
            profile_digest=Digest(members["profile_digest"]),
            batches=members["batches"],
            keys=Digest(members["keys"]),
            ciphertexts=Digest(members["ciphertexts"]),
            client=Slug(members["client"]),
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as its client sends it, and as it may be sent again."""

    question: Question
    parcel: bytes


def ask_of(job: JobId, spec: InferenceSpec, keys: bytes, ciphertexts: bytes, entropy: Entropy) -> Asked:
    """Sign a question about what was encrypted, and put all of it into one body."""
    signer = Ed25519Signer.generate(entropy)
    profile = spec.profile
    question = Question(
        job=job,
        request=spec.digest,
        certificate=spec.certificate,
        profile=profile.name,
        profile_digest=profile.digest,
        batches=spec.batches,
        keys=Digest.of(keys),
        ciphertexts=Digest.of(ciphertexts),
        client=Slug(signer.public_key.raw.hex()),
    )
    return Asked(question, Parcel(question.signed(signer), keys + ciphertexts).to_bytes())


def _raw(written: str) -> bytes:
    try:
        raw = bytes.fromhex(written)
    except ValueError:
        raw = b""
    if len(raw) != _KEY_BYTES or raw.hex() != written:
        raise InvalidError("`client` is a raw Ed25519 key in hexadecimal", field="client")
    return raw
