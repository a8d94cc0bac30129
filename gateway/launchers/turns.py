"""Making the gateway's step of a job on data of sites: what it needs is read, a confined child works, it is stored.

Rules
-----
1. What a step is made from is read first, whole, in one reading; none is open while the child works.
2. Documents are judged again before they are used: signatures, members, digests.
3. A step that fails on what it was given fails the job; one that found no child, or no blob, is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

import structlog

from gateway.launchers.blind_turns import GradientStep
from gateway.launchers.local import Confinement
from gateway.records import TaskRecord
from gateway.services.collaborators import Collaborators
from gateway.services.collections.accepting import Accepted
from gateway.services.collections.papers import Papers
from gateway.services.collections.turns import Made, due, end_turn, fail_turn, store_made
from kernel.errors import ConflictError, PrivgateError, StaleError, UnavailableError
from kernel.ids import JobId
from kernel.signing import Signer
from privacy.events.collections import SumMade
from privacy.homomorphic.adding import made_sum
from privacy.homomorphic.confined import Confined
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.documents.sums import GatewaySum
from privacy.homomorphic.envelope import Expected, Upload, open_upload
from privacy.homomorphic.noise import variances

_log = structlog.get_logger(__name__)


class Step(Protocol):
    """A step with everything that it is made from."""

    def made(self, confined: Confined) -> Made:
        """Make it; raise `PrivgateError` if it cannot be made of this."""


def take_turn(on: Collaborators, task: TaskRecord, confinement: Confinement) -> None:
    """Make the step that is due in the task's job.

    Raises:
        StaleError: Another worker took the task over.
        UnavailableError: A child did not come up, or a store did not answer: to be tried again.
    """
    with on.database.read() as reading:
        papers = Papers.of(on, reading, JobId(task.subject))
        place = due(papers)
        gathered = None if place is None else _gathered(papers, place)
    if place is None:
        end_turn(on, task)
        return
    try:
        if gathered is None:
            raise ConflictError("the documents that this step is made from do not hold together")
        made = gathered.made(Confined(confinement.minimum))
    except UnavailableError:
        raise
    except PrivgateError as error:
        _log.error("step-failed", task=task.id, step=place.kind.value, kind=error.kind.value)
        fail_turn(on, task)
        return
    _stored(on, task, place, made)


def _stored(on: Collaborators, task: TaskRecord, place: Place, made: Made) -> None:
    try:
        store_made(on, task, place, made)
    except StaleError:
        raise
    except ConflictError:  # the job ended while the child worked
        end_turn(on, task)


def _gathered(papers: Papers, place: Place) -> Step | None:
    try:
        return STEPS[place.kind](papers, place)
    except UnavailableError:
        raise
    except PrivgateError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SumStep:
    """The sum of a round's uploads.

    Attributes:
        expected: What the uploads are for.
        uploads: The signed documents, in the order of the sites.
        bodies: The ciphertexts of each.
        signer: The gateway's certificate key.
        noise: What the gateway adds of its own, if the order says so.
    """

    expected: Expected
    uploads: tuple[Upload, ...]
    bodies: tuple[bytes, ...]
    signer: Signer
    noise: tuple[tuple[int, Fraction], ...] = ()

    @classmethod
    def of(cls, papers: Papers, place: Place) -> SumStep:
        """Read and judge every upload of the round that is here."""
        stored, uploads, bodies = papers.uploads(place.number), [], []
        for site in [site for site in papers.order.sites if site.party in stored]:
            expected = papers.expected(site.party, place.number)
            upload, body = open_upload(expected, papers.content(stored[site.party]), site.who.identity)
            uploads.append(upload)
            bodies.append(body)
        noise, plan = papers.plan.noise, papers.plan
        return cls(
            expected=expected,
            uploads=tuple(uploads),
            bodies=tuple(bodies),
            signer=papers.on.certificate_signer,
            noise=tuple(variances(plan.additions(place.number), noise)) if noise is not None and noise.by_two else (),
        )

    def made(self, confined: Confined) -> Made:
        """Add them, with noise if there is to be any, and flood the sum."""
        total = confined.add(self.expected.layout, self.bodies, self.noise)
        data = made_sum(self.expected, self.uploads, total, self.signer, noised=bool(self.noise))
        document = GatewaySum.read(Parcel.from_bytes(data).document)
        event = SumMade(
            job=self.expected.job, number=self.expected.number, sum=document.digest, sites=len(self.uploads)
        )
        return Made(data, Accepted(document.digest, event))


STEPS: Final[Mapping[DocumentKind, Callable[[Papers, Place], Step]]] = {
    DocumentKind.SUM: SumStep.of,
    DocumentKind.GRADIENT: GradientStep.of,
}
"""For each kind of document that the gateway makes: what gathers everything that it is made from."""
