"""Who takes part: identities, exchanged out of band and pinned, and the parties of one job.

Rules
-----
1. An identity is a name, a kind and two public keys. It is believed because a person pinned its file, not because a
   gateway showed it.
2. A gateway numbers parties (`pty_...`) for its own use; nothing is believed because of a number.

Format: docs/formats/he-documents.md.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernel import canonical
from kernel.canonical import Digest, digest_of
from kernel.checks import size, whole
from kernel.ids import DatasetId, PartyId, PopulationId, Slug
from kernel.signing import PublicKey, unbase64
from privacy.homomorphic.documents.party_kinds import PartyKind as PartyKind
from privacy.jobs.strict import members_of, one_of, text_of

IDENTITY_LIMIT = 4096
LEAST_PERSONS = 5
"""No site takes part with fewer persons than this, whatever an order says (RULES 39)."""
MOST_PERSONS = 10**9


@dataclass(frozen=True, slots=True)
class SealingKey:
    """A raw X25519 public key (32 bytes): what is sealed to it, its holder alone can open."""

    raw: bytes

    def __post_init__(self) -> None:
        size(32, sealing_key=self.raw)

    def written(self) -> str:
        """The raw key in base64."""
        return base64.b64encode(self.raw).decode("ascii")

    @classmethod
    def parse(cls, written: str) -> SealingKey:
        """Read what `written` writes."""
        return cls(unbase64(text_of(written, "sealing"), "sealing"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a party is: what `identity.json` holds and others pin.

    Attributes:
        name: What people call it.
        kind: Site or key holder.
        identity: It signs with this key.
        sealing: What is sealed for it, is sealed to this key.
    """

    name: Slug
    kind: PartyKind
    identity: PublicKey
    sealing: SealingKey

    @property
    def fingerprint(self) -> Digest:
        """What two people compare on the telephone."""
        return digest_of("party-identity/v1", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Encode as the members of the file."""
        return {
            "identity": self.identity.written(),
            "kind": self.kind.value,
            "name": self.name,
            "sealing": self.sealing.written(),
            "v": 1,
        }

    @classmethod
    def from_json(cls, body: Any) -> Identity:
        """Read the members strictly; raise `InvalidError` otherwise."""
        members = members_of(body, "identity", ("identity", "kind", "name", "sealing", "v"))
        whole(1, 1, v=members["v"])
        return cls(
            name=Slug(members["name"]),
            kind=one_of(PartyKind, members["kind"], "kind"),
            identity=PublicKey.parse(text_of(members["identity"], "identity")),
            sealing=SealingKey.parse(members["sealing"]),
        )

    def to_bytes(self) -> bytes:
        """Write the file."""
        return canonical.encode(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> Identity:
        """Read the file; raise `InvalidError` or `TooLargeError` for anything else."""
        return cls.from_json(canonical.decode(data, limit=IDENTITY_LIMIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A party in one job: the gateway's number for it, and who it is."""

    party: PartyId
    who: Identity

    def to_json(self) -> dict[str, Any]:
        """Encode as members of an order."""
        return {"party": self.party, "who": self.who.to_json()}

    @classmethod
    def from_json(cls, body: Any) -> Member:
        """Read the members strictly."""
        members = members_of(body, "member", ("party", "who"))
        return cls(party=PartyId(members["party"]), who=Identity.from_json(members["who"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMember:
    """A site in one job, and on what it takes part.

    Attributes:
        member: Which site.
        dataset: Its dataset, as the gateway knows it; the rows are with the site.
        population: Whose budget it is.
        weight: How much the site counts for in an average: a declared constant, never a number of rows.
        least_persons: With fewer persons it does not take part.
    """

    member: Member
    dataset: DatasetId
    population: PopulationId
    weight: int
    least_persons: int

    def __post_init__(self) -> None:
        whole(1, MOST_PERSONS, weight=self.weight)
        whole(LEAST_PERSONS, MOST_PERSONS, least_persons=self.least_persons)

    @property
    def party(self) -> PartyId:
        """The gateway's number for it."""
        return self.member.party

    @property
    def who(self) -> Identity:
        """Who it is."""
        return self.member.who

    def to_json(self) -> dict[str, Any]:
        """Encode as members of an order."""
        return {
            "dataset": self.dataset,
            "least_persons": self.least_persons,
            "party": self.party,
            "population": self.population,
            "weight": self.weight,
            "who": self.who.to_json(),
        }

    @classmethod
    def from_json(cls, body: Any) -> SiteMember:
        """Read the members strictly."""
        needed = ("dataset", "least_persons", "party", "population", "weight", "who")
        members: Mapping[str, Any] = members_of(body, "site", needed)
        return cls(
            member=Member(party=PartyId(members["party"]), who=Identity.from_json(members["who"])),
            dataset=DatasetId(members["dataset"]),
            population=PopulationId(members["population"]),
            weight=members["weight"],
            least_persons=members["least_persons"],
        )
