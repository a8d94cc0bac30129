"""What happened to jobs on data that the gateway never sees, and to the parties that take part in them.

Digests and counts alone: no sum, no ciphertext and no word of a party's own has a field here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DatasetId, DecisionId, JobId, PartyId, PopulationId, PrincipalId, Slug, VersionId
from privacy.homomorphic.documents.party_kinds import PartyKind


@dataclass(frozen=True, kw_only=True)
class PartyEnrolled(Event):
    """An agent may take part in jobs, for its owner.

    Attributes:
        fingerprint: Of its identity, as others pin it.
        certificate: SHA-256 of its TLS certificate.
    """

    TYPE: ClassVar[str] = "party:enrolled"
    party: PartyId
    kind: PartyKind
    name: Slug
    owner: PrincipalId
    fingerprint: Digest
    certificate: Digest


@dataclass(frozen=True, kw_only=True)
class PartyDisabled(Event):
    """An agent takes part in nothing any more, for good."""

    TYPE: ClassVar[str] = "party:disabled"
    party: PartyId


@dataclass(frozen=True, kw_only=True)
class PartyCertified(Event):
    """An agent was given another certificate for its connections; until it uses it, the one before is good as well.

    Attributes:
        certificate: SHA-256 of the TLS certificate.
        replaces: That of the one that it is to take the place of.
        until: Until when it is good.
    """

    TYPE: ClassVar[str] = "party:certified"
    party: PartyId
    certificate: Digest
    replaces: Digest
    until: datetime


@dataclass(frozen=True, kw_only=True)
class PartyRenewed(Event):
    """An agent used its other certificate for the first time: the one before is nobody's from here on."""

    TYPE: ClassVar[str] = "party:renewed"
    party: PartyId
    certificate: Digest


@dataclass(frozen=True, kw_only=True)
class SiteAttested(Event):
    """A site says which rows it will compute on: the version is its dataset's current one from here on.

    Attributes:
        manifest: The site's own keyed commitment to its rows.
    """

    TYPE: ClassVar[str] = "site:attested"
    version: VersionId
    dataset: DatasetId
    population: PopulationId
    party: PartyId
    manifest: Digest


@dataclass(frozen=True, kw_only=True)
class CollectionRequested(Event):
    """A trainer asked for a job on data of sites, and the policy of this dataset allows it, at once or once approved.

    There is one for each dataset of the job.

    Attributes:
        exact: Whether its result has no noise: then nothing bounds what it tells of one person.
    """

    TYPE: ClassVar[str] = "collection:requested"
    job: JobId
    kind: Slug
    dataset: DatasetId
    population: PopulationId
    party: PartyId
    key_holder: PartyId
    purpose: Slug
    request: Digest
    exact: bool
    decision: DecisionId
    awaits_approval: bool


@dataclass(frozen=True, kw_only=True)
class OrderIssued(Event):
    """A job was admitted by every one of its datasets, and its parties were told.

    Attributes:
        order: The order's digest.
        participants: The digest of its list of sites.
        profile: The encryption's named parameters.
    """

    TYPE: ClassVar[str] = "order:issued"
    job: JobId
    order: Digest
    participants: Digest
    profile: Slug
    key_holder: PartyId
    exact: bool


@dataclass(frozen=True, kw_only=True)
class KeyAnnounced(Event):
    """The key holder vouched for a job's key."""

    TYPE: ClassVar[str] = "key:announced"
    job: JobId
    key: Digest
    public_key: Digest


@dataclass(frozen=True, kw_only=True)
class RoundOpened(Event):
    """The key holder asked the sites for their sums; what the round's document holds has left (RULES 37)."""

    TYPE: ClassVar[str] = "round:opened"
    job: JobId
    number: int
    round: Digest


@dataclass(frozen=True, kw_only=True)
class UploadReceived(Event):
    """A site's encrypted sums came."""

    TYPE: ClassVar[str] = "upload:received"
    job: JobId
    number: int
    party: PartyId
    upload: Digest


@dataclass(frozen=True, kw_only=True)
class SumMade(Event):
    """The gateway added the uploads of a round, on ciphertexts: in jobs whose owners trust it with that.

    Attributes:
        sum: The digest of the document that names the uploads and the ciphertexts of their sum.
        sites: How many uploads were added.
    """

    TYPE: ClassVar[str] = "sum:made"
    job: JobId
    number: int
    sum: Digest
    sites: int


@dataclass(frozen=True, kw_only=True)
class RoundDecrypted(Event):
    """The key holder added the uploads of a round and decrypted their sum.

    Attributes:
        sites: How many uploads were added.
        learned: How many numbers the key holder read.
        decryptions: How many it has begun under this job's key so far.
    """

    TYPE: ClassVar[str] = "round:decrypted"
    job: JobId
    number: int
    result: Digest
    sites: int
    learned: int
    decryptions: int


@dataclass(frozen=True, kw_only=True)
class PartyDeclined(Event):
    """A party does not go on with a job; why, it does not say."""

    TYPE: ClassVar[str] = "party:declined"
    job: JobId
    party: PartyId


@dataclass(frozen=True, kw_only=True)
class CollectionConcluded(Event):
    """The key holder signed what came of a job.

    Attributes:
        final: The digest of its last document.
        artifact: The digest of what may be released.
    """

    TYPE: ClassVar[str] = "collection:concluded"
    job: JobId
    final: Digest
    artifact: Digest
    rounds: int
    decryptions: int


COLLECTION_EVENTS: tuple[type[Event], ...] = (
    PartyEnrolled,
    PartyDisabled,
    PartyCertified,
    PartyRenewed,
    SiteAttested,
    CollectionRequested,
    OrderIssued,
    KeyAnnounced,
    RoundOpened,
    UploadReceived,
    SumMade,
    RoundDecrypted,
    PartyDeclined,
    CollectionConcluded,
)
