"""Steps over certificates: who signed them, what follows from their own numbers, what the log says of them.

Rules
-----
1. A certificate is signed by a pinned certificate key. No other key of the trust file counts for it.
2. Its prices are computed again from its mechanisms (`privacy.release.check`).
3. Each fact in it that the log also tells must be told alike: decision, reservation, charge, version, population,
   approvals, and the guarantee's figures as the folded ledger gives them.

Format: docs/formats/certificate.md, "What a checker demands".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from audit.findings import StepResult
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.ids import PopulationId, ReleaseId, VersionId
from kernel.signing import Envelope, PublicKey, open_envelope
from policies.events import ApprovalGiven, DecisionMade
from policies.vocabulary import Action, ApprovalVerdict, Verdict
from privacy.budget.fold import LedgerState
from privacy.budget.reservations import Reservation
from privacy.events.budget import BudgetChanged, BudgetCharged, BudgetReserved, PopulationCreated, PopulationUncovered
from privacy.events.releases import ReleaseHeld
from privacy.events.sealing import SchemaDeclared, VersionSealed
from privacy.release.blind import BlindCertificate
from privacy.release.certificate import PAYLOAD_TYPE, ChargedMechanism, Predicate
from privacy.release.disclosure import DisclosureCertificate
from privacy.release.inference import InferenceCertificate
from privacy.release.noised import NoisedCertificate
from privacy.release.statements import Certificate, origin_of, problems_of, read_certificate
from privgate.verify.blind import blind_problems
from privgate.verify.disclosures import disclosure_problems
from privgate.verify.history import Entered, History, HistoryFindings
from privgate.verify.inferences import inference_problems
from privgate.verify.noised import noised_problems

FOLDER: Final = "certificates"
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Document:
    """A certificate as it lies in the evidence.

    Attributes:
        file: Where.
        data: Its bytes.
        certificate: What it states, if it could be read.
        problem: Why it could not.
    """

    file: str
    data: bytes
    certificate: Certificate | None = None
    problem: str | None = None

    @classmethod
    def read(cls, file: str, data: bytes) -> Document:
        """Read an envelope; who signed it is asked later."""
        try:
            envelope = Envelope.from_bytes(data)
            if envelope.payload_type != PAYLOAD_TYPE:
                return cls(file, data, problem="the envelope holds another kind of statement")
            return cls(file, data, read_certificate(envelope.payload))
        except PrivgateError as error:
            return cls(file, data, problem=error.message)

    def signed_by(self, keys: tuple[PublicKey, ...]) -> bool:
        """Whether one of these keys signed it."""
        try:
            open_envelope(Envelope.from_bytes(self.data), PAYLOAD_TYPE, keys)
        except PrivgateError:
            return False
        return True


def check_signatures(documents: list[Document], keys: tuple[PublicKey, ...] | None, history: History) -> StepResult:
    """Who signed the certificates.

    Args:
        documents: All of them.
        keys: The pinned certificate keys; nothing if no trust file counts.
        history: To know whether there should be any.
    """
    findings = HistoryFindings("Signatures", history)
    for document in documents:
        if document.certificate is None:
            findings.wrong(document.file, f"not a certificate: {document.problem}")
        elif keys is None:
            findings.unclear(document.file, "no key is pinned")
        elif not document.signed_by(keys):
            findings.wrong(document.file, "no pinned certificate key signed it")
    return findings.result(f"{len(documents)} certificates are signed by a pinned key")


def check_numbers(documents: list[Document], history: History) -> StepResult:
    """What follows from a certificate's own figures and facts."""
    findings = HistoryFindings("Certified figures", history)
    for document in documents:
        if document.certificate is not None:
            for problem in problems_of(document.certificate):
                findings.wrong(document.file, problem)
    return findings.result(f"the figures of {len(documents)} certificates follow from their mechanisms")


def check_agreement(
    documents: Mapping[ReleaseId, Document], history: History, ledgers: Mapping[PopulationId, LedgerState], origin: str
) -> StepResult:
    """What the log says of each certificate that it cites."""
    findings = HistoryFindings("Certificates and log", history)
    reader = _Reader(history, ledgers, origin, documents)
    for held in history.of(ReleaseHeld):
        document = documents.get(held.event.release)
        file = f"{FOLDER}/{held.event.release}.json"
        if document is None:
            findings.unclear(file, "the log cites this certificate, and it is not here", held.index)
        elif document.certificate is not None:
            for problem in reader.problems(held, document, document.certificate):
                findings.wrong(document.file, problem, held.index)
    return findings.result(f"{len(documents)} certificates say what the log says")


@dataclass(frozen=True, slots=True)
class _Reader:
    history: History
    ledgers: Mapping[PopulationId, LedgerState]
    origin: str
    documents: Mapping[ReleaseId, Document]

    def problems(self, held: Entered[ReleaseHeld], document: Document, certificate: Certificate) -> Iterator[str]:
        """Everything that certificate and log tell differently."""
        stated_of = certificate.predicate
        if Digest.of(document.data) != held.event.certificate:
            yield "the log holds another digest of this certificate"
        stated = (stated_of.release, stated_of.job, stated_of.kind, certificate.artifact)
        if stated != (held.event.release, held.event.job, held.event.kind, held.event.artifact):
            yield "the release entry tells another release, job, kind or artefact"
        if origin_of(certificate) != self.origin:
            yield "it cites another log"
        if isinstance(certificate, DisclosureCertificate):
            yield from disclosure_problems(certificate.predicate, self.history, self.ledgers)
            return
        if isinstance(certificate, NoisedCertificate):
            yield from noised_problems(certificate.predicate, self.history, self.ledgers)
            return
        if isinstance(certificate, InferenceCertificate):
            others = {release: (one.data, one.certificate) for release, one in self.documents.items()}
            stated_by = certificate.predicate
            yield from inference_problems(stated_by, certificate.artifact, self.history, self.ledgers, others)
            return
        if isinstance(certificate, BlindCertificate):
            yield from blind_problems(certificate.predicate, self.history)
            return
        predicate = certificate.predicate
        yield from self._decision(predicate)
        yield from self._reservation(predicate)
        yield from self._charge(predicate)
        yield from self._population(predicate)
        yield from self._version(predicate)
        yield from self._approvals(predicate)

    def _decision(self, predicate: Predicate) -> Iterator[str]:
        cited = self._cited(predicate.evidence.decision, DecisionMade)
        if cited is None:
            yield "the decision that it cites is not in the log"
            return
        made, request = cited.event, cited.event.request
        told = (made.decision, request.job, request.request_digest, request.dataset, made.epoch, request.tenant)
        stated = (predicate.decision, predicate.job, predicate.request, predicate.dataset.id)
        if told != (*stated, predicate.policy_epoch, predicate.tenant):
            yield "the decision that it cites is about another job, request, dataset or epoch"
        if made.verdict is not Verdict.ALLOW or request.action is not Action.JOB_SUBMIT:
            yield "the decision that it cites did not allow the job"

    def _reservation(self, predicate: Predicate) -> Iterator[str]:
        cited = self._cited(predicate.evidence.reserve, BudgetReserved)
        if cited is None:
            yield "the reservation that it cites is not in the log"
            return
        event = cited.event
        told = (event.job, event.population, event.request, event.manifest, event.decision, event.decision_leaf)
        stated = (predicate.job, predicate.population.id, predicate.request, predicate.dataset.manifest)
        if told != (*stated, predicate.decision, predicate.evidence.decision):
            yield "the reservation that it cites is of another job, population, request, version or decision"

    def _charge(self, predicate: Predicate) -> Iterator[str]:
        cited, guarantee = self._cited(predicate.evidence.charge, BudgetCharged), predicate.guarantee
        if cited is None:
            yield "the charge that it cites is not in the log"
            return
        event = cited.event
        told = (event.job, event.population, event.ledger_seq)
        if told != (predicate.job, predicate.population.id, guarantee.ledger_seq):
            yield "the charge that it cites is of another job, population or number"
        if cited.at != predicate.issued_at:
            yield "its time is not that of its charge"
        reservation = self._reserved(predicate)
        if reservation is None or reservation.settled is None:
            yield "the ledger has no charge for this job"
            return
        settled = reservation.settled
        if (settled.before, settled.charge, settled.ledger_seq) != (
            guarantee.before,
            guarantee.charge,
            guarantee.ledger_seq,
        ):
            yield "the ledger gives another sum before it, charge or number than the guarantee states"
        if _charged(reservation) != predicate.mechanisms:
            yield "its mechanisms are not those that were charged"

    def _population(self, predicate: Predicate) -> Iterator[str]:
        facts, guarantee = predicate.population, predicate.guarantee
        created = next((e.event for e in self.history.of(PopulationCreated) if e.event.population == facts.id), None)
        if created is None:
            yield "its population is not in the log"
            return
        told = (created.unit_noun, created.unit_domain, created.adjacency, created.public_size, created.holdout_share)
        if told != (facts.unit, facts.unit_domain, facts.adjacency, facts.public_size, facts.holdout_share):
            yield "the population was declared otherwise: unit, domain, adjacency, size or holdout"
        changed = [e.event for e in self._before(predicate, BudgetChanged)]
        budget = changed[-1] if changed else created
        stated = (guarantee.epsilon, guarantee.capacity, guarantee.delta, guarantee.order)
        if stated != (budget.epsilon, budget.capacity, created.delta, created.order):
            yield "the guarantee states another budget than the population had then"
        uncovered = next((e.event.ledger_seq for e in self._before(predicate, PopulationUncovered)), None)
        if uncovered != predicate.uncovered_since:
            yield "it does not say from when its population is not covered"

    def _version(self, predicate: Predicate) -> Iterator[str]:
        dataset, population = predicate.dataset, predicate.population
        told = (dataset.id, population.id, dataset.manifest)
        if told not in self._sealed(dataset.version):
            yield "the version that it names was not sealed with this dataset, population and manifest"
        declared = [e.event for e in self.history.of(SchemaDeclared) if e.event.dataset == dataset.id]
        if [(d.population, d.rows_per_unit) for d in declared] != [(population.id, population.rows_per_unit)]:
            yield "the dataset was declared with another population or number of rows per unit"

    def _approvals(self, predicate: Predicate) -> Iterator[str]:
        given = [e.event.approval for e in self.history.of(ApprovalGiven) if e.event.job == predicate.job]
        if {approval.approval for approval in given} != set(predicate.approvals):
            yield "its approvals are not those in the log"
        if any(a.verdict is not ApprovalVerdict.APPROVED or a.request_digest != predicate.request for a in given):
            yield "an approval that it rests on was a refusal, or for another request"

    def _cited(self, leaf: Digest, kind: type[E]) -> Entered[E] | None:
        found = self.history.by_leaf.get(leaf)
        return cast(Entered[E], found) if found is not None and isinstance(found.event, kind) else None

    def _reserved(self, predicate: Predicate) -> Reservation | None:
        state = self.ledgers.get(predicate.population.id)
        return None if state is None else state.reservations.get(predicate.job)

    def _before(self, predicate: Predicate, kind: type[E]) -> list[Entered[E]]:
        """The population's events of a kind up to the certificate's charge, by their number."""
        found = [
            e
            for e in self.history.of(kind)
            if e.event.population == predicate.population.id  # type: ignore[attr-defined]  # budget events have both
            and e.event.ledger_seq <= predicate.guarantee.ledger_seq  # type: ignore[attr-defined]
        ]
        return sorted(found, key=lambda e: e.event.ledger_seq)  # type: ignore[attr-defined]

    def _sealed(self, version: VersionId) -> list[tuple[object, ...]]:
        events = [e.event for e in self.history.of(VersionSealed) if e.event.version == version]
        return [(event.dataset, event.population, event.manifest) for event in events]


def _charged(reservation: Reservation) -> tuple[ChargedMechanism, ...]:
    return tuple(
        ChargedMechanism(block=hold.block, earlier=hold.earlier, mechanism=hold.mechanism.repeated(charge.times))
        for hold, charge in zip(reservation.holds, reservation.charges, strict=True)
        if charge.times
    )
