"""The order: what the gateway decided, for whom, on whose data, and how often something may be learned.

Rules
-----
1. Signed by the gateway's certificate key; all others name its digest. Of a sum that the gateway makes, it signs that
   as well (`sums`); everything else is a site's or the key holder's.
2. At least three sites, each once: no party, identity, dataset or population stands in it twice (RULES 39).
3. Who takes part is fixed here, before anything is encrypted. `dropouts` says how many may fail to answer in a round:
   0 but for a kind whose sums make sense without them.

Format: docs/formats/he-documents.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Self

from kernel.canonical import Digest, digest_of
from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.ids import JobId, PartyId, Slug
from privacy.homomorphic.documents.parties import Member, PartyKind, SiteMember
from privacy.homomorphic.documents.signed import Document, DocumentKind
from privacy.jobs.strict import one_of

LEAST_SITES = 3
MOST_SITES = 1000
MOST_ROUNDS = 1000
LONGEST_ROUND = 7 * 86_400


class Outcome(StrEnum):
    """Whether what leaves is the exact result, or carries noise that is priced."""

    EXACT = "exact"
    NOISED = "noised"


class Aggregation(StrEnum):
    """Who adds the sites' uploads: who decrypts, from the signed uploads themselves, or the gateway (RULES 34)."""

    KEY_HOLDER = "key-holder"
    GATEWAY = "semi-honest-gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Document):
    """One homomorphic job, as it was decided.

    Attributes:
        job: Which job.
        gateway: The origin of the gateway's log.
        kind: `he.glm`, `he.statistics`, `he.aggregate`.
        spec: The request in its final form.
        spec_digest: Its digest, which decision and approvals are bound to.
        plan: What every party computes by; the form is the kind's own.
        outcome: Exact or noised.
        profile, profile_digest: The named parameters of the encryption.
        key_holder: Who makes the key and decrypts.
        sites: Whose encrypted sums are added, in this order.
        decisions, approvals: Leaf hashes of their log entries.
        rounds_at_most: The most results that may be decrypted.
        dropouts: How many sites may be missing in a round.
        round_seconds: How long a round waits for uploads.
    """

    job: JobId
    gateway: str
    kind: Slug
    spec: Mapping[str, Any]
    spec_digest: Digest
    plan: Mapping[str, Any]
    outcome: Outcome
    profile: Slug
    profile_digest: Digest
    key_holder: Member
    sites: tuple[SiteMember, ...]
    decisions: tuple[Digest, ...]
    approvals: tuple[Digest, ...]
    rounds_at_most: int
    dropouts: int
    round_seconds: int

    KIND: ClassVar = DocumentKind.ORDER
    TAG: ClassVar = "he-order/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-order.v1+json"
    MEMBERS: ClassVar = (
        "approvals",
        "decisions",
        "dropouts",
        "gateway",
        "job",
        "key_holder",
        "kind",
        "outcome",
        "plan",
        "profile",
        "profile_digest",
        "round_seconds",
        "rounds_at_most",
        "sites",
        "spec",
        "spec_digest",
        "v",
    )

    def __post_init__(self) -> None:
        text(200, gateway=self.gateway)
        whole(LEAST_SITES, MOST_SITES, sites=len(self.sites))
        whole(1, MOST_ROUNDS, rounds_at_most=self.rounds_at_most)
        whole(0, len(self.sites) - LEAST_SITES, dropouts=self.dropouts)
        whole(1, LONGEST_ROUND, round_seconds=self.round_seconds)
        for name, value in (("spec", self.spec), ("plan", self.plan)):
            if not isinstance(value, Mapping):
                raise InvalidError(f"`{name}` must be an object", field=name)
        self._check_parties()
        aggregation_of(self.spec)

    def _check_parties(self) -> None:
        kinds = [self.key_holder.who.kind, *(site.who.kind for site in self.sites)]
        if kinds != [PartyKind.KEYHOLDER, *[PartyKind.SITE] * len(self.sites)]:
            raise InvalidError("a key holder has a key holder's identity, a site a site's", field="sites")
        everybody = [self.key_holder, *(site.member for site in self.sites)]
        columns: dict[str, list[str]] = {
            "party": [member.party for member in everybody],
            "identity": [member.who.identity.key_id for member in everybody],
            "sealing": [member.who.sealing.raw.hex() for member in everybody],
            "name": [member.who.name for member in everybody],
            "dataset": [site.dataset for site in self.sites],
            "population": [site.population for site in self.sites],
        }
        for name, values in columns.items():
            if len(set(values)) != len(values):
                raise InvalidError(f"no two parties of a job may have the same `{name}`", field=name)

    @property
    def participants(self) -> Digest:
        """The digest of the list of sites, which key and uploads name."""
        return digest_of("he-participants/v1", [site.to_json() for site in self.sites])

    @property
    def aggregation(self) -> Aggregation:
        """Who adds the uploads, as the request says it."""
        return aggregation_of(self.spec)

    @property
    def parties(self) -> tuple[PartyId, ...]:
        """The sites' numbers, in order."""
        return tuple(site.party for site in self.sites)

    def site(self, party: PartyId) -> SiteMember | None:
        """The site of a number, or nothing."""
        return next((site for site in self.sites if site.party == party), None)

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "approvals": list(self.approvals),
            "decisions": list(self.decisions),
            "dropouts": self.dropouts,
            "gateway": self.gateway,
            "job": self.job,
            "key_holder": self.key_holder.to_json(),
            "kind": self.kind,
            "outcome": self.outcome.value,
            "plan": dict(self.plan),
            "profile": self.profile,
            "profile_digest": self.profile_digest,
            "round_seconds": self.round_seconds,
            "rounds_at_most": self.rounds_at_most,
            "sites": [site.to_json() for site in self.sites],
            "spec": dict(self.spec),
            "spec_digest": self.spec_digest,
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        return cls(
            job=JobId(members["job"]),
            gateway=members["gateway"],
            kind=Slug(members["kind"]),
            spec=members["spec"],
            spec_digest=Digest(members["spec_digest"]),
            plan=members["plan"],
            outcome=one_of(Outcome, members["outcome"], "outcome"),
            profile=Slug(members["profile"]),
            profile_digest=Digest(members["profile_digest"]),
            key_holder=Member.from_json(members["key_holder"]),
            sites=tuple(SiteMember.from_json(site) for site in _listed(members["sites"], "sites")),
            decisions=tuple(Digest(leaf) for leaf in _listed(members["decisions"], "decisions")),
            approvals=tuple(Digest(leaf) for leaf in _listed(members["approvals"], "approvals")),
            rounds_at_most=members["rounds_at_most"],
            dropouts=members["dropouts"],
            round_seconds=members["round_seconds"],
        )


def aggregation_of(spec: Mapping[str, Any]) -> Aggregation:
    """Who adds, as a request in its final form says it: it names nobody where that is the key holder."""
    adds: Aggregation = one_of(Aggregation, spec.get("aggregation", Aggregation.KEY_HOLDER.value), "aggregation")
    return adds


def _listed(value: Any, field: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > 2 * MOST_SITES:
        raise InvalidError(f"`{field}` must be a list of at most {2 * MOST_SITES}", field=field)
    return value
