"""One real cycle, played once per test session: register, seal, grant, train, evaluate, release, export.

Nothing is simulated: a gateway on SQLite in a directory of its own, its services, its worker and its confined children.
Only the listener is missing. What remains on disk is a bundle like `demo-out`, and the keys that signed it, so that a
test can forge what only the gateway could.
"""

from __future__ import annotations

import fcntl
import io
import shutil
import tarfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from audit.trust import TrustFile
from compliance.events import ReportForm
from gateway.launchers.second_opinion import ask_dp_accounting
from gateway.records import JobRecord, JobState, ReleaseRecord, VersionState
from gateway.services import datasets, governance, grants, people, populations, release_desk, reports
from gateway.services.cancel_job import cancel_job
from gateway.services.collaborators import Collaborators
from gateway.services.deciding import Caller
from gateway.services.log_reading import ArchiveFile, export_archive, read_entries, trust_file
from gateway.services.request_job import OverBudget, answer_approval, quote_job, request_job
from gateway.wiring import Gateway, build
from gateway.work import confinement_of
from gateway.worker import Worker
from kernel.amounts import Epsilon
from kernel.ids import DatasetId, PopulationId, ReleaseId, Slug, VersionId
from kernel.signing import Ed25519Signer
from policies.decisions import Deny
from policies.vocabulary import ApprovalVerdict, Role
from privacy.events.releases import FetchedPart
from privacy.ingest.formats import UploadFormat
from privacy.release.desk import DeskVerdict
from tests.support import declarations as declared
from tests.support.api import initialise, rows_csv, settings_in
from tests.support.declarations import allowed, queued

ORIGIN = "demo.privgate.local/cycle"
CAST: Mapping[str, Role] = {
    "owner": Role.OWNER,
    "trainer": Role.TRAINER,
    "peer": Role.TRAINER,
    "checker": Role.CHECKER,
    "auditor": Role.AUDITOR,
}
PARTS: Mapping[FetchedPart, str] = {
    FetchedPart.CERTIFICATE: "certificate.json",
    FetchedPart.RECEIPT: "receipt.tlog-proof",
    FetchedPart.MODEL_CARD: "MODEL_CARD.md",
}
SIGNERS = ("log", "certificate", "report")


@dataclass(frozen=True)
class Cycle:
    """What a cycle left.

    Attributes:
        bundle: The directory as an auditor receives it; a test that changes it works on a `copy`.
        trust: What the auditor pinned when it was enrolled, before anything was registered.
        keys: The seeds of the gateway's signing keys.
    """

    bundle: Path
    trust: TrustFile
    keys: Mapping[str, bytes]

    def copy(self, target: Path) -> Path:
        """Copy the bundle to a directory that does not exist yet."""
        shutil.copytree(self.bundle, target)
        return target

    def signer(self, name: str) -> Ed25519Signer:
        """The gateway's own key: `log`, `certificate` or `report`."""
        return Ed25519Signer(self.keys[name])


@cache
def real_cycle(place: Path) -> Cycle:
    """The cycle that lives in this directory; it is played by whichever test process asks first."""
    place.mkdir(mode=0o700, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "done").exists():
            for leftover in ("home", "bundle", "trust.json"):
                _remove(place / leftover)
            _Play(place).act()
            (place / "done").touch()
    keys = {name: (place / f"{name}.key").read_bytes() for name in SIGNERS}
    return Cycle(place / "bundle", TrustFile.from_bytes((place / "trust.json").read_bytes()), keys)


class _Play:
    """The acts of one cycle, in order."""

    def __init__(self, place: Path) -> None:
        self.place = place
        settings = settings_in(place / "home", demo=True, origin=ORIGIN)
        initialise(settings)
        self.gateway: Gateway = build(settings)
        self.on: Collaborators = self.gateway.on
        self.worker = Worker(
            on=self.on,
            confinement=confinement_of(settings),
            opinion=ask_dp_accounting,
            name="worker",
            stopping=threading.Event(),
        )
        self.callers: dict[str, Caller] = {}

    def act(self) -> None:
        """Play everything, export, and let go of the gateway: its directory is gone afterwards."""
        try:
            self.enrol()
            trust = trust_file(self.on, self.callers["auditor"].tenant)
            (self.place / "trust.json").write_bytes(trust.to_bytes())
            population, dataset = self.register()
            model = self.train(dataset)
            evaluation = self.evaluate(dataset, model)
            self.refusals(population, dataset)
            self.deliver(model, evaluation)
            self.keep_keys()
        finally:
            self.gateway.close()
        _remove(self.place / "home")

    def publish(self) -> None:
        """Let the sequencer catch up."""
        while self.gateway.sequencer.step() is not None:
            pass

    def enrol(self) -> None:
        """An organisation, its people, its purposes, its policy."""
        tenant, admin = people.found_tenant(self.on, tenant_name="Test hospital", admin_name="Admin")
        chief = self.callers["admin"] = Caller(tenant, admin.principal)
        for name, role in CAST.items():
            enrolled = allowed(people.enrol(self.on, chief, name, 30))
            self.callers[name] = Caller(tenant, enrolled.principal)
            allowed(people.assign_role(self.on, chief, enrolled.principal, role))
        for purpose, within in declared.PURPOSES:
            allowed(governance.define_purpose(self.on, chief, purpose, within))
        allowed(governance.set_policy(self.on, chief, declared.tenant_policy()))
        self.publish()

    def register(self) -> tuple[PopulationId, DatasetId]:
        """Population, dataset, upload, grant."""
        owner, trainer = self.callers["owner"], self.callers["trainer"]
        population = allowed(populations.create_population(self.on, owner, declared.new_population())).population.id
        dataset = self.dataset(population)
        self.upload(dataset)
        allowed(grants.create_grant(self.on, owner, declared.new_grant(trainer.principal, dataset)))
        return population, dataset

    def dataset(self, population: PopulationId) -> DatasetId:
        """Register the table on a population."""
        new = declared.new_dataset(population)
        return allowed(datasets.register_dataset(self.on, self.callers["owner"], new)).id

    def upload(self, dataset: DatasetId, data: bytes = b"", state: VersionState = VersionState.SEALED) -> VersionId:
        """Upload and let the worker seal or refuse it."""
        owner = self.callers["owner"]
        allowed(datasets.may_upload(self.on, owner, dataset))
        source = io.BytesIO(data or rows_csv())
        version = datasets.stage_upload(self.on, owner, dataset, UploadFormat.of("csv"), source)
        self.work()
        with self.on.database.read() as reading:
            found = reading.versions.get(id=version.id)
        assert found.state is state, (found.state, found.problems)
        return version.id

    def train(self, dataset: DatasetId) -> ReleaseRecord:
        """A private model, let go by a person, because the tenant's ceiling is below it."""
        spec = declared.training(dataset, "2")
        allowed(quote_job(self.on, self.callers["trainer"], spec))
        job = queued(request_job(self.on, self.callers["trainer"], spec))
        release = self.finished(job)
        assert release.state == "held"
        checked = release_desk.check_release(self.on, self.callers["checker"], release.id, DeskVerdict.RELEASE)
        return allowed(checked)

    def evaluate(self, dataset: DatasetId, model: ReleaseRecord) -> ReleaseRecord:
        """A priced evaluation: its owner says yes, and it leaves by policy."""
        spec = {
            "v": 1,
            "kind": "evaluation",
            "release": model.id,
            "dataset": dataset,
            "purpose": declared.PURPOSE,
            "epsilon": "1",
        }
        parked = queued(request_job(self.on, self.callers["trainer"], spec))
        assert parked.state is JobState.AWAITING_APPROVAL
        yes = ApprovalVerdict.APPROVED
        answered = answer_approval(self.on, self.callers["owner"], parked.id, yes, parked.request_digest)
        release = self.finished(queued(answered))
        assert release.state == "released"
        return release

    def refusals(self, population: PopulationId, dataset: DatasetId) -> None:
        """Everything that must not work, each with its entry; and a job that is cancelled before it starts."""
        trainer, spec = self.callers["trainer"], declared.training(dataset, "1")
        assert isinstance(request_job(self.on, self.callers["peer"], spec), Deny)
        assert isinstance(request_job(self.on, trainer, spec | {"purpose": declared.WRONG_PURPOSE}), Deny)
        assert isinstance(request_job(self.on, trainer, declared.training(dataset, "50")), OverBudget)
        assert isinstance(export_archive(self.on, trainer), Deny)
        assert isinstance(populations.change_budget(self.on, trainer, population, Epsilon.parse("90")), Deny)
        self.upload(self.dataset(population))
        self.upload(dataset, b"age,dose,outcome\n12,7,well\n", VersionState.REFUSED)
        job = queued(request_job(self.on, trainer, spec))
        allowed(cancel_job(self.on, trainer, job.id))
        self.work()
        self.refused_release(dataset)

    def refused_release(self, dataset: DatasetId) -> None:
        """A model that its door-keeper keeps."""
        release = self.finished(
            queued(request_job(self.on, self.callers["trainer"], declared.training(dataset, "1.5")))
        )
        assert release.state == "held"
        allowed(release_desk.check_release(self.on, self.callers["owner"], release.id, DeskVerdict.REFUSE))

    def deliver(self, model: ReleaseRecord, evaluation: ReleaseRecord) -> None:
        """The trainer fetches, the auditor exports."""
        bundle = self.place / "bundle"
        bundle.mkdir()
        self.publish()
        self.fetch(model, bundle / "release", "model.safetensors")
        self.fetch(evaluation, bundle / "evaluation", "evaluation.json")
        self.publish()
        assert not isinstance(read_entries(self.on, self.callers["auditor"], 0, 5), Deny)
        self.report(bundle)
        self.publish()
        unpack_export(allowed(export_archive(self.on, self.callers["auditor"])), bundle)
        (bundle / "trust.json").write_bytes((self.place / "trust.json").read_bytes())

    def report(self, bundle: Path) -> None:
        """The auditor has a report issued, and fetches it in both forms."""
        auditor, wanted = self.callers["auditor"], reports.Wanted.of(0, None, [])
        issued = allowed(reports.issue_report(self.on, auditor, wanted, lambda _: self.publish()))
        for form, name in ((ReportForm.ENVELOPE, "report.json"), (ReportForm.HTML, "report.html")):
            content = allowed(reports.read_report(self.on, auditor, issued.id, form))
            (bundle / name).write_bytes(content)

    def fetch(self, release: ReleaseRecord, folder: Path, artifact: str) -> None:
        """Write the parts of a release into a folder."""
        folder.mkdir()
        for part, name in (*PARTS.items(), (FetchedPart.ARTIFACT, artifact)):
            fetched = allowed(release_desk.fetch(self.on, self.callers["trainer"], release.id, part))
            (folder / name).write_bytes(fetched.content)

    def finished(self, job: JobRecord) -> ReleaseRecord:
        """Let the worker run a job; return its release."""
        self.work()
        with self.on.database.read() as reading:
            ended = reading.jobs.get(id=job.id)
            assert ended.state is JobState.FINISHED, ended.state
            return reading.releases.get(id=cast(ReleaseId, ended.release))

    def work(self) -> None:
        """Let the worker do everything that waits."""
        while self.worker.step():
            pass

    def keep_keys(self) -> None:
        """Keep the seeds of the signing keys beside the bundle: a test forges with them."""
        for name in SIGNERS:
            with self.on.keyring.secret(Slug(f"signing/{name}")) as seed:
                (self.place / f"{name}.key").write_bytes(seed.reveal())


def unpack_export(export: ArchiveFile, target: Path) -> None:
    """Unpack an exported archive."""
    with export.content as content, tarfile.open(fileobj=content, mode="r:") as tar:
        tar.extractall(target, filter="data")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
