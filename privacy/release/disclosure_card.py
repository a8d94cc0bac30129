"""The card of an exact result: its certificate in words, for people who will not read JSON. It adds no claim."""

from __future__ import annotations

from importlib import resources
from string import Template

from privacy.release.disclosure import DisclosureCertificate

TEMPLATE = "disclosure_card.md.tmpl"


def disclosure_card(certificate: DisclosureCertificate) -> str:
    """Write the card of a certificate as Markdown; the signature is the reader's to check."""
    predicate, course = certificate.predicate, certificate.predicate.course
    template = resources.files("privacy.release").joinpath(TEMPLATE).read_text(encoding="utf-8")
    return Template(template).substitute(
        release=predicate.release,
        artifact_name=certificate.artifact_name,
        artifact=certificate.artifact,
        kind=predicate.kind,
        job=predicate.job,
        count=len(predicate.sites),
        sites="\n".join(
            f"| {site.site.name} | `{site.dataset}` | `{site.version}` | `{site.population}` | {site.uncovered_since} |"
            for site in predicate.sites
        ),
        holder=predicate.key_holder.name,
        holder_fingerprint=predicate.key_holder.fingerprint,
        decryptions=course.decryptions,
        rounds=course.rounds,
        learned=course.learned,
        profile=predicate.encryption.profile,
        observers="\n".join(
            f"| {one.observer} | {'yes' if one.secret_key else 'no'} | {', '.join(one.sees)} |"
            for one in predicate.observers
        ),
        not_covered="\n".join(f"- {sentence}" for sentence in predicate.not_covered),
        origin=predicate.origin,
        order=course.order,
        key=course.key,
        final=course.final,
        participants=course.participants,
    )
