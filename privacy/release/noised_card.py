"""The card of a noised result of several sites: its certificate in words. It adds no claim."""

from __future__ import annotations

from importlib import resources
from string import Template

from privacy.release.noised import NoisedCertificate, NoisedPredicate

TEMPLATE = "noised_card.md.tmpl"


def noised_card(certificate: NoisedCertificate) -> str:
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
        noise_multiplier=predicate.noise.noise_multiplier,
        tolerated=predicate.noise.tolerated,
        guarantees="\n".join(_guarantees(predicate)),
        uncovered=_uncovered(predicate),
        delta=min(site.guarantee.delta for site in predicate.sites),
        epsilons="\n".join(
            f"| {one.observer.replace('-', ' ')} | {one.known} | {'no bound' if one.epsilon is None else one.epsilon} |"
            for one in predicate.epsilons
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


def _guarantees(predicate: NoisedPredicate) -> list[str]:
    lines = []
    for site in predicate.sites:
        said = site.guarantee
        figures = (said.epsilon, said.delta, said.before, said.charge, said.capacity, said.ledger_seq)
        lines.append(f"| {site.site.name} | `{site.population.id}` | " + " | ".join(map(str, figures)) + " |")
    return lines


def _uncovered(predicate: NoisedPredicate) -> str:
    """Which of the populations an exact result has left before."""
    names = [str(site.site.name) for site in predicate.sites if site.uncovered_since is not None]
    if not names:
        return "No exact result left these populations before."
    return f"**Exact results left the populations of {', '.join(names)} before: the promise does not cover those.**"
