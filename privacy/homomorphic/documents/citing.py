"""Which document each entry of the log cites: what an export holds of the parties' documents, and a reader demands.

Rules
-----
1. One table for whoever writes evidence and whoever judges it. A kind of document joins by a line here and a judge in
   `privgate.verify.parties`.
2. A document is named by a file whose name follows from the entry alone.
3. Of a parcel the signed document alone is evidence: neither ciphertexts nor keys nor states nor artefacts lie here.

Format: docs/formats/bundle.md, "Documents of the parties".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kernel.canonical import Digest
from kernel.ids import JobId, PartyId, VersionId
from privacy.events.blind import BlindBegun, BlindConcluded, BlindOrdered, GradientMade, WeightsReceived
from privacy.events.collections import (
    CollectionConcluded,
    KeyAnnounced,
    OrderIssued,
    PartyDeclined,
    PartyEnrolled,
    RoundDecrypted,
    RoundOpened,
    SiteAttested,
    SumMade,
    UploadReceived,
)
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind

FOLDER: Final = "parties"


@dataclass(frozen=True, slots=True)
class OfParty:
    """Who a party is: its `identity.json`, as it was enrolled."""

    party: PartyId

    @property
    def file(self) -> str:
        """Its name in a bundle."""
        return f"{FOLDER}/identities/{self.party}.json"


@dataclass(frozen=True, slots=True)
class OfVersion:
    """What a site said of its rows."""

    version: VersionId

    @property
    def file(self) -> str:
        """Its name in a bundle."""
        return f"{FOLDER}/attestations/{self.version}.json"


@dataclass(frozen=True, slots=True)
class OfJob:
    """A document of a job, at its place."""

    place: Place

    @property
    def file(self) -> str:
        """Its name in a bundle."""
        place = self.place
        parts = [
            place.kind.value,
            *([str(place.number)] if place.number else []),
            *([place.party] if place.party else []),
        ]
        return f"{FOLDER}/{place.job}/{'-'.join(parts)}.json"


Where: TypeAlias = OfParty | OfVersion | OfJob


@dataclass(frozen=True, slots=True)
class Cited:
    """What an entry cites.

    Attributes:
        where: Which document.
        digest: By which the entry names it, where it does.
    """

    where: Where
    digest: Digest | None = None

    @property
    def file(self) -> str:
        """Its name in a bundle."""
        return self.where.file


def cited(event: object) -> Cited | None:
    """What an event cites; nothing if it cites no document of a party."""
    citing = CITING.get(type(event))
    return None if citing is None else citing(event)


def _of_job(
    kind: DocumentKind, job: JobId, digest: Digest | None, number: int = 0, party: PartyId | None = None
) -> Cited:
    return Cited(OfJob(Place(job, kind, number, party)), digest)


CITING: Final[Mapping[type, Callable[[Any], Cited]]] = {
    PartyEnrolled: lambda e: Cited(OfParty(e.party), e.fingerprint),
    SiteAttested: lambda e: Cited(OfVersion(e.version)),
    OrderIssued: lambda e: _of_job(DocumentKind.ORDER, e.job, e.order),
    KeyAnnounced: lambda e: _of_job(DocumentKind.KEY, e.job, e.key),
    RoundOpened: lambda e: _of_job(DocumentKind.ROUND, e.job, e.round, e.number),
    SumMade: lambda e: _of_job(DocumentKind.SUM, e.job, e.sum, e.number),
    UploadReceived: lambda e: _of_job(DocumentKind.UPLOAD, e.job, e.upload, e.number, e.party),
    RoundDecrypted: lambda e: _of_job(DocumentKind.RESULT, e.job, e.result, e.number),
    CollectionConcluded: lambda e: _of_job(DocumentKind.FINAL, e.job, e.final),
    PartyDeclined: lambda e: _of_job(DocumentKind.REFUSAL, e.job, None, party=e.party),
    BlindOrdered: lambda e: _of_job(DocumentKind.ORDER, e.job, e.order),
    BlindBegun: lambda e: _of_job(DocumentKind.DATA, e.job, e.data),
    WeightsReceived: lambda e: _of_job(DocumentKind.WEIGHTS, e.job, e.weights, e.number),
    GradientMade: lambda e: _of_job(DocumentKind.GRADIENT, e.job, e.gradient, e.number),
    BlindConcluded: lambda e: _of_job(DocumentKind.FINAL, e.job, e.final),
}
