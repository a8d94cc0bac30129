"""Settlement: how an outcome was paid for. Today there is one way, a charge.

Rules
-----
1. A settlement is made from an outcome and a reservation in state `charged`, of the same job, over what was started.
2. Two further ways are foreseen and have no code yet: to the key holder only, and a disclosure that every owner
   approved. A release without one of the three cannot be built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from kernel.amounts import Rdp
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.ids import JobId
from privacy.budget.reservations import BlockCharge, BlockHold, Reservation, ReservationState, Settled
from privacy.jobs.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """An outcome that was charged to the people it came from.

    Attributes:
        holds, charges: What was held and what of it was charged, in the same order.
        settled: Where the charge stands in its population's ledger.
    """

    job: JobId
    artifact: Digest
    holds: tuple[BlockHold, ...]
    charges: tuple[BlockCharge, ...]
    settled: Settled

    @classmethod
    def of(cls, outcome: Outcome, reservation: Reservation) -> Charge:
        """Settle an outcome with its job's charged reservation.

        Raises:
            ConflictError: Another job, not charged, or a charge for less than was started.
        """
        settled = reservation.settled
        if reservation.job != outcome.job or reservation.state is not ReservationState.CHARGED or settled is None:
            raise ConflictError("an outcome is settled by its own job's charge", field="job")
        charged = tuple(charge.times for charge in reservation.charges)
        if len(charged) != len(outcome.started) or any(c < s for c, s in zip(charged, outcome.started, strict=True)):
            raise ConflictError("less was charged than was started", field="started")
        return cls(
            job=outcome.job,
            artifact=outcome.artifact,
            holds=reservation.holds,
            charges=reservation.charges,
            settled=settled,
        )

    def require_agreement(self, job: JobId, charge: Rdp, ledger_seq: int) -> None:
        """Return if a certificate about to be signed tells this charge; raise `InvalidError` otherwise."""
        if (job, charge, ledger_seq) != (self.job, self.settled.charge, self.settled.ledger_seq):
            raise InvalidError("the certificate tells another charge than the ledger", field="guarantee")


Settlement: TypeAlias = Charge
