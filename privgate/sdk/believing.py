"""Verifying a release before it is believed: certificate, artefact and receipt against the pinned trust file.

Rules
-----
1. The certificate is signed by a pinned certificate key, and its numbers follow from each other.
2. The artefact has the digest that the certificate states; the receipt proves the entry that published this very
   certificate and artefact, in the pinned log.
3. All of it is about the release that was asked for and the tenant that was enrolled in; a genuine certificate of
   another release is refused.

What needs the whole log (was it charged, was it decided) is `privgate verify`'s work.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.receipt import Receipt, ReceiptedEntry
from audit.trust import TrustFile
from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.signing import Envelope
from privacy.events.releases import ReleasePublished
from privacy.release.certificate import PrivacyCertificate
from privacy.release.disclosure import DisclosureCertificate
from privacy.release.statements import Certificate, open_certificate, origin_of, problems_of


@dataclass(frozen=True, slots=True)
class Believed:
    """What may be believed of a release."""

    certificate: Certificate
    entry: ReceiptedEntry

    @property
    def priced(self) -> PrivacyCertificate:
        """The certificate of a result that was charged; raise `CorruptError` if it is of several sites."""
        if isinstance(self.certificate, DisclosureCertificate):
            raise CorruptError("the certificate is of an exact result, which is no model", field="certificate.json")
        if not isinstance(self.certificate, PrivacyCertificate):
            raise CorruptError("the certificate has a price for each of several sites", field="certificate.json")
        return self.certificate


def believe(release: str, *, certificate: bytes, artifact: bytes, receipt: bytes, trust: TrustFile) -> Believed:
    """Verify the files of one release.

    Raises:
        CorruptError: One of them is not what it says; the field names the file.
        InvalidError: One of them is malformed.
    """
    believed = believe_papers(release, certificate=certificate, receipt=receipt, trust=trust)
    if Digest.of(artifact) != believed.certificate.artifact:
        raise CorruptError("the artefact is not the one that was certified", field=believed.certificate.artifact_name)
    return believed


def believe_papers(release: str, *, certificate: bytes, receipt: bytes, trust: TrustFile) -> Believed:
    """Verify certificate and receipt of one release, without what was released; raise as `believe` does."""
    opened = open_certificate(Envelope.from_bytes(certificate), trust.certificate_keys)
    predicate = opened.predicate
    if (predicate.release, predicate.tenant, origin_of(opened)) != (release, trust.tenant, trust.origin):
        raise CorruptError("the certificate is about another release", field="certificate.json")
    for problem in problems_of(opened):
        raise CorruptError(f"the certificate contradicts itself: {problem}", field="certificate.json")
    entry = Receipt.from_bytes(receipt).verify(origin=trust.origin, log_keys=trust.log_keys)
    _require_published(entry, opened, Digest.of(certificate))
    return Believed(opened, entry)


def _require_published(entry: ReceiptedEntry, opened: Certificate, certificate: Digest) -> None:
    payload, predicate = entry.payload, opened.predicate
    told = ReleasePublished(
        release=predicate.release, job=predicate.job, artifact=opened.artifact, certificate=certificate
    )
    same = payload.tenant == predicate.tenant and payload.type == ReleasePublished.TYPE
    if not same or dict(payload.fields) != told.to_fields():
        raise CorruptError("the receipt proves another entry than this release's publication", field="receipt")
