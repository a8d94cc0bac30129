"""What a job on data of sites would take, and who would learn what: told before anybody is asked.

Rules
-----
1. Everything follows from the request and from declarations: the same for whoever asks, whatever rows there are.
2. Seconds are of computing alone, one step after the other: sites work side by side, the key holder after them, each
   in a confined process of its own, whose start is most of it. How often agents look, and how large a site's table is,
   is theirs. `longest_seconds` is when the job has failed for want of an answer at the latest.
3. An exact result has no epsilon, and the quote says so in words. A noised one has a price in each population, and an
   epsilon for each observer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from gateway.services.collections.paying import held_uses
from gateway.services.collections.planning import PlannedCollection
from gateway.services.deciding import Answer
from gateway.unit_of_work import Reading
from kernel.amounts import Epsilon, Share
from kernel.canonical import Digest
from kernel.events import Parameter
from kernel.ids import PopulationId, PrincipalId
from privacy.accounting.calibration import gaussian, largest_epsilon
from privacy.accounting.price import EXACT, price
from privacy.budget.ledger import Exhausted, limits
from privacy.budget.reservations import BlockHold, by_block
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.glm.noised import NoisedGlm
from privacy.homomorphic.glm.prospects import prospect_of
from privacy.homomorphic.noise import NoiseBy
from privacy.homomorphic.observing import observers
from privacy.homomorphic.profiles import Mode
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.spec import CollectionSpec
from privacy.homomorphic.sealed import OVERHEAD
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.statistics.report import reaches
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


NOISED: Final = (
    "Every site adds its share of the noise before it encrypts. The whole job is held in each population before it "
    "starts; what the rounds that are opened use up is charged, and a job that fails is charged as if all had been."
)
DECLINED: Final = (
    "If a site or the key holder declines after the job was admitted, by its own rules (aggregation, noise_by, "
    "most_rho) or for another reason, the whole job is charged to every population: ask their people first."
)
BY_TWO: Final = (
    "Gateway and key holder each add all of the noise; the sites add none, and trust that the two do not put together "
    "what they know. The whole job is held in each population before it starts; what the rounds that are opened use up "
    "is charged, and a job that fails is charged as if all had been."
)
SEMI_HONEST: Final = (
    "Semi-honest gateway: it adds the uploads, and a gateway that lies can have one site's numbers decrypted. Agents "
    "of sites and key holder refuse it unless their own people allowed it by "
    "`rules --aggregation semi-honest-gateway`{noise}."
)
_PER_MILLE: Final = Decimal("0.001")


def share_of(answer: Answer) -> Share:
    """The share of the budget that a decision leaves to its trainer."""
    obligations = answer.permission.obligations
    return Share.parse("1") if obligations is None else obligations.trainer_share


def quoted(
    reading: Reading, planned: PlannedCollection, principal: PrincipalId, shares: Sequence[Share]
) -> CollectionQuote:
    """Say what a planned job would take.

    Args:
        reading: What is stored.
        planned: The job.
        principal: Whose it would be.
        shares: What the decision of each dataset leaves him of its population's budget.
    """
    spec, layout, rounds = planned.spec, planned.layout, planned.plan.rounds
    sites, by = len(planned.sites), NoiseBy.SITES if spec.privacy is None else spec.privacy.by
    key_bytes = _key_bytes(planned)
    computing = PROCESS_MS * (1 + 2 * rounds) + CIPHERTEXT_MS * layout.ciphertexts * (sites + 1) * rounds
    marked = [
        str(site.dataset.population)
        for site in planned.sites
        if reading.ledger.read(site.dataset.population).account.uncovered_since is not None
    ]
    fields: dict[str, Any] = {
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
        "longest_seconds": spec.round_seconds * (_turns(spec) * rounds + 2),
        "aggregation": spec.aggregation.value,
        "observers": [one.to_fields() for one in observers_of(spec.kind, profile_of(spec.profile), by)],
        "uncovered_before": marked,
        "says": _says(spec),
    }
    if spec.privacy is not None:
        fields["privacy"] = _privacy(reading, planned, principal, shares)
    return CollectionQuote(spec, fields)


def _turns(spec: CollectionSpec) -> int:
    """How often a round may wait as long as it may: for a round, for uploads, for those that may be missing, a sum."""
    return 2 + bool(spec.question.missing) + (spec.aggregation is Aggregation.GATEWAY)


def _says(spec: CollectionSpec) -> str:
    """What there is to know in words, before anybody says yes."""
    words = WORDS
    if spec.privacy is not None:
        words = f"{NOISED if spec.privacy.by is NoiseBy.SITES else BY_TWO} {DECLINED}"
    if spec.aggregation is Aggregation.KEY_HOLDER:
        return words
    by_two = spec.privacy is not None and spec.privacy.by is not NoiseBy.SITES
    noise = f" and `--noise-by {NoiseBy.GATEWAY_AND_KEY_HOLDER}`" if by_two else ""
    return f"{words} {SEMI_HONEST.format(noise=noise)}"


def _privacy(
    reading: Reading, planned: PlannedCollection, principal: PrincipalId, shares: Sequence[Share]
) -> dict[str, Any]:
    """What a noised job is worth against whom, and what it costs each population."""
    uses, noise, privacy = planned.plan.uses(), planned.plan.noise, planned.spec.privacy
    assert noise is not None
    assert privacy is not None
    missing, count = planned.spec.question.missing, sum(use.times for use in uses)
    budgets = [
        _budget(reading, planned, site.dataset.population, principal, share)
        for site, share in zip(planned.sites, shares, strict=True)
    ]
    word = prospect_of(planned.plan, planned.public_size).value if isinstance(planned.plan, NoisedGlm) else None
    return {
        "delta": str(privacy.delta),
        "feasibility": word,
        "noise_multiplier": str(noise.noise_multiplier),
        "dropouts": missing,
        "observers": [one.to_json() for one in observers(noise, privacy.delta, noise.sites - missing, count)],
        "populations": budgets,
        "reaches": reaches(planned.plan, planned.public_size) if isinstance(planned.plan, FederatedStatistics) else [],
        "protects": planned.spec.question.protects.value,
        "noise_by": noise.by.value,
        "tolerated": noise.tolerated,
    }


def _budget(
    reading: Reading, planned: PlannedCollection, population: PopulationId, principal: PrincipalId, share: Share
) -> dict[str, Any]:
    standing = reading.ledger.read(population, principal=principal)
    account, budget = standing.account, standing.account.population.budget
    holds = [
        BlockHold.of(use, budget.order) for use in held_uses(planned.plan.uses(), account.population, account.homes)
    ]
    met = limits(standing, by_block(holds), share)
    available = min(limit.available for limit in met)
    charge = price(*planned.plan.uses(), order=budget.order)
    part = EXACT.divide(charge.value, budget.capacity.value).quantize(_PER_MILLE, rounding=ROUND_CEILING)
    return {
        "available": str(available),
        "budget_share": str(Parameter(part)),
        "capacity": str(budget.capacity),
        "charge": str(charge),
        "fits": not any(limit.short for limit in met),
        "further": int(EXACT.divide(available.value, charge.value).to_integral_value(ROUND_FLOOR)),
        "population": str(population),
    }


def largest_epsilon_of(planned: PlannedCollection, exhausted: Exhausted) -> Epsilon | None:
    """The largest epsilon of a job of this shape that would fit the population that refused; none if no job does."""
    refusal, count = exhausted.refusal, sum(use.times for use in planned.plan.uses())
    place = planned.priced.index(refusal.population)
    if refusal.retired or not refusal.limits:
        return None
    available, budget = min(limit.available for limit in refusal.limits), planned.budgets[place]
    return largest_epsilon(gaussian(count), gaussian(count), available, budget.order, budget.delta)


def _key_bytes(planned: PlannedCollection) -> int:
    """The public key, and under a seeded profile the secret key for each site, sealed and in base64 twice."""
    profile = profile_of(planned.spec.profile)
    instances = range(profile.instances)
    public = sum(public_key_form(profile, instance).size for instance in instances)
    if profile.mode is Mode.PUBLIC_KEY:
        return public
    sealed = OVERHEAD + sum(secret_key_form(profile, instance).size for instance in instances)
    return public + len(planned.sites) * -(-sealed * 16 // 9)
