"""The certificate of an exact result of several sites: who held which key, who learned what, that it has no epsilon.

Rules
-----
1. It is made from a disclosure, never beside one, and its fields have closed kinds: no free text.
2. It promises no differential privacy, and says so: `not_covered` is mandatory and begins with that.
3. What it cites lies in the log by hash: each site's decision, and the entry from which its population is no longer
   covered (RULES 20). Documents of the parties are cited by their digests.

Format: docs/formats/certificate.md, "Disclosure".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.events import Record
from kernel.ids import (
    ApprovalId,
    DatasetId,
    DecisionId,
    JobId,
    PartyId,
    PopulationId,
    ReleaseId,
    Slug,
    TenantId,
    VersionId,
)
from privacy.homomorphic.documents.order import Aggregation, Order
from privacy.release.certificate import SoftwareFacts
from privacy.release.in_toto import Statement
from privacy.release.observers import ObserverFacts
from privacy.release.settlement import Disclosure

PREDICATE_TYPE = "urn:privgate:disclosure-certificate:v1"


class NotCovered(StrEnum):
    """What the certificate does not say. The values are the sentences that people read."""

    EXACT = (
        "Differential privacy: nothing in this result is noisy. What it tells about one person has no bound, and two "
        "exact results over groups that differ by that person may tell everything that they summed."
    )
    COALITIONS = "The key holder together with all sites but one: they know the last one's sums in each round."
    KEY_HOLDER = (
        "A key holder who breaks the rules: it could decrypt one site's upload alone. It counts its own decryptions."
    )
    ROWS = "Whether the sites computed on the rows that they attested, and rightly: nobody else saw a row."
    OPERATOR = (
        "A gateway together with the key holder. By itself the gateway can refuse and delay; what it forges, the "
        "parties refuse."
    )
    UTILITY = "Whether the result is right, fair or fit for a purpose."
    SEMI_HONEST = (
        "Semi-honest gateway: a gateway that lies can have one site's numbers decrypted. It added the uploads, and "
        "nobody else can see that what it handed on is their sum."
    )


def not_covered(aggregation: Aggregation | None) -> tuple[NotCovered, ...]:
    """What a certificate says that it does not cover, in this order, by who added the uploads."""
    without = NotCovered.KEY_HOLDER if aggregation is Aggregation.GATEWAY else NotCovered.SEMI_HONEST
    return tuple(sentence for sentence in NotCovered if sentence is not without)


@dataclass(frozen=True, kw_only=True)
class PartyFacts(Record):
    """A party, as others pin it."""

    party: PartyId
    name: Slug
    fingerprint: Digest


@dataclass(frozen=True, kw_only=True)
class SiteFacts(Record):
    """One site's part.

    Attributes:
        site: Who computed.
        dataset, version, manifest: On which rows, by the site's own keyed commitment.
        population, unit: Whose rows they are, and what one of them is called.
        least_persons: With fewer it would not have taken part.
        decision, decision_leaf: What admitted the job for this dataset.
        ledger_seq, uncovered: The entry of the population's ledger by which this result is marked.
        uncovered_since: From which entry on the population is not covered; this one, or an earlier one.
    """

    site: PartyFacts
    dataset: DatasetId
    version: VersionId
    manifest: Digest
    population: PopulationId
    unit: Slug
    least_persons: int
    decision: DecisionId
    decision_leaf: Digest
    ledger_seq: int
    uncovered: Digest
    uncovered_since: int


@dataclass(frozen=True, kw_only=True)
class EncryptionFacts(Record):
    """Under which named parameters; the digest covers every one of them. And who added, where it was the gateway."""

    profile: Slug
    digest: Digest
    aggregation: Aggregation | None = None

    @classmethod
    def of(cls, order: Order) -> EncryptionFacts:
        """State an order's."""
        adds = None if order.aggregation is Aggregation.KEY_HOLDER else order.aggregation
        return cls(profile=order.profile, digest=order.profile_digest, aggregation=adds)


@dataclass(frozen=True, kw_only=True)
class CourseFacts(Record):
    """What the parties' documents say of the job's course.

    Attributes:
        order, key, final: Digests of documents.
        participants: The digest of the list of sites, which every upload named.
        rounds: How many there were.
        decryptions: How many the key holder began under this job's key, by its own count.
        learned: How many numbers it read in all rounds.
    """

    order: Digest
    key: Digest
    final: Digest
    participants: Digest
    rounds: int
    decryptions: int
    learned: int


@dataclass(frozen=True, kw_only=True)
class DisclosurePredicate(Record):
    """Everything the certificate states; see docs/formats/certificate.md."""

    tenant: TenantId
    release: ReleaseId
    job: JobId
    kind: Slug
    request: Digest
    differentially_private: bool
    key_holder: PartyFacts
    sites: tuple[SiteFacts, ...]
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
        said = tuple(self.not_covered)
        if self.differentially_private or said != not_covered(self.encryption.aggregation):
            raise InvalidError("a disclosure must say that it has no privacy, and all that it does not cover")
        if not self.sites:
            raise InvalidError("a disclosure names every site", field="sites")


@dataclass(frozen=True, kw_only=True)
class DisclosureCertificate(Statement[DisclosurePredicate]):
    """A predicate about one artefact that leaves."""

    PREDICATE_TYPE: ClassVar = PREDICATE_TYPE
    PREDICATE: ClassVar = DisclosurePredicate
    WORDS: ClassVar = "a disclosure certificate"

    @classmethod
    def of(cls, settlement: Disclosure, artifact_name: str, predicate: DisclosurePredicate) -> DisclosureCertificate:
        """Certify a settled outcome; settlement and predicate must mark the same populations.

        Raises:
            InvalidError: They do not.
        """
        marked = tuple((site.population, site.ledger_seq) for site in predicate.sites)
        settlement.require_agreement(predicate.job, marked)
        return cls(artifact_name=artifact_name, artifact=settlement.artifact, predicate=predicate)
