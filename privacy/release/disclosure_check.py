"""Checking a disclosure certificate by itself: what follows from other things in it, and what must be in every one."""

from __future__ import annotations

from collections.abc import Iterator

from kernel.errors import PrivgateError
from privacy.homomorphic.documents.order import LEAST_SITES
from privacy.homomorphic.documents.parties import LEAST_PERSONS
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.release.disclosure import DisclosurePredicate
from privacy.release.observers import observers_of


def check_disclosure(predicate: DisclosurePredicate) -> tuple[str, ...]:
    """Return every problem of a disclosure certificate; none means that it is one and complete."""
    return tuple(_problems(predicate))


def _problems(predicate: DisclosurePredicate) -> Iterator[str]:
    yield from _site_problems(predicate)
    known = [kind for kind in CollectionKind if kind.value == predicate.kind]
    try:
        profile = profile_of(predicate.encryption.profile)
    except PrivgateError:
        profile = None
    if not known or profile is None or tuple(predicate.observers) != observers_of(known[0], profile):
        yield "who learns what is not what such a job shows"
    digest = None if profile is None else profile.digest
    if digest != predicate.encryption.digest:
        yield "no profile of this name has this digest"
    course = predicate.course
    if not 1 <= course.rounds <= course.decryptions or course.learned < course.rounds:
        yield "fewer decryptions than rounds, or fewer numbers than decryptions"


def _site_problems(predicate: DisclosurePredicate) -> Iterator[str]:
    sites = predicate.sites
    if len(sites) < LEAST_SITES:
        yield "fewer sites than a job must have"
    columns: tuple[list[str], ...] = (
        [predicate.key_holder.party, *(site.site.party for site in sites)],
        [predicate.key_holder.fingerprint, *(site.site.fingerprint for site in sites)],
        [site.dataset for site in sites],
        [site.population for site in sites],
    )
    if any(len(set(values)) != len(values) for values in columns):
        yield "a party, a dataset or a population has two parts"
    for site in sites:
        if not 1 <= site.uncovered_since <= site.ledger_seq:
            yield "a population is said to be uncovered from after this result on"
        if site.least_persons < LEAST_PERSONS:
            yield "a site would have taken part with too few persons"
    if len(predicate.approvals) < 2:
        yield "fewer than two people wanted this disclosure"
