"""What the cards of results of several sites say alike: who held the key, who learned what, what is not covered."""

from __future__ import annotations

from importlib import resources
from string import Template

from privacy.release.disclosure import DisclosureCertificate
from privacy.release.noised import NoisedCertificate
from privacy.release.observers import table_rows


def course_card(template: str, certificate: DisclosureCertificate | NoisedCertificate, **own: object) -> str:
    """Fill a card's template as Markdown.

    Args:
        template: Its file.
        certificate: Whose parties, observers and documents are told.
        own: What this kind of certificate alone says.
    """
    predicate, course = certificate.predicate, certificate.predicate.course
    text = resources.files("privacy.release").joinpath(template).read_text(encoding="utf-8")
    return Template(text).substitute(
        own,
        release=predicate.release,
        artifact_name=certificate.artifact_name,
        artifact=certificate.artifact,
        kind=predicate.kind,
        job=predicate.job,
        count=len(predicate.sites),
        holder=predicate.key_holder.name,
        holder_fingerprint=predicate.key_holder.fingerprint,
        decryptions=course.decryptions,
        rounds=course.rounds,
        learned=course.learned,
        profile=predicate.encryption.profile,
        adder="" if predicate.encryption.aggregation is None else " by the gateway (semi-honest)",
        observers=table_rows(predicate.observers),
        not_covered="\n".join(f"- {sentence}" for sentence in predicate.not_covered),
        origin=predicate.origin,
        order=course.order,
        key=course.key,
        final=course.final,
        participants=course.participants,
    )
