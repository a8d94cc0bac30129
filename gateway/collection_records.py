"""What the gateway stores about parties and the jobs they take part in, as frozen rows.

The rules of `gateway.records` hold here as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel.canonical import Digest
from kernel.ids import DatasetId, DecisionId, JobId, PartyId, PopulationId, PrincipalId, Slug, TenantId, VersionId
from privacy.homomorphic.documents.parties import Identity, Member


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyRecord:
    """An enrolled agent.

    Attributes:
        owner: Who enrolled it, and for whom it acts.
        identity: Its public keys and name, as others pin them.
        fingerprint: The identity's.
        certificate: SHA-256 of its TLS certificate: how a connection is known to be its own.
        certificate_until: Until when that is good, as far as it is known here.
        next_certificate, next_key, next_until, next_pem: The certificate that takes its place at its first use, the
            digest of its key, until when it is good, and itself.
        disabled: It may do nothing any more, for good.
    """

    id: PartyId
    tenant: TenantId
    owner: PrincipalId
    name: Slug
    identity: Mapping[str, Any]
    fingerprint: Digest
    certificate: Digest
    certificate_until: datetime | None = None
    next_certificate: Digest | None = None
    next_key: Digest | None = None
    next_until: datetime | None = None
    next_pem: str | None = None
    disabled: bool = False
    created_at: datetime

    @property
    def who(self) -> Identity:
        """Its identity."""
        return Identity.from_json(self.identity)

    @property
    def member(self) -> Member:
        """The party as orders name it."""
        return Member(party=self.id, who=self.who)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionRecord:
    """How far a job over many sites has come.

    Attributes:
        key_holder: Who makes its key and decrypts.
        round: The round that is open, or was last; 0 before the first.
        deadline: Until when the next document must have come; absent unless the job is collecting.
    """

    job: JobId
    tenant: TenantId
    key_holder: PartyId
    round: int = 0
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSiteRecord:
    """One site's part in a job.

    Attributes:
        number: Its place in the job, from 0.
        version, manifest: What the site attested and the job is to read; set when the job is admitted.
        decision, decision_leaf: Name and leaf hash of the decision that admitted the job for this dataset.
        uncovered_seq, uncovered_leaf: Number and leaf hash of the entry that marks its population; set before anything
            can be decrypted.
        reserve_leaf: Leaf hash of the entry that holds what a noised result may cost its population.
    """

    job: JobId
    number: int
    party: PartyId
    dataset: DatasetId
    population: PopulationId
    version: VersionId | None = None
    manifest: Digest | None = None
    decision: DecisionId | None = None
    decision_leaf: Digest | None = None
    uncovered_seq: int | None = None
    uncovered_leaf: Digest | None = None
    reserve_leaf: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """A document of a job, as it came.

    Attributes:
        kind, number, party: Its place; `number` is 0 and `party` empty where it has none.
        digest: By which later documents name it.
        received: SHA-256 of what came.
        content: The bytes; of a long parcel, what is signed of it.
        blob: Where all bytes of a long one lie.
    """

    job: JobId
    kind: str
    number: int
    party: str
    tenant: TenantId
    digest: Digest
    received: Digest
    content: bytes | None = None
    blob: str | None = None
    created_at: datetime
