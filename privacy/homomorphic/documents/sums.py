"""The sum of a round's uploads, where the gateway adds: which uploads it says it added, and the ciphertexts of the sum.

Rules
-----
1. Only where request and order say `semi-honest-gateway` (RULES 34). Signed by the gateway's certificate key.
2. Nobody can check that the ciphertexts are the sum of these uploads: that is what the gateway is trusted for. What can
   be checked is that the uploads are those that the sites signed for this round, each once.

Format: docs/formats/he-documents.md, "Sum".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.ids import JobId
from privacy.homomorphic.documents.order import LEAST_SITES, MOST_ROUNDS, MOST_SITES
from privacy.homomorphic.documents.rounds import Added
from privacy.homomorphic.documents.signed import Document, DocumentKind


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySum(Document):
    """What the gateway says that it added.

    Attributes:
        job: Which job.
        order: The order's digest.
        number: Of the round.
        round: The round's digest.
        key: The digest of the public key.
        layout: The digest of where the values lie.
        added: The uploads, in the order of the order's sites.
        noised: Whether the gateway added noise of its own.
        body: The digest of the ciphertexts beside this document.
    """

    job: JobId
    order: Digest
    number: int
    round: Digest
    key: Digest
    layout: Digest
    added: tuple[Added, ...]
    noised: bool
    body: Digest

    KIND: ClassVar = DocumentKind.SUM
    TAG: ClassVar = "he-sum/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-sum.v1+json"
    MEMBERS: ClassVar = ("added", "body", "job", "key", "layout", "noised", "number", "order", "round", "v")

    def __post_init__(self) -> None:
        whole(1, MOST_ROUNDS, number=self.number)
        whole(LEAST_SITES, MOST_SITES, added=len(self.added))
        if len({added.site for added in self.added}) != len(self.added):
            raise InvalidError("a site is added once", field="added")
        if not isinstance(self.noised, bool):
            raise InvalidError("`noised` must be true or false", field="noised")

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "added": [added.to_json() for added in self.added],
            "body": self.body,
            "job": self.job,
            "key": self.key,
            "layout": self.layout,
            "noised": self.noised,
            "number": self.number,
            "order": self.order,
            "round": self.round,
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        if not isinstance(members["added"], list) or len(members["added"]) > MOST_SITES:
            raise InvalidError(f"`added` must be a list of at most {MOST_SITES}", field="added")
        digests = ("body", "key", "layout", "order", "round")
        return cls(
            job=JobId(members["job"]),
            number=members["number"],
            added=tuple(Added.from_json(added) for added in members["added"]),
            noised=members["noised"],
            **{name: Digest(members[name]) for name in digests},
        )
