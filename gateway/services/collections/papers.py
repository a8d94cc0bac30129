"""The documents of one job as they are stored, read back as what they are.

Everything here was judged before it was stored; signatures are checked again all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TypeVar

from gateway.collection_records import CollectionRecord, DocumentRecord, JobSiteRecord, PartyRecord
from gateway.records import JobRecord
from gateway.services.collaborators import Collaborators
from gateway.unit_of_work import Reading
from kernel.canonical import Digest
from kernel.errors import ConflictError
from kernel.ids import JobId, PartyId
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.documents.rounds import Round, RoundResult
from privacy.homomorphic.documents.signed import PARCELS, Document, DocumentKind, Parcel
from privacy.homomorphic.documents.sums import GatewaySum
from privacy.homomorphic.envelope import Expected
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.homomorphic.requests.plans import CollectionPlan
from privacy.homomorphic.requests.questions import question_of
from privacy.sealing.stores import BlobPath

D = TypeVar("D", bound=Document)


@dataclass
class Papers:
    """A job's rows and documents, read as they are needed."""

    on: Collaborators
    reading: Reading
    job: JobRecord
    collection: CollectionRecord
    sites: tuple[JobSiteRecord, ...]

    @classmethod
    def of(cls, on: Collaborators, reading: Reading, job: JobId, *, lock: bool = False) -> Papers:
        """Open a job's papers; raise `NotFoundError` if it is no job on data of sites."""
        collection = reading.collections.get(job=job)
        record = reading.jobs.get(lock=lock, id=job)
        sites = sorted(reading.job_sites.all(job=job), key=lambda site: site.number)
        return cls(on, reading, record, collection, tuple(sites))

    @cached_property
    def key_holder(self) -> PartyRecord:
        """Who makes the key and decrypts."""
        return self.reading.parties.get(id=self.collection.key_holder)

    @cached_property
    def order(self) -> Order:
        """What the gateway told the parties."""
        stored = self._required(DocumentKind.ORDER)
        return Order.opened(self.content(stored), [self.on.certificate_signer.public_key])

    @property
    def round_seconds(self) -> int:
        """How long each document is waited for: as the request says, and the order repeats."""
        return int(self.job.spec["round_seconds"])

    @cached_property
    def key(self) -> JobKey:
        """The job's key, without the public key's bytes."""
        return JobKey.opened(self._parcel(DocumentKind.KEY).document, [self.key_holder.who.identity])

    @cached_property
    def plan(self) -> CollectionPlan:
        """What every party computes by."""
        noised = self.order.outcome is Outcome.NOISED
        return question_of(CollectionKind(self.job.kind), noised=noised).read_plan(self.order.plan)

    @cached_property
    def layout(self) -> Layout:
        """Where a site's numbers lie."""
        return self.plan.layout(profile_of(self.order.profile), len(self.order.sites))

    def round_digest(self, number: int) -> Digest:
        """By which uploads and results name a round; it is not read again for each, as it may hold a whole model."""
        return self._required(DocumentKind.ROUND, number).digest

    def round(self, number: int) -> Round:
        """A round that was opened, with what it asks."""
        stored = self._required(DocumentKind.ROUND, number)
        return Round.opened(self.content(stored), [self.key_holder.who.identity])

    def result(self, number: int) -> RoundResult:
        """What a round's decryption was of."""
        return self._opened(RoundResult, number)

    def sum(self, number: int) -> GatewaySum:
        """What the gateway's worker added; raise `ConflictError` if it has not yet."""
        stored = self._required(DocumentKind.SUM, number)
        parcel = Parcel.from_bytes(self.content(stored))
        return GatewaySum.opened(parcel.document, [self.on.certificate_signer.public_key])

    def has_part(self, party: PartyId) -> bool:
        """Whether a party is this job's key holder or one of its sites."""
        return party == self.collection.key_holder or self.is_site(party)

    def is_site(self, party: PartyId) -> bool:
        """Whether a party is one of its sites."""
        return party in {site.party for site in self.sites}

    def find(self, kind: DocumentKind, number: int = 0, party: PartyId | None = None) -> DocumentRecord | None:
        """What lies in a place."""
        return self.reading.documents.find(job=self.job.id, kind=kind.value, number=number, party=party or "")

    def expected(self, site: PartyId, number: int) -> Expected:
        """What a site's upload of a round has to be."""
        order = self.order
        return Expected(
            job=order.job,
            order=order.digest,
            round=self.round_digest(number),
            number=number,
            key=self.key.public_key,
            participants=order.participants,
            site=site,
            layout=self.layout,
        )

    def is_over(self, number: int) -> bool:
        """Whether the time that a round waits for uploads has passed."""
        opened = self._required(DocumentKind.ROUND, number).created_at
        return self.on.clock.now() >= opened + timedelta(seconds=self.order.round_seconds)

    def uploads(self, number: int) -> dict[PartyId, DocumentRecord]:
        """The uploads of a round, by site."""
        kind = DocumentKind.UPLOAD.value
        found = self.reading.documents.all(job=self.job.id, kind=kind, number=number)
        return {PartyId(one.party): one for one in found}

    def content(self, stored: DocumentRecord) -> bytes:
        """A document's bytes as they came, wherever they lie."""
        return whole(self.on, stored)

    def _opened(self, kind: type[D], number: int) -> D:
        stored = self._required(kind.KIND, number)
        return kind.opened(self.content(stored), [self.key_holder.who.identity])

    def _parcel(self, kind: DocumentKind) -> Parcel:
        return Parcel.from_bytes(self.content(self._required(kind)))

    def _required(self, kind: DocumentKind, number: int = 0) -> DocumentRecord:
        found = self.find(kind, number)
        if found is None:
            raise ConflictError(f"the {kind} that this follows is not here yet", field="content")
        return found


def whole(on: Collaborators, stored: DocumentRecord) -> bytes:
    """A document's bytes as they came, those beside it included."""
    if stored.blob is None:
        return stored.content or b""
    with on.blobs.open(BlobPath(stored.blob)) as blob:
        return blob.read()


def signed_part(on: Collaborators, stored: DocumentRecord) -> bytes:
    """What was signed, without the bytes beside it; of a long parcel it lies in the row."""
    if DocumentKind(stored.kind) not in PARCELS:
        return whole(on, stored)
    if stored.blob is not None and stored.content is not None:
        return stored.content
    return Parcel.from_bytes(whole(on, stored)).document
