"""Settlement: how an outcome was paid for: by a charge, as a disclosure, before it was asked, or by staying at home.

Rules
-----
1. A charge is made from an outcome and a reservation in state `charged`, of the same job, over what was started.
2. A disclosure is made from the entries that mark every population of the job as not covered from there on (RULES 20).
3. An answer that its key holder alone can read is made from the entry that says which released model gave it: what is
   computed from a paid model and from the client's own rows costs the model's people nothing more.
4. What the owner of the rows has alone is made from the entry in which he says so; what is released beside it is his
   word, without a number of it.
5. A release without one of them cannot be built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kernel.amounts import Rdp
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.ids import JobId, PopulationId
from privacy.budget.reservations import BlockCharge, BlockHold, Reservation, ReservationState, Settled
from privacy.events.blind import BlindConcluded
from privacy.events.budget import PopulationUncovered
from privacy.events.inferences import QuestionAnswered
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """An exact outcome, for which each population of its job lost its cover.

    Attributes:
        marked: Each population, and the number of the entry in its ledger that marks this outcome.
    """

    job: JobId
    artifact: Digest
    marked: tuple[tuple[PopulationId, int], ...]

    @classmethod
    def of(cls, job: JobId, artifact: Digest, marks: Sequence[PopulationUncovered]) -> Disclosure:
        """Settle an outcome with the entries that mark it.

        Raises:
            ConflictError: None, one of another job, or one population twice.
        """
        marked = tuple((mark.population, mark.ledger_seq) for mark in marks)
        if not marks or any(mark.job != job for mark in marks) or len(dict(marked)) != len(marked):
            raise ConflictError("a disclosure marks each population of its own job once", field="job")
        return cls(job=job, artifact=artifact, marked=marked)

    def require_agreement(self, job: JobId, marked: tuple[tuple[PopulationId, int], ...]) -> None:
        """Return if a certificate about to be signed names exactly these marks; raise `InvalidError` otherwise."""
        if (job, marked) != (self.job, self.marked):
            raise InvalidError("the certificate marks other populations than the ledgers", field="sites")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHolderOnly:
    """An outcome that only whoever asked can read, computed from a released model: nothing is charged.

    Attributes:
        model: The digest of the certificate of the model, which was paid for.
        question: The digest of the question that it answers.
    """

    job: JobId
    artifact: Digest
    model: Digest
    question: Digest

    @classmethod
    def of(cls, answered: QuestionAnswered) -> KeyHolderOnly:
        """Settle an outcome with the entry that says what was evaluated."""
        return cls(job=answered.job, artifact=answered.answer, model=answered.model, question=answered.question)

    def require_agreement(self, job: JobId, model: Digest, question: Digest) -> None:
        """Return if a certificate about to be signed tells this answer; raise `InvalidError` otherwise."""
        if (job, model, question) != (self.job, self.model, self.question):
            raise InvalidError("the certificate tells another question or model than the log", field="question")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerOnly:
    """An outcome that its rows' owner has alone: nothing of it left, and nothing is charged.

    Attributes:
        artifact: The digest of his last document, which is released in its place.
        final, epochs: That document's digest as the log has it, and how many epochs it tells.
    """

    job: JobId
    artifact: Digest
    final: Digest
    epochs: int

    @classmethod
    def of(cls, artifact: Digest, concluded: BlindConcluded) -> OwnerOnly:
        """Settle an outcome with the entry that says where it is."""
        return cls(job=concluded.job, artifact=artifact, final=concluded.final, epochs=concluded.epochs)

    def require_agreement(self, job: JobId, final: Digest, epochs: int) -> None:
        """Return if a certificate about to be signed tells this course; raise `InvalidError` otherwise."""
        if (job, final, epochs) != (self.job, self.final, self.epochs):
            raise InvalidError("the certificate tells another end than the owner", field="course")


Settlement: TypeAlias = Charge | Disclosure | KeyHolderOnly | OwnerOnly
