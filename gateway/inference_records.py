"""What the gateway stores about encrypted questions, as frozen rows.

The rules of `gateway.records` hold here as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kernel.canonical import Digest
from kernel.ids import DecisionId, GrantId, JobId, ReleaseId, TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRecord:
    """How far a job on encrypted rows has come.

    Attributes:
        model: The released model that it evaluates.
        decision, under_grant: The decision that admitted it, and the grant that this rests on; set then.
        deadline: Until when the question must have come; absent unless the job waits for it.
        question: The digest of the question's document.
        document: The document, signed by its client.
        blob: Where the question lies, until it is answered.
    """

    job: JobId
    tenant: TenantId
    model: ReleaseId
    decision: DecisionId | None = None
    under_grant: GrantId | None = None
    deadline: datetime | None = None
    question: Digest | None = None
    document: bytes | None = None
    blob: str | None = None
