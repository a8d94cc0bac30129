"""Checking a noised certificate of several sites by itself: prices, balances and observers, worked out again.

Rules
-----
1. Standard library and the kernel only. Problems are collected, not raised.
2. The second accountant's figures are compared with ours, whoever wrote them down (RULES 25).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext

from kernel.errors import PrivgateError
from privacy.accounting.mechanisms import Gaussian
from privacy.accounting.price import EXACT, divergence
from privacy.homomorphic.documents.order import LEAST_SITES
from privacy.homomorphic.documents.parties import LEAST_PERSONS
from privacy.homomorphic.noise import NoiseBy, Protected
from privacy.homomorphic.observing import observers
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.kinds import CollectionKind, gaussians_after
from privacy.release.check import priced_problems
from privacy.release.noised import NoisedPredicate, NoisedSiteFacts, ObservedFacts
from privacy.release.observers import observers_of

RELATIVE = Decimal("1e-9")


def check_noised(predicate: NoisedPredicate) -> tuple[str, ...]:
    """Return every problem of a noised certificate; none means that it is one and complete."""
    return tuple(_problems(predicate))


def _problems(predicate: NoisedPredicate) -> Iterator[str]:
    yield from _part_problems(predicate)
    for site in predicate.sites:
        try:
            yield from priced_problems(site)
            yield from _mechanism_problems(predicate, site)
            yield from _agreement_problems(site)
        except PrivgateError as error:
            yield f"a figure cannot be recomputed: {error.message}"
    try:
        yield from _observer_problems(predicate)
    except PrivgateError as error:
        yield f"what observers learn cannot be recomputed: {error.message}"
    course = predicate.course
    if not 1 <= course.rounds <= course.decryptions or course.learned < course.rounds:
        yield "fewer decryptions than rounds, or fewer numbers than decryptions"


def _part_problems(predicate: NoisedPredicate) -> Iterator[str]:
    sites = predicate.sites
    if len(sites) < LEAST_SITES:
        yield "fewer sites than a job must have"
    columns: tuple[list[str], ...] = (
        [predicate.key_holder.party, *(site.site.party for site in sites)],
        [predicate.key_holder.fingerprint, *(site.site.fingerprint for site in sites)],
        [site.dataset for site in sites],
        [site.population.id for site in sites],
    )
    if any(len(set(values)) != len(values) for values in columns):
        yield "a party, a dataset or a population has two parts"
    if any(site.least_persons != LEAST_PERSONS for site in sites):
        yield "a site was asked whether it has so many persons: with noise its own minimum decides"
    if predicate.noise.sites != len(sites):
        yield "its noise is that of another number of sites"
    missing = len(sites) - predicate.noise.present
    by_sites = predicate.noise.by is not NoiseBy.GATEWAY_AND_KEY_HOLDER
    if missing < 0 or (by_sites and missing and missing >= predicate.noise.tolerated):
        yield "more sites were missing than its noise tolerates beside one that knows its own"
    updates = _kind_of(predicate) is CollectionKind.HE_AGGREGATE
    if predicate.noise.present != len(sites) and not updates:
        yield "a site was missing, and nothing may come of such a job without it"
    if predicate.protects is not Protected.PERSON and not updates:
        yield "it says to protect what no job of this kind bounds"


def _mechanism_problems(predicate: NoisedPredicate, site: NoisedSiteFacts) -> Iterator[str]:
    """Each site is charged for the very noise that is stated, and for no fewer rounds than were decrypted."""
    for part in site.mechanisms:
        use = part.mechanism
        if not isinstance(use, Gaussian) or use.noise_multiplier != predicate.noise.noise_multiplier:
            yield "a site was charged for other noise than was added"
        elif use.count < gaussians_after(predicate.kind, predicate.course.rounds):
            yield "a site was charged for fewer rounds than there were"


def _agreement_problems(site: NoisedSiteFacts) -> Iterator[str]:
    said, alone = site.agreement, site.this_job_alone
    if said.order != site.guarantee.order:
        yield "the second accountant was asked at another order"
    with localcontext(EXACT):
        ours = [divergence(part.mechanism, order=said.order) for part in site.mechanisms]
        if not any(abs(said.rdp.number - one) <= RELATIVE * one for one in ours):
            yield "the second accountant's divergence is not ours"
    if alone.pld_epsilon is not None and alone.pld_epsilon.number > alone.epsilon.value:
        yield "the second accountant's epsilon is above ours"


def _observer_problems(predicate: NoisedPredicate) -> Iterator[str]:
    delta = min(site.guarantee.delta for site in predicate.sites)
    count = max(part.mechanism.times for site in predicate.sites for part in site.mechanisms)
    present = predicate.noise.present
    ours = tuple(ObservedFacts.of(one) for one in observers(predicate.noise.noise, delta, present, count))
    if tuple(predicate.epsilons) != ours:
        yield "an observer's epsilon does not follow from the noise"
    kind, profile = _kind_of(predicate), profile_of(predicate.encryption.profile)
    if kind is None or tuple(predicate.observers) != observers_of(kind, profile, predicate.noise.noise.by):
        yield "who learns what is not what such a job shows"
    if predicate.encryption.aggregation != predicate.noise.aggregation:
        yield "its noise is for uploads that somebody else added"
    if profile.digest != predicate.encryption.digest:
        yield "no profile of this name has this digest"


def _kind_of(predicate: NoisedPredicate) -> CollectionKind | None:
    return next((kind for kind in CollectionKind if kind.value == predicate.kind), None)
