"""Every kind of certificate: of what was charged, of exact results, of answers, of what an owner has alone.

An artefact is called what those of its job's kind are: by its name it is known how it is judged.

Whoever only needs what all have (artefact, release, job, tenant, origin) takes a `Certificate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from kernel.ids import Slug
from kernel.signing import Envelope, PublicKey, open_envelope
from privacy.homomorphic.blind import spec as blind
from privacy.homomorphic.inferences import spec as inferences
from privacy.homomorphic.requests.questions import QUESTIONS
from privacy.jobs.kinds import KINDS
from privacy.release.blind import BlindCertificate, check_blind
from privacy.release.certificate import PAYLOAD_TYPE, PrivacyCertificate
from privacy.release.check import check
from privacy.release.disclosure import DisclosureCertificate
from privacy.release.disclosure_check import check_disclosure
from privacy.release.inference import ARTIFACT as ANSWER
from privacy.release.inference import InferenceCertificate
from privacy.release.inference_check import check_inference
from privacy.release.noised import NoisedCertificate
from privacy.release.noised_check import check_noised

Certificate: TypeAlias = (
    PrivacyCertificate | DisclosureCertificate | NoisedCertificate | InferenceCertificate | BlindCertificate
)


def read_certificate(statement: bytes) -> Certificate:
    """Read a statement strictly, as whichever it says it is; raise `InvalidError` otherwise."""
    for kind in (NoisedCertificate, InferenceCertificate, DisclosureCertificate, BlindCertificate):
        if kind.is_told_by(statement):
            return kind.parse(statement)
    return PrivacyCertificate.parse(statement)


def open_certificate(envelope: Envelope, trusted: Iterable[PublicKey]) -> Certificate:
    """Return the certificate that a trusted key signed; raise `CorruptError` or `InvalidError` otherwise."""
    return read_certificate(open_envelope(envelope, PAYLOAD_TYPE, trusted))


def problems_of(certificate: Certificate) -> tuple[str, ...]:
    """Every problem of a certificate by itself."""
    called = _NAMES[type(certificate)].get(certificate.predicate.kind)
    wrong = () if certificate.artifact_name == called else ("its artefact is not called what that of its kind is",)
    return (*wrong, *_of_predicate(certificate))


_COLLECTED: Final = {kind.value: question.ARTIFACT for kind, question in QUESTIONS.items()}
_NAMES: Final[Mapping[type[Certificate], Mapping[str, str]]] = {
    PrivacyCertificate: {kind.value: known.artifact for kind, known in KINDS.items()},
    DisclosureCertificate: _COLLECTED,
    NoisedCertificate: _COLLECTED,
    InferenceCertificate: {inferences.KIND: ANSWER},
    BlindCertificate: {blind.KIND: blind.ARTIFACT},
}
"""For each certificate what the artefact of a kind is called; a kind that it is not of has no name."""


def _of_predicate(certificate: Certificate) -> tuple[str, ...]:
    match certificate:
        case PrivacyCertificate():
            return check(certificate.predicate)
        case DisclosureCertificate():
            return check_disclosure(certificate.predicate)
        case NoisedCertificate():
            return check_noised(certificate.predicate)
        case InferenceCertificate():
            return check_inference(certificate.predicate)
        case BlindCertificate():
            return check_blind(certificate.predicate)


def origin_of(certificate: Certificate) -> Slug:
    """The log that a certificate cites."""
    match certificate:
        case PrivacyCertificate():
            return certificate.predicate.evidence.origin
        case DisclosureCertificate() | NoisedCertificate() | InferenceCertificate() | BlindCertificate():
            return certificate.predicate.origin
