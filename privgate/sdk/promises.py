"""What a certificate promises to one person, in a line or two for people; for every kind of certificate."""

from __future__ import annotations

from privacy.release.blind import BlindCertificate
from privacy.release.certificate import PrivacyCertificate
from privacy.release.disclosure import DisclosureCertificate
from privacy.release.inference import InferenceCertificate
from privacy.release.noised import NoisedCertificate
from privacy.release.statements import Certificate

EXACT = "no bound: the result is exact, nothing in it is noisy"


def promises(certificate: Certificate) -> list[tuple[str, str]]:
    """Title and words of each."""
    match certificate:
        case PrivacyCertificate():
            alone, total = certificate.predicate.this_job_alone, certificate.predicate.guarantee
            return [
                ("this job alone", f"epsilon {alone.epsilon} at delta {alone.delta}"),
                ("everything from these people", f"at most epsilon {total.epsilon} at delta {total.delta}"),
            ]
        case NoisedCertificate():
            return [
                (
                    f"people of {site.site.name}",
                    f"this job alone epsilon {site.this_job_alone.epsilon}, all {site.guarantee.epsilon} at most",
                )
                for site in certificate.predicate.sites
            ]
        case InferenceCertificate():
            model = certificate.predicate.model
            return [
                ("charged", f"nothing: it is an answer of the model {model.release}, which was paid for"),
                ("everything from its people", f"at most epsilon {model.guarantee.epsilon} at delta {model.delta}"),
            ]
        case DisclosureCertificate():
            return [("what one person may lose", EXACT)]
        case BlindCertificate():
            return [("what one person may lose", "nothing by this: the model stays with its owner")]


def epsilon_of(certificate: Certificate) -> str | None:
    """The epsilon of the job alone, where there is one for all."""
    return str(certificate.predicate.this_job_alone.epsilon) if isinstance(certificate, PrivacyCertificate) else None
