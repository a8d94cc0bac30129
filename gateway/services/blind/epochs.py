"""The documents of one blind training as they are stored, and whose turn it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from gateway.collection_records import DocumentRecord
from gateway.records import JobState
from gateway.services.collections.accepting import Accepted
from gateway.services.collections.papers import Papers
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.errors import ConflictError
from kernel.signing import PublicKey
from privacy.homomorphic.blind.documents import BlindOrder
from privacy.homomorphic.blind.spec import KIND, BlindPlan
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind


def is_blind_job(kind: str) -> bool:
    """Whether jobs of this kind are blind trainings."""
    return kind == KIND


@dataclass
class Epochs:
    """A job's papers, read as those of a blind training."""

    papers: Papers

    @cached_property
    def order(self) -> BlindOrder:
        """What the gateway told the site."""
        stored = self.required(DocumentKind.ORDER)
        return BlindOrder.opened(stored.content or b"", [self.papers.on.certificate_signer.public_key])

    @cached_property
    def plan(self) -> BlindPlan:
        """What site and gateway compute by."""
        return BlindPlan.from_json(self.order.plan)

    @property
    def site(self) -> PublicKey:
        """The site's identity key, as it was enrolled."""
        return self.papers.key_holder.who.identity

    @property
    def number(self) -> int:
        """The epoch whose weights came last; 0 before the first."""
        return self.papers.collection.round

    def before(self, number: int) -> Digest:
        """What the weights of an epoch name as the document before; raise `ConflictError` if it is not here."""
        kind = DocumentKind.DATA if number == 1 else DocumentKind.GRADIENT
        return self.required(kind, number - 1).digest

    def required(self, kind: DocumentKind, number: int = 0) -> DocumentRecord:
        """What lies in a place; raise `ConflictError` if nothing does."""
        found = self.papers.find(kind, number)
        if found is None:
            raise ConflictError(f"the {kind} that this follows is not here yet", field="content")
        return found


def go_on_blindly(work: Work, papers: Papers, place: Place, accepted: Accepted) -> None:
    """Give whoever is next as long as the order says, and show how far the job is, in tenths."""
    deadline = work.now + timedelta(seconds=papers.round_seconds)
    work.collections.change({"job": place.job}, **accepted.changes, deadline=deadline)
    if place.kind is DocumentKind.WEIGHTS:
        percent = 10 * (10 * (place.number - 1) // Epochs(papers).plan.epochs)
        work.progress.add(place.job, JobState.COLLECTING, percent, work.now)


def gradient_due(papers: Papers) -> Place | None:
    """Where the gradient lies that the gateway has to make now; nothing if it is the site's turn."""
    number = papers.collection.round
    if not is_blind_job(papers.job.kind) or not number or papers.find(DocumentKind.GRADIENT, number) is not None:
        return None
    return Place(papers.job.id, DocumentKind.GRADIENT, number)
