"""Steps over releases: their course through the log, and the files that one of them came as.

Rules
-----
1. Nothing is held without the charge of its job before it, or what stands for one, and nothing is published or
   fetched without the step before.
2. The files of a release are judged by the certificate, the certificate by the pinned keys, the receipt by the log's.
   Each file is compared whole: the artefact by its digest, the card by writing it again.
3. A receipt's checkpoint and the archive's must be of one log: the smaller a prefix of the larger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from audit.archive import Archive
from audit.checkpoint import Checkpoint
from audit.findings import Findings, StepResult
from audit.proofs import consistency_proof, verify_consistency
from audit.receipt import Receipt, ReceiptedEntry
from audit.tiles import TileTree
from audit.trust import LastSeen, TrustFile
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.events import Event
from kernel.ids import JobId, ReleaseId
from kernel.signing import Envelope
from privacy.events.blind import BlindConcluded
from privacy.events.budget import BudgetCharged, PopulationUncovered
from privacy.events.inferences import QuestionAnswered
from privacy.events.releases import (
    RELEASE_EVENTS,
    ReleaseChecked,
    ReleaseFetched,
    ReleaseHeld,
    ReleasePublished,
    ReleaseRecalled,
    ReleaseRefused,
)
from privacy.release.artifacts import artifact_problems
from privacy.release.desk import DeskVerdict
from privacy.release.model_card import model_card
from privacy.release.statements import Certificate, problems_of
from privgate.verify.certificates import Document
from privgate.verify.history import Entered, History, HistoryFindings

CERTIFICATE, RECEIPT, CARD = "certificate.json", "receipt.tlog-proof", "MODEL_CARD.md"
MARKS = (CERTIFICATE, RECEIPT, CARD)
"""Any of these makes a folder that of a release, so that none of them can go missing in silence."""


def check_course(history: History) -> StepResult:
    """Each release went from charged to held to checked to published, refused or recalled, in this order."""
    findings = HistoryFindings("Releases", history)
    courses: dict[ReleaseId, _Course] = defaultdict(_Course)
    charged: dict[JobId, int] = {}
    for entered in history.entries:
        if isinstance(entered.event, BudgetCharged):
            charged[entered.event.job] = entered.index
        elif isinstance(entered.event, PopulationUncovered) and entered.event.job is not None:
            charged[entered.event.job] = entered.index  # an exact result: each population was marked (RULES 20)
        elif isinstance(entered.event, QuestionAnswered):
            charged[entered.event.job] = entered.index  # an encrypted answer of a model that was paid for
        elif isinstance(entered.event, BlindConcluded):
            charged[entered.event.job] = entered.index  # nothing left: the owner of the rows has the model alone
        elif isinstance(entered.event, RELEASE_EVENTS):
            course = courses[entered.event.release]  # type: ignore[attr-defined]  # each of them names its release
            for problem in course.take(entered.event, charged):
                findings.wrong(entered.file, problem, entered.index)
    ends = [course.state for course in courses.values()]
    said = ", ".join(f"{ends.count(state)} {state}" for state in sorted(set(ends)))
    return findings.result(
        f"{len(ends)} releases, each charged, marked, an answer or its owner's own before it was held"
        f"{': ' + said if said else ''}"
    )


@dataclass
class _Course:
    """How far one release has come."""

    state: str = "unknown"
    held: ReleaseHeld | None = None
    verdict: DeskVerdict | None = None

    def take(self, event: Event, charged: dict[JobId, int]) -> Iterator[str]:
        """Take the release's next event; say what is wrong with it."""
        match event:
            case ReleaseHeld():
                yield from self._held(event, charged)
            case ReleaseChecked():
                if self.state != "held" or self.verdict is not None:
                    yield "a verdict on a release that is not held, or has one"
                self.verdict = event.verdict
            case ReleasePublished():
                yield from self._published(event)
            case ReleaseRefused():
                if self.state != "held" or self.verdict is not DeskVerdict.REFUSE:
                    yield "the release is refused, and nobody refused it"
                self.state = "refused"
            case ReleaseFetched() | ReleaseRecalled():
                if self.state != "released":
                    yield f"the release is {event.TYPE.partition(':')[2]} while it is {self.state}"
                self.state = "recalled" if isinstance(event, ReleaseRecalled) else self.state
            case _:
                pass

    def _held(self, event: ReleaseHeld, charged: dict[JobId, int]) -> Iterator[str]:
        if self.held is not None:
            yield "the release is held a second time"
        if event.job not in charged:
            yield "the release is held, and its job was neither charged nor marked, nor an answer, nor its owner's own"
        self.held, self.state = event, "held"

    def _published(self, event: ReleasePublished) -> Iterator[str]:
        if self.verdict is not DeskVerdict.RELEASE or self.state != "held":
            yield "the release is published, and nobody let it go"
        held = self.held
        if held is None or (held.job, held.artifact, held.certificate) != (
            event.job,
            event.artifact,
            event.certificate,
        ):
            yield "what is published is not what was held"
        self.state = "released"


@dataclass(frozen=True, slots=True)
class LogAtHand:
    """The archive beside a release, with what was read of it."""

    archive: Archive
    checkpoint: Checkpoint
    history: History

    def continues(self, earlier: Checkpoint | LastSeen) -> bool:
        """Whether the archive's log is the one of an earlier checkpoint, grown."""
        ours = self.checkpoint
        try:
            tree = TileTree(ours.size, self.archive.tile)
            proof = consistency_proof(earlier.size, ours.size, tree.node)
            verify_consistency(earlier.size, ours.size, proof, earlier.root.raw, ours.root.raw)
        except PrivgateError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class ReleaseFolder:
    """The files of one release, by their names.

    Attributes:
        name: The folder's name within the evidence; empty if the release is all there is.
        files: What it holds; nothing stands for a file that could not be read.
    """

    name: str
    files: dict[str, bytes | None] = field(default_factory=dict)

    def place(self, name: str) -> str:
        """A file's name within the evidence."""
        return f"{self.name}/{name}" if self.name else name


def check_folder(folder: ReleaseFolder, trust: TrustFile | None, log: LogAtHand | None) -> StepResult:
    """Check every file of a release."""
    findings = Findings(0, f"Files of {folder.name or 'the release'}")
    certificate = _certificate(folder, trust, findings)
    said = "the artefact, its card and its receipt belong to the certificate"
    if certificate is not None:
        _artifact(folder, certificate, findings)
        _card(folder, findings)
        entry = _receipt(folder, certificate, trust, findings)
        if entry is not None and log is not None:
            _against_log(folder, entry, log, findings)
        said += _remark(certificate, log)
    expected = {CERTIFICATE, RECEIPT, CARD, certificate.artifact_name if certificate else ""}
    for name in sorted(set(folder.files) - expected):
        findings.unclear(folder.place(name), "nothing says what this file is")
    return findings.result(said)


def _certificate(folder: ReleaseFolder, trust: TrustFile | None, findings: Findings) -> Certificate | None:
    place, data = folder.place(CERTIFICATE), folder.files.get(CERTIFICATE)
    if data is None:
        findings.unclear(place, "there is no certificate: nothing says what this release is")
        return None
    document = Document.read(place, data)
    if document.certificate is None:
        findings.wrong(place, f"not a certificate: {document.problem}")
        return None
    if trust is None:
        findings.unclear(place, "no key is pinned")
    elif not document.signed_by(trust.certificate_keys):
        findings.wrong(place, "no pinned certificate key signed it")
    elif document.certificate.predicate.tenant != trust.tenant:
        findings.wrong(place, "it is of another tenant than the trust file")
    for problem in problems_of(document.certificate):
        findings.wrong(place, problem)
    return document.certificate


def _artifact(folder: ReleaseFolder, certificate: Certificate, findings: Findings) -> None:
    name = certificate.artifact_name
    data = folder.files.get(name)
    if data is None:
        findings.unclear(folder.place(name), "the artefact is not here")
    elif Digest.of(data) != certificate.artifact:
        findings.wrong(folder.place(name), "it is not the artefact that was certified: its digest differs")
    else:
        for problem in artifact_problems(certificate, data):
            findings.wrong(folder.place(name), problem)


def _card(folder: ReleaseFolder, findings: Findings) -> None:
    envelope, data = folder.files.get(CERTIFICATE), folder.files.get(CARD)
    if data is None:
        findings.unclear(folder.place(CARD), "the model card is not here")
        return
    expected = model_card(Envelope.from_bytes(envelope or b"")).encode()
    if data != expected:
        both = zip(data.split(b"\n"), expected.split(b"\n"), strict=False)
        line = next((number for number, (a, b) in enumerate(both, 1) if a != b), None)
        where = "at its end" if line is None else f"from line {line} on"
        findings.wrong(folder.place(CARD), f"{where} it is not what the certificate gives")


def _receipt(
    folder: ReleaseFolder, certificate: Certificate, trust: TrustFile | None, findings: Findings
) -> ReceiptedEntry | None:
    place, data = folder.place(RECEIPT), folder.files.get(RECEIPT)
    if data is None:
        findings.unclear(place, "the receipt is not here: nothing proves that the log holds this release")
        return None
    if trust is None:
        findings.unclear(place, "no key is pinned")
        return None
    try:
        entry = Receipt.from_bytes(data).verify(origin=trust.origin, log_keys=trust.log_keys)
    except PrivgateError as error:
        findings.wrong(place, error.message)
        return None
    expected = ReleasePublished(
        release=certificate.predicate.release,
        job=certificate.predicate.job,
        artifact=certificate.artifact,
        certificate=Digest.of(folder.files[CERTIFICATE] or b""),
    )
    payload = entry.payload
    if (payload.type, payload.version, payload.tenant) != (
        expected.TYPE,
        expected.VERSION,
        certificate.predicate.tenant,
    ):
        findings.wrong(place, "it proves another kind of entry than the publication of a release")
    elif dict(payload.fields) != expected.to_fields():
        findings.wrong(place, "it proves the publication of another release, artefact or certificate")
    return entry


def _against_log(folder: ReleaseFolder, entry: ReceiptedEntry, log: LogAtHand, findings: Findings) -> None:
    place, theirs, ours = folder.place(RECEIPT), entry.checkpoint, log.checkpoint
    if theirs.size > ours.size:
        findings.unclear(place, "its checkpoint is newer than the archive: export a newer one")
        return
    found = log.history.by_leaf.get(entry.leaf_hash)
    if found is None or found.index != entry.index:
        findings.wrong(place, "the archive's log does not hold this entry at its index", entry.index)
    if not log.continues(theirs):
        findings.wrong(place, "the log that signed this receipt does not continue into the archive's: two histories")


def _remark(certificate: Certificate, log: LogAtHand | None) -> str:
    """What a reader of a release must know beside its being genuine."""
    if log is None:
        return ""
    recalled: list[Entered[ReleaseRecalled]] = log.history.of(ReleaseRecalled)
    gone = any(entered.event.release == certificate.predicate.release for entered in recalled)
    return "; IT WAS RECALLED since" if gone else ""
