"""A request for encrypted inference: which released model, why, and for how many batches of rows.

Rules
-----
1. A request says no number of rows: a batch has room for as many as there are slots, and how many of them are used
   stays with the client.
2. Dataset, certificate and shape follow from the model; whoever asks names none of them. The final form has them, so
   that decisions and approvals bind the very model.
3. Nothing is priced: the model was paid for when it was made, and what is computed from it alone costs nobody more.

Form: docs/formats/job-spec.md, "Encrypted inference".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from kernel.canonical import Digest, digest_of
from kernel.checks import text, whole
from kernel.errors import InvalidError, TooLargeError
from kernel.ids import DatasetId, ReleaseId, Slug
from privacy.homomorphic.inference import Shape
from privacy.homomorphic.profiles import Profile
from privacy.jobs.strict import members_of

KIND: Final = Slug("he.infer")
VERSION: Final = 1
MOST_BATCHES: Final = 64
LARGEST_QUESTION: Final = 48 * 2**20
"""Keys and ciphertexts of a question together, in bytes."""
_MEMBERS: Final = ("v", "kind", "dataset", "purpose", "release", "certificate", "profile", "shape", "batches")


def is_inference(body: Any) -> bool:
    """Whether a request, in any form, is for encrypted inference."""
    return isinstance(body, Mapping) and body.get("kind") == KIND


@dataclass(frozen=True, slots=True)
class InferenceOpening:
    """What is read of a request before anybody looks closer: which model, and why."""

    release: ReleaseId
    purpose: Slug

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> InferenceOpening:
        """Read it; raise `InvalidError` if a member is not what it must be."""
        return cls(
            ReleaseId(text(64, release=body.get("release", ""))), Slug(text(64, purpose=body.get("purpose", "")))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSpec:
    """A request in its final form.

    Attributes:
        dataset: That the model was trained on: its owner's grant permits this.
        purpose: Why.
        release: The model.
        certificate: The digest of the model's certificate.
        shape: What a client has to know of the model.
        batches: How many times as many rows as there are slots may be asked about.
    """

    dataset: DatasetId
    purpose: Slug
    release: ReleaseId
    certificate: Digest
    shape: Shape
    batches: int

    def __post_init__(self) -> None:
        whole(1, MOST_BATCHES, batches=self.batches)
        if self.question_bytes > LARGEST_QUESTION:
            raise TooLargeError(
                f"keys and ciphertexts of a question have at most {LARGEST_QUESTION} bytes: ask in several jobs",
                field="batches",
            )

    @property
    def profile(self) -> Profile:
        """The encryption's named parameters, which follow from the model."""
        return self.shape.profile

    @property
    def question_bytes(self) -> int:
        """How many bytes keys and ciphertexts have together."""
        return self.shape.key_bytes + self.batches * self.shape.request_bytes

    @property
    def answer_bytes(self) -> int:
        """How long the answer is."""
        return self.batches * self.shape.answer_bytes

    @property
    def most_rows(self) -> int:
        """How many rows there is room for."""
        return self.batches * self.profile.slots

    @property
    def digest(self) -> Digest:
        """What decisions, approvals and the question bind."""
        return digest_of("job-request/v1", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""
        return {
            "v": VERSION,
            "kind": str(KIND),
            "dataset": str(self.dataset),
            "purpose": str(self.purpose),
            "release": str(self.release),
            "certificate": str(self.certificate),
            "profile": str(self.profile.name),
            "shape": self.shape.to_json(),
            "batches": self.batches,
        }

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read the final form; raise `InvalidError` otherwise."""
        members = members_of(body, "request", _MEMBERS)
        _check_head(members)
        spec = cls(
            dataset=DatasetId(members["dataset"]),
            purpose=Slug(members["purpose"]),
            release=ReleaseId(members["release"]),
            certificate=Digest(members["certificate"]),
            shape=Shape.from_json(members["shape"]),
            batches=members["batches"],
        )
        if members["profile"] != spec.profile.name:
            raise InvalidError("`profile` is the one that the model's depth gives", field="profile")
        return spec


def complete_inference(body: Any, dataset: DatasetId, certificate: Digest, shape: Shape) -> InferenceSpec:
    """Fill in what follows from the model.

    Args:
        body: `kind`, `release` and `purpose`; `batches`, which is 1 if it is missing, and `v`.
        dataset: That the model was trained on.
        certificate: The digest of its certificate.
        shape: Its shape.

    Raises:
        InvalidError: A member that is unknown, missing or out of range.
        TooLargeError: More batches than a question has room for.
    """
    members = {"v": VERSION, **members_of(body, "request", ("kind", "release", "purpose"), ("v", "batches"))}
    _check_head(members)
    opening = InferenceOpening.of(members)
    return InferenceSpec(
        dataset=dataset,
        purpose=opening.purpose,
        release=opening.release,
        certificate=certificate,
        shape=shape,
        batches=members.get("batches", 1),
    )


def _check_head(members: Mapping[str, Any]) -> None:
    if members["v"] != VERSION or isinstance(members["v"], bool):
        raise InvalidError("this version reads requests with `v` 1", field="v")
    if members["kind"] != KIND:
        raise InvalidError(f"`kind` must be {KIND}", field="kind")
