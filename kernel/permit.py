"""Permit: what an allowed decision hands to the ledger across the wall between the peers.

`policies` produces it (`Allow.permit`), `privacy` asks for it before it reserves; neither knows the other. An
architecture test names the only callers of the constructor.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.amounts import Share
from kernel.canonical import Digest
from kernel.ids import DecisionId, GrantId, JobId, PrincipalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to reserve budget for one exact request.

    Attributes:
        decision: The decision that allowed it.
        decision_leaf: Leaf hash of that decision's log entry; known before the log integrates it.
        request: Digest of the job request that was decided on, in its final form.
        job: The job the request belongs to.
        principal: Who will run it.
        grant: The grant the decision rests on.
        trainer_share: The most of the population's budget that this principal may hold and spend in all.
    """

    decision: DecisionId
    decision_leaf: Digest
    request: Digest
    job: JobId
    principal: PrincipalId
    grant: GrantId
    trainer_share: Share
