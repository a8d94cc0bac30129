"""A cycle in acts that can be cut off anywhere, begun again, and looked at afterwards.

Rules
-----
1. An act writes down what was acknowledged to it, durably, as a client would have seen it; nothing else is remembered.
2. Beginning an act again does what was not acknowledged and nothing twice that was.
3. The process is killed, not asked: SIGKILL at a named point, so that no `finally` and no buffer helps.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from audit.trust import TrustFile
from gateway.launchers.second_opinion import ask_dp_accounting
from gateway.records import JobState, VersionState
from gateway.services import datasets, governance, grants, people, populations, release_desk
from gateway.services.cancel_job import cancel_job
from gateway.services.deciding import Caller
from gateway.services.log_reading import export_archive, trust_file
from gateway.services.request_job import request_job
from gateway.settings import Settings
from gateway.wiring import Gateway, build
from gateway.work import confinement_of
from gateway.worker import Worker
from kernel.clock import SystemClock
from kernel.errors import ConflictError
from kernel.ids import DatasetId, JobId, PopulationId, PrincipalId, ReleaseId, Slug, TenantId, VersionId
from policies.vocabulary import Role
from privacy.events.releases import FetchedPart
from privacy.ingest.formats import UploadFormat
from privacy.release.desk import DeskVerdict
from tests.support import declarations as declared
from tests.support.api import initialise, rows_csv, settings_in

CAST: Mapping[str, Role] = {
    "owner": Role.OWNER,
    "trainer": Role.TRAINER,
    "checker": Role.CHECKER,
    "auditor": Role.AUDITOR,
}
ORIGIN = "demo.privgate.local/crash"
LATER = timedelta(hours=2)
Point = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where one run of the acts lives: a home, a database, and what was acknowledged.

    Attributes:
        folder: Holds `home/` and `acknowledged.jsonl`.
        database_url: Empty for the SQLite file in the home.
    """

    folder: Path
    database_url: str = ""

    @property
    def settings(self) -> Settings:
        """The gateway's settings there."""
        changes = {"demo": True, "origin": ORIGIN, "lease_seconds": 3, "database_url": self.database_url}
        return settings_in(self.folder / "home", **changes)

    @property
    def journal(self) -> Path:
        """What was acknowledged, a line each."""
        return self.folder / "acknowledged.jsonl"

    def acknowledged(self) -> dict[str, str]:
        """Read it."""
        if not self.journal.exists():
            return {}
        lines = self.journal.read_text(encoding="utf-8").splitlines()
        return {name: value for line in lines for name, value in json.loads(line).items()}

    def copy(self, folder: Path, database_url: str = "") -> Place:
        """The same state in another folder; whoever copies a database gives the copy's address."""
        shutil.copytree(self.folder, folder)
        return Place(folder, database_url)


class LaterClock:
    """The system's time, moved on: leases of whoever died have run out."""

    def __init__(self, ahead: timedelta) -> None:
        self._clock, self._ahead = SystemClock(), ahead

    def now(self) -> datetime:
        """The moved time."""
        return self._clock.now() + self._ahead


@dataclass
class Stage:
    """An open gateway with what was acknowledged so far."""

    place: Place
    gateway: Gateway
    known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = self.place.acknowledged()
        self.on = self.gateway.on
        self.worker = Worker(
            on=self.on,
            confinement=confinement_of(self.gateway.settings),
            opinion=ask_dp_accounting,
            name="worker",
            stopping=threading.Event(),
        )

    def once(self, name: str, act: Callable[[], str]) -> str:
        """Do what was not acknowledged, and acknowledge it."""
        if name not in self.known:
            value = act()
            with self.place.journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps({name: value}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self.known[name] = value
        return self.known[name]

    def caller(self, name: str) -> Caller:
        """Somebody who was enrolled."""
        admin = self.known["founded"].partition(" ")[2]
        return Caller(self.tenant, PrincipalId(admin if name == "admin" else self.known[name]))

    @property
    def tenant(self) -> TenantId:
        """The organisation."""
        return TenantId(self.known["founded"].partition(" ")[0])

    def work(self) -> None:
        """Let the worker do everything that waits."""
        while self.worker.step():
            pass

    def settle(self) -> None:
        """Let worker and sequencer do everything that waits."""
        self.work()
        while self.gateway.sequencer.step() is not None:
            pass


def enrol(stage: Stage) -> None:
    """The organisation and its people."""

    def found() -> str:
        # An organisation that was founded and not acknowledged stays without a token; another one is founded.
        tenant, admin = people.found_tenant(stage.on, tenant_name="Test hospital", admin_name="Admin")
        return f"{tenant} {admin.principal}"

    stage.once("founded", found)
    for name, role in CAST.items():
        stage.once(name, lambda name=name, role=role: _person(stage, name, role))  # type: ignore[misc]
    for purpose, within in declared.PURPOSES:
        stage.once(f"purpose {purpose}", lambda p=purpose, w=within: _purpose(stage, p, w))  # type: ignore[misc]
    stage.settle()
    note = trust_file(stage.on, stage.caller("auditor").tenant).to_bytes().decode("utf-8")
    stage.once("trust", lambda: note)


def _person(stage: Stage, name: str, role: Role) -> str:
    enrolled = declared.allowed(people.enrol(stage.on, stage.caller("admin"), name, 30))
    declared.allowed(people.assign_role(stage.on, stage.caller("admin"), enrolled.principal, role))
    return enrolled.principal


def _purpose(stage: Stage, purpose: Slug, within: tuple[Slug, ...]) -> str:
    with suppress(ConflictError):  # it was defined and not acknowledged
        declared.allowed(governance.define_purpose(stage.on, stage.caller("admin"), purpose, within))
    return purpose


def register(stage: Stage) -> None:
    """Population, dataset, grant."""
    owner = stage.caller("owner")
    make = populations.create_population
    population = stage.once(
        "population", lambda: declared.allowed(make(stage.on, owner, declared.new_population())).population.id
    )
    new = declared.new_dataset(PopulationId(population))
    dataset = stage.once("dataset", lambda: declared.allowed(datasets.register_dataset(stage.on, owner, new)).id)
    trainer = stage.caller("trainer").principal
    permitted = declared.new_grant(trainer, DatasetId(dataset))
    stage.once("grant", lambda: declared.allowed(grants.create_grant(stage.on, owner, permitted)).id)


def upload(stage: Stage) -> None:
    """Stage the rows; sealing is the next act."""
    owner, dataset = stage.caller("owner"), DatasetId(stage.known["dataset"])

    def send() -> str:
        try:
            version = datasets.stage_upload(stage.on, owner, dataset, UploadFormat.of("csv"), io.BytesIO(rows_csv()))
        except ConflictError:  # it was staged and not acknowledged
            with stage.on.database.read() as reading:
                return str(reading.versions.all(dataset=dataset)[-1].id)
        return version.id

    stage.once("version", send)


def seal(stage: Stage) -> None:
    """The worker seals."""
    stage.settle()
    stage.once("sealed", lambda: stage.known["version"])


def request(stage: Stage) -> None:
    """A training job is requested."""
    spec = declared.training(DatasetId(stage.known["dataset"]), "2")
    asked = request_job
    stage.once("job", lambda: declared.queued(asked(stage.on, stage.caller("trainer"), spec)).id)


def run(stage: Stage) -> None:
    """The worker trains, charges and certifies."""
    stage.work()
    with stage.on.database.read() as reading:
        release = reading.jobs.get(id=JobId(stage.known["job"])).release
    if release is not None:
        stage.once("release", lambda: release)


def publish(stage: Stage) -> None:
    """The door-keeper lets the release go, the sequencer publishes it, the trainer fetches it."""
    release = ReleaseId(stage.known["release"])
    stage.settle()

    def check() -> str:
        checker = stage.caller("checker")
        with suppress(ConflictError):  # it was let go and not acknowledged
            declared.allowed(release_desk.check_release(stage.on, checker, release, DeskVerdict.RELEASE))
        return release

    stage.once("published", check)
    stage.settle()
    trainer = stage.caller("trainer")
    fetched = release_desk.fetch(stage.on, trainer, release, FetchedPart.ARTIFACT)
    stage.once("fetched", lambda: declared.allowed(fetched).record.artifact_digest)


def cancel(stage: Stage) -> None:
    """A second job is requested and cancelled before it starts; the auditor exports."""
    trainer = stage.caller("trainer")
    spec = declared.training(DatasetId(stage.known["dataset"]), "1")
    job = stage.once("second", lambda: declared.queued(request_job(stage.on, trainer, spec)).id)

    def stop() -> str:
        with suppress(ConflictError):  # it was cancelled and not acknowledged, or a worker was faster
            declared.allowed(cancel_job(stage.on, trainer, JobId(job)))
        return job

    stage.once("cancelled", stop)
    stage.settle()
    export = declared.allowed(export_archive(stage.on, stage.caller("auditor")))
    export.content.close()


ACTS: Mapping[str, Callable[[Stage], None]] = {
    "enrol": enrol,
    "register": register,
    "upload": upload,
    "seal": seal,
    "request": request,
    "run": run,
    "publish": publish,
    "cancel": cancel,
}


def prepared(place: Place, *acts: str) -> Place:
    """Initialise a place that does not exist yet, and play acts in it without harm."""
    place.folder.mkdir()
    initialise(place.settings)
    for act in acts:
        play(place, act, lambda _: None)
    return place


def play(place: Place, act: str, point: Point, ahead: timedelta = timedelta()) -> None:
    """Open the gateway and play one act."""
    with closing(build(place.settings, clock=LaterClock(ahead), point=point)) as gateway:
        ACTS[act](Stage(place, gateway))


def play_and_die(place: Place, act: str, name: str, occurrence: int) -> int:
    """Play an act in a process that is killed at a point; return its exit code (-9 if it got there)."""
    context = multiprocessing.get_context("fork")
    process = context.Process(target=_die_at, args=(place, act, name, occurrence))
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"{act} hangs before {name}")
    return process.exitcode


def _die_at(place: Place, act: str, name: str, occurrence: int) -> None:
    left = occurrence

    def point(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    play(place, act, point)


def trust_of(place: Place) -> TrustFile:
    """What was pinned at enrolment."""
    return TrustFile.from_bytes(place.acknowledged()["trust"].encode("utf-8"))


def states(stage: Stage) -> dict[str, Any]:
    """What the acknowledged things look like now."""
    known, found = stage.known, {}
    with stage.on.database.read() as reading:
        if "version" in known:
            found["version"] = reading.versions.get(id=VersionId(known["version"])).state
        for name in ("job", "second"):
            if name in known:
                found[name] = reading.jobs.get(id=JobId(known[name])).state
        if "release" in known:
            found["release"] = reading.releases.get(id=ReleaseId(known["release"])).state
    return found


EXPECTED: Mapping[str, Any] = {
    "sealed": ("version", {VersionState.SEALED}),
    "release": ("job", {JobState.FINISHED}),
    "published": ("release", {"released"}),
    "cancelled": ("second", {JobState.CANCELLED, JobState.FINISHED}),
}
"""Which state an acknowledgement promised."""
