"""The certificate of a noised result of several sites: what it cost each population, and what it is worth against whom.

Rules
-----
1. It is made from the charges of all populations, never beside them, and its fields have closed kinds.
2. Each site has a guarantee of its own: adaptive, cumulative, of its population. Epsilon of this job alone is also
   stated for each observer, because noise that an observer knows does not count for him (RULES 35).
3. `not_covered` is mandatory. Documents of the parties are cited by their digests, as in a disclosure.

Format: docs/formats/certificate.md, "Noised result of several sites".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from kernel.amounts import Epsilon
from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from kernel.ids import ApprovalId, DatasetId, DecisionId, JobId, ReleaseId, Slug, TenantId, VersionId
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.noise import NoiseBy, Protected, SiteNoise
from privacy.homomorphic.observing import Observed
from privacy.release.certificate import (
    AgreementFacts,
    ChargedMechanism,
    Guarantee,
    PopulationFacts,
    SoftwareFacts,
    ThisJobAlone,
)
from privacy.release.disclosure import CourseFacts, EncryptionFacts, PartyFacts
from privacy.release.in_toto import Statement
from privacy.release.observers import ObserverFacts
from privacy.release.settlement import Charge

PREDICATE_TYPE = "urn:privgate:noised-certificate:v1"


class NotCovered(StrEnum):
    """What the certificate does not say. The values are the sentences that people read."""

    COALITIONS = (
        "Whoever knows the noise of more sites than are tolerated, or decrypts one site's upload alone: what epsilon "
        "is then, if there is any, stands with the observers."
    )
    NOISE = (
        "Whether the sites added their noise: nobody else can see it. Each site that did protects its own people, and "
        "those of the others by its share."
    )
    ROWS = "Whether the sites computed on the rows that they attested, and rightly: nobody else saw a row."
    DECLINED = "That a site may decline a job because too few persons are in its file: whoever looks learns that."
    OTHER_OWNERS = "The same person's rows at another site or owner: each population is charged for its own people."
    UTILITY = "Whether the result is right, fair or fit for a purpose."
    SEMI_HONEST = (
        "Semi-honest gateway: a gateway that lies can have one site's numbers decrypted. It added the uploads, and "
        "nobody else can see that what it handed on is their sum. What noise is left then stands with the observers."
    )
    NOISE_OF_TWO = (
        "Whether gateway and key holder each added all of the noise: nobody else can see it. One that did not leaves a "
        "person with the other's alone, and none against that other; the two together know all of it."
    )


def not_covered(noise: NoiseFacts) -> tuple[NotCovered, ...]:
    """What a certificate says that it does not cover, in this order, by who added uploads and noise."""
    without = set()
    if noise.aggregation is not Aggregation.GATEWAY:
        without |= {NotCovered.SEMI_HONEST}
    without |= {NotCovered.NOISE if noise.noise.by_two else NotCovered.NOISE_OF_TWO}
    return tuple(sentence for sentence in NotCovered if sentence not in without)


@dataclass(frozen=True, kw_only=True)
class NoiseFacts(Record):
    """What was added, as priced (`privacy.homomorphic.noise`), and how many sites gave their numbers in every round.

    Attributes:
        sites, tolerated, noise_multiplier: As in a plan.
        present: How many sites there were at least.
        by, aggregation: Who added noise and uploads, where it was the gateway that added uploads.
    """

    sites: int
    tolerated: int
    present: int
    noise_multiplier: Parameter
    by: NoiseBy | None = None
    aggregation: Aggregation | None = None

    @classmethod
    def of(cls, noise: SiteNoise, present: int) -> NoiseFacts:
        """State a plan's noise, and how many sites were there."""
        unusual = noise.aggregation is Aggregation.GATEWAY
        return cls(
            sites=noise.sites,
            tolerated=noise.tolerated,
            present=present,
            noise_multiplier=noise.noise_multiplier,
            by=noise.by if unusual else None,
            aggregation=noise.aggregation if unusual else None,
        )

    @property
    def noise(self) -> SiteNoise:
        """The plan's noise; raise `InvalidError` if it cannot be."""
        return SiteNoise(
            sites=self.sites,
            tolerated=self.tolerated,
            noise_multiplier=self.noise_multiplier,
            by=self.by or NoiseBy.SITES,
            aggregation=self.aggregation or Aggregation.KEY_HOLDER,
        )


@dataclass(frozen=True, kw_only=True)
class ObservedFacts(Record):
    """The epsilon of this job alone against one observer, at the least delta of its populations."""

    observer: Slug
    known: int
    noise_multiplier: Parameter | None = None
    epsilon: Epsilon | None = None

    @classmethod
    def of(cls, observed: Observed) -> ObservedFacts:
        """State what an observer can learn."""
        return cls(
            observer=Slug(observed.observer.replace(",", "").replace(" ", "-")),
            known=observed.known,
            noise_multiplier=observed.noise_multiplier,
            epsilon=observed.epsilon,
        )


@dataclass(frozen=True, kw_only=True)
class NoisedSiteFacts(Record):
    """One site's part, and what it cost the people there.

    Attributes:
        site: Who computed.
        dataset, version, manifest: On which rows, by the site's own keyed commitment.
        population: Who is protected.
        least_persons: With fewer it would not have taken part.
        decision: What admitted the job for this dataset.
        decision_leaf, reserve, charge: Leaf hashes of decision, reservation and charge.
        mechanisms: What was charged.
        guarantee, this_job_alone, agreement: As of every other certificate.
        uncovered_since: From which entry on the population is not covered, if an exact result left before.
    """

    site: PartyFacts
    dataset: DatasetId
    version: VersionId
    manifest: Digest
    population: PopulationFacts
    least_persons: int
    decision: DecisionId
    decision_leaf: Digest
    reserve: Digest
    charge: Digest
    mechanisms: tuple[ChargedMechanism, ...]
    guarantee: Guarantee
    this_job_alone: ThisJobAlone
    agreement: AgreementFacts
    uncovered_since: int | None = None


@dataclass(frozen=True, kw_only=True)
class NoisedPredicate(Record):
    """Everything the certificate states; see docs/formats/certificate.md."""

    tenant: TenantId
    release: ReleaseId
    job: JobId
    kind: Slug
    request: Digest
    differentially_private: bool
    key_holder: PartyFacts
    sites: tuple[NoisedSiteFacts, ...]
    noise: NoiseFacts
    protects: Protected
    epsilons: tuple[ObservedFacts, ...]
    encryption: EncryptionFacts
    course: CourseFacts
    observers: tuple[ObserverFacts, ...]
    approvals: tuple[ApprovalId, ...]
    policy_epoch: int
    origin: Slug
    software: SoftwareFacts
    not_covered: tuple[NotCovered, ...]
    issued_at: datetime

    def __post_init__(self) -> None:
        if not self.differentially_private or tuple(self.not_covered) != not_covered(self.noise):
            raise InvalidError("a noised result must say all that its certificate does not cover")
        if not self.sites or not all(site.mechanisms for site in self.sites):
            raise InvalidError("a noised result names every site, and what was charged there", field="sites")


@dataclass(frozen=True, kw_only=True)
class NoisedCertificate(Statement[NoisedPredicate]):
    """A predicate about one artefact that leaves."""

    PREDICATE_TYPE: ClassVar = PREDICATE_TYPE
    PREDICATE: ClassVar = NoisedPredicate
    WORDS: ClassVar = "a noised certificate"

    @classmethod
    def of(cls, settlements: Sequence[Charge], artifact_name: str, predicate: NoisedPredicate) -> NoisedCertificate:
        """Certify a settled outcome; each site must tell the charge of its own population.

        Args:
            settlements: The charge of each population, in the order of the sites.
            artifact_name: What the released file is called.
            predicate: What is stated.

        Raises:
            InvalidError: A site tells another charge, or the charges settle several artefacts.
        """
        artifacts = {settlement.artifact for settlement in settlements}
        if len(settlements) != len(predicate.sites) or len(artifacts) != 1:
            raise InvalidError("one charge for each site, all of one artefact", field="sites")
        for settlement, site in zip(settlements, predicate.sites, strict=True):
            settlement.require_agreement(predicate.job, site.guarantee.charge, site.guarantee.ledger_seq)
        return cls(artifact_name=artifact_name, artifact=artifacts.pop(), predicate=predicate)
