"""What a site says about its rows before any job: that they are these, and stay so until it says otherwise.

Rules
-----
1. Signed by the site. `rows` is the site's own keyed commitment (RULES 30): it confirms no guess, and whoever is later
   given the site's key can check it.
2. The gateway makes a version of the dataset out of it; a job reads the version that was current when it was admitted.

Format: docs/formats/he-documents.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from kernel.canonical import Digest
from kernel.ids import DatasetId, PartyId
from privacy.homomorphic.documents.signed import Document, DocumentKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation(Document):
    """A site has rows of a dataset that fit its declared schema.

    Attributes:
        party: Which site.
        dataset: Which dataset.
        schema: The digest of the declared schema that they fit.
        rows: The site's keyed commitment to them.
    """

    party: PartyId
    dataset: DatasetId
    schema: Digest
    rows: Digest

    KIND: ClassVar = DocumentKind.ATTESTATION
    TAG: ClassVar = "he-attestation/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-attestation.v1+json"
    MEMBERS: ClassVar = ("dataset", "party", "rows", "schema", "v")

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {"dataset": self.dataset, "party": self.party, "rows": self.rows, "schema": self.schema, "v": 1}

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        return cls(
            party=PartyId(members["party"]),
            dataset=DatasetId(members["dataset"]),
            schema=Digest(members["schema"]),
            rows=Digest(members["rows"]),
        )
