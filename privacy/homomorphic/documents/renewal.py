"""What a party sends for another certificate of its connections: signed by its identity, for a key that it proves.

Rules
-----
1. It names the certificate that it replaces: sent again after that was replaced, it does nothing.
2. The request is in the party's own name; the identity stays, so that nobody pins anew.

Format: docs/formats/he-documents.md, "Renewal".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.ids import PartyId
from privacy.homomorphic.documents.signed import Document, DocumentKind
from privacy.jobs.strict import text_of

REQUEST_LIMIT = 4096
RENEWAL_LIMIT = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal(Document):
    """A party wants a certificate for another key.

    Attributes:
        party: Which party.
        request: The certificate request, in PEM.
        replaces: SHA-256 of the present certificate's DER.
    """

    party: PartyId
    request: str
    replaces: Digest

    KIND: ClassVar = DocumentKind.RENEWAL
    TAG: ClassVar = "party-renewal/v1"
    TYPE: ClassVar = "application/vnd.privgate.party-renewal.v1+json"
    MEMBERS: ClassVar = ("party", "replaces", "request", "v")

    def __post_init__(self) -> None:
        whole(1, REQUEST_LIMIT, request=len(self.request))

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {"party": self.party, "replaces": self.replaces, "request": self.request, "v": 1}

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        return cls(
            party=PartyId(members["party"]),
            request=text_of(members["request"], "request"),
            replaces=Digest(members["replaces"]),
        )
