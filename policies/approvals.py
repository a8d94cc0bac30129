"""Approvals: a person's yes or no to one exact request.

Rules
-----
1. An approval binds the digest of the request. A request that changed by one character is another request.
2. It lapses at `until`. Whether its giver had the right to give it is decided when it is used, not when it is read.
3. It is a fact of the request that uses it and stands in the log as `approval:given`; replay compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kernel.canonical import Digest
from kernel.clock import check_time
from kernel.events import Record
from kernel.ids import ApprovalId, PrincipalId
from policies.vocabulary import ApprovalVerdict


@dataclass(frozen=True, kw_only=True)
class Approval(Record):
    """One answer of one person to one request."""

    approval: ApprovalId
    approver: PrincipalId
    verdict: ApprovalVerdict
    request_digest: Digest
    until: datetime

    def __post_init__(self) -> None:
        check_time(self.until, "until")

    def concerns(self, request_digest: Digest | None, at: datetime) -> bool:
        """Whether it is about exactly this request and has not lapsed."""
        return self.request_digest == request_digest and at < self.until
