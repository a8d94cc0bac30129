"""A seal task ends, whatever the child wrote and however often its worker was interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.launchers import ingest
from gateway.records import TaskState, VersionState
from gateway.services.seal_version import FINGERPRINTS, HOMES, SealedFiles, Staged
from gateway.wiring import build
from gateway.worker import MOST_IN_VAIN
from kernel.canonical import Digest
from kernel.ids import Slug, VersionId
from policies.vocabulary import DatasetState
from privacy.ingest.formats import Rule
from privacy.sealing.manifest import Part, PartAddress, Split
from tests.support import crashes
from tests.support.crashes import Place, Stage

SECRET = b"what only the gateway may read"
Write = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A dataset with an upload that waits for a worker."""
    return crashes.prepared(Place(tmp_path_factory.mktemp("seal") / "place"), "enrol", "register", "upload")


@pytest.fixture
def stage(uploaded: Place, tmp_path: Path) -> Iterator[Stage]:
    """A gateway on a copy of it."""
    place = uploaded.copy(tmp_path / "place")
    with closing(build(place.settings)) as gateway:
        yield Stage(place, gateway)


def ended(stage: Stage) -> tuple[VersionState, list[str], TaskState]:
    """Where the upload stands, what its owner reads, and whether the task is done."""
    with stage.on.database.read() as reading:
        version = reading.versions.get(id=VersionId(stage.known["version"]))
        task = reading.tasks.for_subject(version.id)
    assert task is not None
    problems = (version.problems or {}).get("problems", [])
    return version.state, [problem["rule"] for problem in problems], task.state


REFUSED = (VersionState.REFUSED, [Rule.DID_NOT_FINISH.value], TaskState.DONE)


def _link(file: Path, secret: Path) -> None:
    file.symlink_to(secret)


def _pipe(file: Path, _: Path) -> None:
    os.mkfifo(file)


def _folder(file: Path, _: Path) -> None:
    file.mkdir()


def _nothing(_: Path, __: Path) -> None:
    return


def _other_content(file: Path, _: Path) -> None:
    file.write_bytes(b"not what was named")


@pytest.mark.parametrize("name", ["train-00000", FINGERPRINTS, HOMES])
@pytest.mark.parametrize("write", [_link, _pipe, _folder, _nothing, _other_content])
def test_a_child_that_names_what_it_did_not_write_is_refused_at_once(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, name: str
) -> None:
    """No link is followed, nothing of the gateway's reaches the store, and the task is not tried again."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)

    def lie(_: object, staged: Staged, *rest: object) -> SealedFiles:
        output = next(path for path in rest if isinstance(path, Path))
        for file in ("train-00000", FINGERPRINTS, HOMES):
            (write if file == name else _honest)(output / file, secret)
        of = staged.version
        address = PartAddress.numbered(of.tenant, of.dataset, of.id, Split.TRAIN, 0)
        part = Part(
            aad=address.aad,
            bytes=len(SECRET),
            digest=Digest.of(SECRET),
            name=Slug(address.name),
            rows=1,
            split=Split.TRAIN,
        )
        return SealedFiles(output, (part,), Digest.of(SECRET), Digest.of(SECRET))

    monkeypatch.setattr(ingest, "_in_child", lie)
    assert stage.worker.step() is True
    assert ended(stage) == REFUSED
    stored = [path.read_bytes() for path in (stage.place.folder / "home" / "blobs").rglob("*") if path.is_file()]
    assert (SECRET in stored) is (name in (FINGERPRINTS, HOMES))  # what was stored before is named by nothing
    assert stage.worker.step() is False


def _honest(file: Path, _: Path) -> None:
    file.write_bytes(SECRET)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("no disk"), MemoryError()])
def test_an_upload_that_interrupts_every_worker_is_refused_in_the_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """A bounded number of leases, then `did-not-finish`; the owner may upload again."""
    tried = []

    def broken(*_: object) -> None:
        tried.append(1)
        raise error

    monkeypatch.setattr(ingest, "_in_child", broken)
    for lease in range(MOST_IN_VAIN):
        assert stage.worker.step() is True
        assert ended(stage)[::2] == (VersionState.STAGED, TaskState.LEASED), lease
        _run_out(stage)
    assert stage.worker.step() is True
    assert (len(tried), ended(stage)) == (MOST_IN_VAIN, REFUSED)
    assert stage.worker.step() is False
    (dataset,) = stage.on.decider.snapshot(stage.tenant).datasets.values()
    assert dataset.state is DatasetState.REGISTERED


def test_an_upload_whose_workers_were_killed_is_refused_in_the_end(stage: Stage) -> None:
    """A worker that dies says nothing; its leases are counted all the same."""
    for _ in range(MOST_IN_VAIN):
        with stage.on.database.upkeep("claim") as work:
            assert work.tasks.claim("killed", stage.on.clock.now(), 0) is not None
        _run_out(stage)
    assert stage.worker.step() is True
    assert ended(stage) == REFUSED


def _run_out(stage: Stage) -> None:
    """Let every lease have ended."""
    with stage.on.database.writing() as connection:
        connection.exec_driver_sql("UPDATE task SET lease_until = '2020-01-01T00:00:00Z' WHERE state = 'leased'")
