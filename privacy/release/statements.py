"""Either kind of certificate: of a result that was charged, or of an exact one that is a disclosure.

Whoever only needs what both have (artefact, release, job, tenant, origin) takes a `Certificate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from kernel.ids import Slug
from kernel.signing import Envelope, PublicKey, open_envelope
from privacy.release.certificate import PAYLOAD_TYPE, PrivacyCertificate
from privacy.release.check import check
from privacy.release.disclosure import DisclosureCertificate, is_disclosure
from privacy.release.disclosure_check import check_disclosure

Certificate: TypeAlias = PrivacyCertificate | DisclosureCertificate


def read_certificate(statement: bytes) -> Certificate:
    """Read a statement strictly, as whichever of the two it says it is; raise `InvalidError` otherwise."""
    kind = DisclosureCertificate if is_disclosure(statement) else PrivacyCertificate
    return kind.parse(statement)


def open_certificate(envelope: Envelope, trusted: Iterable[PublicKey]) -> Certificate:
    """Return the certificate that a trusted key signed; raise `CorruptError` or `InvalidError` otherwise."""
    return read_certificate(open_envelope(envelope, PAYLOAD_TYPE, trusted))


def problems_of(certificate: Certificate) -> tuple[str, ...]:
    """Every problem of a certificate by itself."""
    match certificate:
        case PrivacyCertificate():
            return check(certificate.predicate)
        case DisclosureCertificate():
            return check_disclosure(certificate.predicate)


def origin_of(certificate: Certificate) -> Slug:
    """The log that a certificate cites."""
    match certificate:
        case PrivacyCertificate():
            return certificate.predicate.evidence.origin
        case DisclosureCertificate():
            return certificate.predicate.origin
