"""The card of a blind training: its certificate in words, for people who will not read JSON. It adds no claim."""

from __future__ import annotations

from importlib import resources
from string import Template

from privacy.release.blind import BlindCertificate
from privacy.release.observers import table_rows

TEMPLATE = "blind_card.md.tmpl"


def blind_card(certificate: BlindCertificate) -> str:
    """Write the card of a certificate as Markdown; the signature is the reader's to check."""
    predicate, course = certificate.predicate, certificate.predicate.course
    text = resources.files("privacy.release").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return Template(text).substitute(
        release=predicate.release,
        artifact_name=certificate.artifact_name,
        artifact=certificate.artifact,
        kind=predicate.kind,
        job=predicate.job,
        site=predicate.site.name,
        fingerprint=predicate.site.fingerprint,
        dataset=predicate.dataset,
        version=predicate.version,
        population=predicate.population,
        epochs=course.epochs,
        rows=course.rows,
        terms=course.terms,
        agrees=course.agrees_within,
        profile=predicate.encryption.profile,
        observers=table_rows(predicate.observers),
        not_covered="\n".join(f"- {sentence}" for sentence in predicate.not_covered),
        origin=predicate.origin,
        order=course.order,
        data=course.data,
        final=course.final,
        model=course.model,
    )
