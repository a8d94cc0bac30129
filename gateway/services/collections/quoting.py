"""What a job on data of sites would take, and who would learn what: told before anybody is asked.

Rules
-----
1. Everything follows from the request and from declarations: the same for whoever asks, whatever rows there are.
2. Seconds are of computing alone, one step after the other: sites work side by side, the key holder after them, each
   in a confined process of its own, whose start is most of it. How often agents look, and how large a site's table is,
   is theirs. `longest_seconds` is when the job has failed for want of an answer at the latest.
3. An exact result has no epsilon, and the quote says so in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gateway.services.collections.planning import PlannedCollection
from gateway.unit_of_work import Reading
from kernel.canonical import Digest
from privacy.homomorphic.profiles import Mode
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.spec import CollectionSpec
from privacy.homomorphic.sealed import OVERHEAD
from privacy.homomorphic.wire import public_key_form, secret_key_form
from privacy.release.observers import observers_of

PROCESS_MS: Final = 2000
"""Of a confined process from its start to its end, on a core of a common server that has other things to do."""
CIPHERTEXT_MS: Final = 5
"""Of encrypting, checking, adding and decrypting one ciphertext of a site, generously (benchmarks/results/he.jsonl)."""
WORDS: Final = (
    "The result is exact: no noise is added, so nothing bounds what it tells about one person. Each population is "
    "marked as not covered from then on, in every later certificate. It needs, for each dataset, the yes of its owner "
    "and of another person."
)


@dataclass(frozen=True, slots=True)
class CollectionQuote:
    """A quote and the final form of the request that it is for."""

    spec: CollectionSpec
    fields: dict[str, Any]

    @property
    def request_digest(self) -> Digest:
        """Of the final form."""
        return self.spec.digest


def quoted(reading: Reading, planned: PlannedCollection) -> CollectionQuote:
    """Say what a planned job would take."""
    spec, layout, rounds = planned.spec, planned.layout, planned.spec.question.most_rounds
    sites = len(planned.sites)
    key_bytes = _key_bytes(planned)
    computing = PROCESS_MS * (1 + 2 * rounds) + CIPHERTEXT_MS * layout.ciphertexts * (sites + 1) * rounds
    marked = [
        str(site.dataset.population)
        for site in planned.sites
        if reading.ledger.read(site.dataset.population).account.uncovered_since is not None
    ]
    fields = {
        "kind": spec.kind.value,
        "result": spec.result.value,
        "sites": sites,
        "rounds_at_most": rounds,
        "profile": str(spec.profile),
        "numbers": layout.values,
        "bytes_per_site_and_round": layout.upload_bytes,
        "bytes_of_the_key": key_bytes,
        "bytes_per_site_at_most": layout.upload_bytes * rounds + key_bytes,
        "computing_seconds": -(-computing // 1000),
        "longest_seconds": spec.round_seconds * (2 * rounds + 2),
        "observers": [one.to_fields() for one in observers_of(spec.kind, profile_of(spec.profile))],
        "uncovered_before": marked,
        "says": WORDS,
    }
    return CollectionQuote(spec, fields)


def _key_bytes(planned: PlannedCollection) -> int:
    """The public key, and under a seeded profile the secret key for each site, sealed and in base64 twice."""
    profile = profile_of(planned.spec.profile)
    instances = range(profile.instances)
    public = sum(public_key_form(profile, instance).size for instance in instances)
    if profile.mode is Mode.PUBLIC_KEY:
        return public
    sealed = OVERHEAD + sum(secret_key_form(profile, instance).size for instance in instances)
    return public + len(planned.sites) * -(-sealed * 16 // 9)
