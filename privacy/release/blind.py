"""The certificate of a blind training: that nothing left the owner of the rows, and who saw what on the way.

Rules
-----
1. It is made from a settlement that leaves all with the owner, and its fields have closed kinds: no free text.
2. It promises no differential privacy, and says so: `not_covered` is mandatory and begins with that.
3. What leaves is the owner's signed last word: it has no number of the model, but a salted commitment.

Format: docs/formats/certificate.md, "Blind training".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from kernel.canonical import Digest
from kernel.errors import InvalidError, PrivgateError
from kernel.events import Parameter, Record
from kernel.ids import (
    ApprovalId,
    DatasetId,
    DecisionId,
    JobId,
    PopulationId,
    ReleaseId,
    Slug,
    TenantId,
    VersionId,
)
from privacy.homomorphic.blind.documents import AGREES_WITHIN, BlindFinal
from privacy.homomorphic.blind.shape import LEAST_FEATURES, MOST_EPOCHS, MOST_FEATURES, MOST_ROWS, PROFILE
from privacy.homomorphic.blind.spec import KIND
from privacy.release.certificate import SoftwareFacts
from privacy.release.disclosure import EncryptionFacts, PartyFacts
from privacy.release.in_toto import Statement
from privacy.release.observers import Observer, ObserverFacts, Seen
from privacy.release.settlement import OwnerOnly

PREDICATE_TYPE = "urn:privgate:blind-certificate:v1"
OBSERVERS: tuple[ObserverFacts, ...] = (
    ObserverFacts(observer=Observer.GATEWAY, secret_key=False, sees=(Seen.CIPHERTEXTS, Seen.DECLARED)),
    ObserverFacts(observer=Observer.SITE, secret_key=True, sees=(Seen.OWN_ROWS, Seen.STATES, Seen.RESULT)),
)
"""Who sees what: the owner's site is key holder and trainer in one, and nobody else takes part."""


class NotCovered(StrEnum):
    """What the certificate does not say. The values are the sentences that people read."""

    PRIVACY = (
        "Differential privacy: the model is exact. It is with the owner of the rows alone. If he hands it out, that is "
        "his disclosure: nothing here bounds what it tells about one person."
    )
    EXPERIMENTAL = (
        "Experimental: before anything is encrypted the owner trains the same model in the clear, to see that a "
        "polynomial's range is not left. Whoever can do that does not need the gateway."
    )
    WRONG = (
        "A gateway that computes wrongly: the owner refuses a model that is not his own, and by that it learns one bit "
        "of each job, beside whether he declines to begin."
    )
    ROWS = "Whether the site trained on the rows that it attested: nobody else saw a row."
    UTILITY = (
        "Whether the model is right, fair or fit for a purpose. A polynomial stands in for the logistic function, and "
        "weights decay: its coefficients are not those of a logistic fit."
    )


@dataclass(frozen=True, kw_only=True)
class BlindCourse(Record):
    """What the documents say of the job's course.

    Attributes:
        order, data, final: Digests of documents.
        model: The site's salted commitment to its model.
        rows: For how many rows there was room: what the gateway learns of their number.
        terms: How many numbers a row had, the constant among them.
        epochs: How many were made.
        agrees_within: How far the weights are from training in the clear at most, by the owner's own comparison.
    """

    order: Digest
    data: Digest
    final: Digest
    model: Digest
    rows: int
    terms: int
    epochs: int
    agrees_within: Parameter


@dataclass(frozen=True, kw_only=True)
class BlindPredicate(Record):
    """Everything the certificate states; see docs/formats/certificate.md."""

    tenant: TenantId
    release: ReleaseId
    job: JobId
    kind: Slug
    request: Digest
    differentially_private: bool
    site: PartyFacts
    dataset: DatasetId
    version: VersionId
    manifest: Digest
    population: PopulationId
    unit: Slug
    decision: DecisionId
    decision_leaf: Digest
    encryption: EncryptionFacts
    course: BlindCourse
    observers: tuple[ObserverFacts, ...]
    approvals: tuple[ApprovalId, ...]
    policy_epoch: int
    origin: Slug
    software: SoftwareFacts
    not_covered: tuple[NotCovered, ...]
    issued_at: datetime

    def __post_init__(self) -> None:
        if self.differentially_private or tuple(self.not_covered) != tuple(NotCovered):
            raise InvalidError("blind training must say that it has no privacy, and all that it does not cover")


@dataclass(frozen=True, kw_only=True)
class BlindCertificate(Statement[BlindPredicate]):
    """A predicate about the owner's last word."""

    PREDICATE_TYPE: ClassVar = PREDICATE_TYPE
    PREDICATE: ClassVar = BlindPredicate
    WORDS: ClassVar = "a certificate of blind training"

    @classmethod
    def of(cls, settlement: OwnerOnly, artifact_name: str, predicate: BlindPredicate) -> BlindCertificate:
        """Certify a settled outcome; raise `InvalidError` if the predicate tells another course."""
        settlement.require_agreement(predicate.job, predicate.course.final, predicate.course.epochs)
        return cls(artifact_name=artifact_name, artifact=settlement.artifact, predicate=predicate)


def check_blind(predicate: BlindPredicate) -> tuple[str, ...]:
    """Return every problem of such a certificate by itself; none means that it is one and complete."""
    return tuple(_problems(predicate))


def _problems(predicate: BlindPredicate) -> Iterator[str]:
    course = predicate.course
    if predicate.kind != KIND:
        yield "it is of another kind of job"
    if tuple(predicate.observers) != OBSERVERS:
        yield "who learns what is not what such a job shows"
    if (predicate.encryption.profile, predicate.encryption.digest) != (PROFILE.name, PROFILE.digest):
        yield "no profile of this name has this digest"
    ranges = (
        (1, course.epochs, MOST_EPOCHS),
        (1, course.rows, MOST_ROWS),
        (LEAST_FEATURES, course.terms, MOST_FEATURES),
    )
    if any(not least <= value <= most for least, value, most in ranges):
        yield "more epochs, rows or terms than such a job can have"
    if course.agrees_within != AGREES_WITHIN:
        yield "the owner compares otherwise than it states"


def final_problems(predicate: BlindPredicate, data: bytes) -> Iterator[str]:
    """What the released file, the site's last word, says otherwise than its certificate."""
    try:
        final, course = BlindFinal.read(data), predicate.course
    except PrivgateError:
        yield "it is not the last document of a blind training"
        return
    told = (final.digest, final.job, final.order, final.model, final.epochs)
    if told != (course.final, predicate.job, course.order, course.model, course.epochs):
        yield "it is the last document of another job, order or model than was certified"
