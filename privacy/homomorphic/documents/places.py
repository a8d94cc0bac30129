"""Where a document of a job lies at the gateway: one address for each, the same for whoever writes and reads it.

Rules
-----
1. A place is written once. The same bytes again are accepted and change nothing; other bytes are refused.
2. A place names no person and no row, and its address is safe as a part of a URL.

Format: docs/formats/he-documents.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.ids import JobId, PartyId
from privacy.homomorphic.documents.order import MOST_ROUNDS
from privacy.homomorphic.documents.signed import DocumentKind

ROOT = "/parties/v1"
WORK = f"{ROOT}/work"
DATASETS = f"{ROOT}/datasets"
CERTIFICATE = f"{ROOT}/certificate"
_OF_NO_JOB = frozenset({DocumentKind.ATTESTATION, DocumentKind.RENEWAL})
_OF_A_JOB = frozenset({DocumentKind.ORDER, DocumentKind.KEY, DocumentKind.DATA, DocumentKind.FINAL})
_OF_A_ROUND = frozenset(
    {DocumentKind.ROUND, DocumentKind.SUM, DocumentKind.RESULT, DocumentKind.WEIGHTS, DocumentKind.GRADIENT}
)
_OF_A_SITE = {DocumentKind.UPLOAD: "uploads", DocumentKind.HEADER: "headers"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one document lies.

    Attributes:
        job: In which job.
        kind: What kind of document.
        number: Of the round, for what belongs to one (an epoch of blind training is one); otherwise 0.
        party: Whose, for an upload, a header and a refusal.
    """

    job: JobId
    kind: DocumentKind
    number: int = 0
    party: PartyId | None = None

    def __post_init__(self) -> None:
        whole(0, MOST_ROUNDS, number=self.number)
        numbered = self.kind in _OF_A_ROUND or self.kind in _OF_A_SITE
        owned = self.kind in _OF_A_SITE or self.kind is DocumentKind.REFUSAL
        if self.kind in _OF_NO_JOB:
            raise InvalidError("an attestation and a renewal lie in no job", field="place")
        if numbered != (self.number > 0) or owned != (self.party is not None):
            raise InvalidError("a document of a round has a number, an upload and a refusal a party", field="place")

    @property
    def path(self) -> str:
        """Its address at the gateway."""
        base = f"{ROOT}/jobs/{self.job}"
        if self.kind in _OF_A_JOB:
            return f"{base}/{self.kind}"
        if self.kind in _OF_A_ROUND:
            return f"{base}/rounds/{self.number}/{self.kind}"
        if self.kind in _OF_A_SITE:
            return f"{base}/rounds/{self.number}/{_OF_A_SITE[self.kind]}/{self.party}"
        return f"{base}/refusals/{self.party}"
