"""How a job ends: with what the key holder made of the last result, or because somebody refuses to go on.

Rules
-----
1. The final is signed by the key holder; the artefact lies beside it (a parcel) and is what may be released.
2. A refusal says one word. Why, stays with who refuses: too few persons is a fact about rows.

Format: docs/formats/he-documents.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.ids import JobId, PartyId
from privacy.homomorphic.documents.order import MOST_ROUNDS, MOST_SITES
from privacy.homomorphic.documents.signed import Document, DocumentKind

DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Final(Document):
    """What came of a job.

    Attributes:
        job: Which job.
        order: The order's digest.
        previous: The digest of the last result.
        rounds: How many there were.
        decryptions: How many decryptions were begun under the job's key.
        sites: Whose uploads were added in every round.
        artefact: The digest of the artefact's bytes.
    """

    job: JobId
    order: Digest
    previous: Digest
    rounds: int
    decryptions: int
    sites: tuple[PartyId, ...]
    artefact: Digest

    KIND: ClassVar = DocumentKind.FINAL
    TAG: ClassVar = "he-final/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-final.v1+json"
    MEMBERS: ClassVar = ("artefact", "decryptions", "job", "order", "previous", "rounds", "sites", "v")

    def __post_init__(self) -> None:
        whole(1, MOST_ROUNDS, rounds=self.rounds)
        whole(self.rounds, LARGEST_INTEGER, decryptions=self.decryptions)
        whole(0, MOST_SITES, sites=len(self.sites))

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "artefact": self.artefact,
            "decryptions": self.decryptions,
            "job": self.job,
            "order": self.order,
            "previous": self.previous,
            "rounds": self.rounds,
            "sites": list(self.sites),
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        if not isinstance(members["sites"], list) or len(members["sites"]) > MOST_SITES:
            raise InvalidError(f"`sites` must be a list of at most {MOST_SITES}", field="sites")
        return cls(
            job=JobId(members["job"]),
            order=Digest(members["order"]),
            previous=Digest(members["previous"]),
            rounds=members["rounds"],
            decryptions=members["decryptions"],
            sites=tuple(PartyId(site) for site in members["sites"]),
            artefact=Digest(members["artefact"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Document):
    """A party does not go on with a job. Signed by that party.

    Attributes:
        job: Which job.
        order: The digest of the order as the gateway sent it.
        party: Who refuses.
    """

    job: JobId
    order: Digest
    party: PartyId

    KIND: ClassVar = DocumentKind.REFUSAL
    TAG: ClassVar = "he-refusal/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-refusal.v1+json"
    MEMBERS: ClassVar = ("job", "order", "party", "v", "word")

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {"job": self.job, "order": self.order, "party": self.party, "v": 1, "word": DECLINED}

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        if members["word"] != DECLINED:
            raise InvalidError(f"`word` is `{DECLINED}`", field="word")
        return cls(job=JobId(members["job"]), order=Digest(members["order"]), party=PartyId(members["party"]))
