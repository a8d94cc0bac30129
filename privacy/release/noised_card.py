"""The card of a noised result of several sites: its certificate in words. It adds no claim."""

from __future__ import annotations

from privacy.release.course_card import course_card
from privacy.release.noised import NoisedCertificate, NoisedPredicate

TEMPLATE = "noised_card.md.tmpl"


def noised_card(certificate: NoisedCertificate) -> str:
    """Write the card of a certificate as Markdown; the signature is the reader's to check."""
    predicate = certificate.predicate
    return course_card(
        TEMPLATE,
        certificate,
        noise=_noise(predicate),
        there=_there(predicate),
        protects=predicate.protects.value,
        guarantees="\n".join(_guarantees(predicate)),
        uncovered=_uncovered(predicate),
        delta=min(site.guarantee.delta for site in predicate.sites),
        epsilons="\n".join(
            f"| {one.observer.replace('-', ' ')} | {one.known} | {'no bound' if one.epsilon is None else one.epsilon} |"
            for one in predicate.epsilons
        ),
    )


def _noise(predicate: NoisedPredicate) -> str:
    """Who added how much."""
    said = predicate.noise
    if said.noise.by_two:
        return (
            f"Gateway and key holder each added\nall of the noise: multiplier {said.noise_multiplier} of what one unit "
            "moves. The sites added none."
        )
    return (
        f"Every site added its share of the noise before it\nencrypted: multiplier {said.noise_multiplier} of what one "
        f"unit moves, of which up to {said.tolerated} sites may be missing or tell theirs."
    )


def _there(predicate: NoisedPredicate) -> str:
    """How many sites took part in each round."""
    present = predicate.noise.present
    if predicate.noise.noise.by_two:
        return f"{present}\nsites or more gave their numbers."
    return f"the noise of {present}\nsites or more was there."


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
