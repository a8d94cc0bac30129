"""What gateway and site tell each other in blind training: signed, chained, and without a number that anybody reads.

Rules
-----
1. One signer for each kind: the gateway signs the order and the gradients, the site everything else. Who may sign is
   checked against pins and enrolment, never against the document.
2. order <- data <- weights 1 <- gradient 1 <- weights 2 <- ... <- final: each names the digest of the one before; all
   name the order. So none can be left out, repeated, reordered or taken from another job.
3. The bytes beside a document are ciphertexts under the site's own key, or its evaluation keys. The final has none: the
   model stays at the site, which signs a commitment to it, keyed by a salt that it keeps.

Format: docs/formats/he-blind.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from kernel.canonical import Digest
from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.ids import DatasetId, JobId, PopulationId, Slug
from privacy.homomorphic.blind.shape import MOST_EPOCHS
from privacy.homomorphic.blind.spec import KIND
from privacy.homomorphic.documents.order import LONGEST_ROUND
from privacy.homomorphic.documents.parties import Member, PartyKind
from privacy.homomorphic.documents.signed import Document, DocumentKind

AGREES_WITHIN: Final = "0.001"
"""How far a weight may be from that of the owner's own training in the clear; otherwise there is no final."""
_MOST_APPROVALS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindOrder(Document):
    """One blind training, as it was decided.

    Attributes:
        job: Which job.
        gateway: The origin of the gateway's log.
        spec, spec_digest: The request in its final form; what decision and approvals are bound to.
        plan: What site and gateway compute by.
        profile, profile_digest: The named parameters of the encryption.
        site: Who has rows, key and model.
        dataset, population: Whose rows.
        decision, approvals: Leaf hashes of their log entries.
        round_seconds: How long each document is waited for.
    """

    job: JobId
    gateway: str
    spec: Mapping[str, Any]
    spec_digest: Digest
    plan: Mapping[str, Any]
    profile: Slug
    profile_digest: Digest
    site: Member
    dataset: DatasetId
    population: PopulationId
    decision: Digest
    approvals: tuple[Digest, ...]
    round_seconds: int

    KIND: ClassVar = DocumentKind.ORDER
    TAG: ClassVar = "he-blind-order/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-blind-order.v1+json"
    MEMBERS: ClassVar = (
        "approvals", "dataset", "decision", "gateway", "job", "kind", "plan", "population", "profile", "profile_digest",
        "round_seconds", "site", "spec", "spec_digest", "v",
    )  # fmt: skip

    def __post_init__(self) -> None:
        text(200, gateway=self.gateway)
        whole(1, LONGEST_ROUND, round_seconds=self.round_seconds)
        whole(0, _MOST_APPROVALS, approvals=len(self.approvals))
        if self.site.who.kind is not PartyKind.SITE:
            raise InvalidError("blind training is a site's", field="site")
        for name, value in (("spec", self.spec), ("plan", self.plan)):
            if not isinstance(value, Mapping):
                raise InvalidError(f"`{name}` must be an object", field=name)

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "approvals": list(self.approvals),
            "dataset": self.dataset,
            "decision": self.decision,
            "gateway": self.gateway,
            "job": self.job,
            "kind": KIND,
            "plan": dict(self.plan),
            "population": self.population,
            "profile": self.profile,
            "profile_digest": self.profile_digest,
            "round_seconds": self.round_seconds,
            "site": self.site.to_json(),
            "spec": dict(self.spec),
            "spec_digest": self.spec_digest,
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        if members["kind"] != KIND:
            raise InvalidError(f"`kind` must be {KIND}", field="kind")
        if not isinstance(members["approvals"], list):
            raise InvalidError("`approvals` must be a list", field="approvals")
        return cls(
            job=JobId(members["job"]),
            gateway=members["gateway"],
            spec=members["spec"],
            spec_digest=Digest(members["spec_digest"]),
            plan=members["plan"],
            profile=Slug(members["profile"]),
            profile_digest=Digest(members["profile_digest"]),
            site=Member.from_json(members["site"]),
            dataset=DatasetId(members["dataset"]),
            population=PopulationId(members["population"]),
            decision=Digest(members["decision"]),
            approvals=tuple(Digest(leaf) for leaf in members["approvals"]),
            round_seconds=members["round_seconds"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindData(Document):
    """The site's evaluation keys and encrypted rows; both lie beside it, keys first.

    Attributes:
        job, order: Which job; the order's digest.
        profile: The profile's digest.
        keys, data: Digests of the two pieces beside it.
    """

    job: JobId
    order: Digest
    profile: Digest
    keys: Digest
    data: Digest

    KIND: ClassVar = DocumentKind.DATA
    TAG: ClassVar = "he-blind-data/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-blind-data.v1+json"
    MEMBERS: ClassVar = ("data", "job", "keys", "order", "profile", "v")

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "data": self.data,
            "job": self.job,
            "keys": self.keys,
            "order": self.order,
            "profile": self.profile,
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        digests = ("data", "keys", "order", "profile")
        return cls(job=JobId(members["job"]), **{name: Digest(members[name]) for name in digests})


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindWeights(Document):
    """The weights of an epoch, freshly encrypted; they lie beside it.

    Attributes:
        job, order: Which job; the order's digest.
        number: Of the epoch, from 1.
        previous: The digest of the data, or of the gradient before.
        weights: The digest of the bytes beside it.
    """

    job: JobId
    order: Digest
    number: int
    previous: Digest
    weights: Digest

    KIND: ClassVar = DocumentKind.WEIGHTS
    TAG: ClassVar = "he-blind-weights/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-blind-weights.v1+json"
    MEMBERS: ClassVar = ("job", "number", "order", "previous", "v", "weights")

    def __post_init__(self) -> None:
        whole(1, MOST_EPOCHS, number=self.number)

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "job": self.job,
            "number": self.number,
            "order": self.order,
            "previous": self.previous,
            "v": 1,
            "weights": self.weights,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        return cls(
            job=JobId(members["job"]),
            order=Digest(members["order"]),
            number=members["number"],
            previous=Digest(members["previous"]),
            weights=Digest(members["weights"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindGradient(Document):
    """What the gateway's worker made of an epoch's weights, still encrypted; it lies beside it.

    Attributes:
        job, order: Which job; the order's digest.
        number: Of the epoch.
        weights: The digest of the weights' document.
        gradient: The digest of the bytes beside it.
    """

    job: JobId
    order: Digest
    number: int
    weights: Digest
    gradient: Digest

    KIND: ClassVar = DocumentKind.GRADIENT
    TAG: ClassVar = "he-blind-gradient/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-blind-gradient.v1+json"
    MEMBERS: ClassVar = ("gradient", "job", "number", "order", "v", "weights")

    def __post_init__(self) -> None:
        whole(1, MOST_EPOCHS, number=self.number)

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "gradient": self.gradient,
            "job": self.job,
            "number": self.number,
            "order": self.order,
            "v": 1,
            "weights": self.weights,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        return cls(
            job=JobId(members["job"]),
            order=Digest(members["order"]),
            number=members["number"],
            weights=Digest(members["weights"]),
            gradient=Digest(members["gradient"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindFinal(Document):
    """The site has its model: every epoch was made, and the model is what its own training in the clear gives.

    It stands for both checks: where one fails there is no final, but a refusal.

    Attributes:
        job, order: Which job; the order's digest.
        previous: The digest of the last gradient.
        epochs: How many were made.
        model: The site's salted commitment to its model.
    """

    job: JobId
    order: Digest
    previous: Digest
    epochs: int
    model: Digest

    KIND: ClassVar = DocumentKind.FINAL
    TAG: ClassVar = "he-blind-final/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-blind-final.v1+json"
    MEMBERS: ClassVar = ("agrees_within", "epochs", "job", "model", "order", "previous", "v")

    def __post_init__(self) -> None:
        whole(1, MOST_EPOCHS, epochs=self.epochs)

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "agrees_within": AGREES_WITHIN,
            "epochs": self.epochs,
            "job": self.job,
            "model": self.model,
            "order": self.order,
            "previous": self.previous,
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        if members["agrees_within"] != AGREES_WITHIN:
            raise InvalidError(f"`agrees_within` is {AGREES_WITHIN}", field="agrees_within")
        return cls(
            job=JobId(members["job"]),
            order=Digest(members["order"]),
            previous=Digest(members["previous"]),
            epochs=members["epochs"],
            model=Digest(members["model"]),
        )
