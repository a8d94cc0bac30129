"""Ciphertext that nothing names any more is deleted, and nothing that somebody may still name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.records import JobState, VersionState
from gateway.services import datasets
from gateway.services.sweep_blobs import sweep_blobs
from gateway.wiring import build
from kernel.ids import DatasetId, JobId, VersionId
from privacy.ingest.formats import UploadFormat
from privacy.sealing.stores import BlobPath
from tests.support import crashes
from tests.support.api import rows_csv
from tests.support.budgets import fresh
from tests.support.crashes import Place, Stage


@pytest.fixture(scope="module")
def requested(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A dataset with a sealed version, and a job that waits."""
    acts = ("enrol", "register", "upload", "seal", "request")
    return crashes.prepared(Place(tmp_path_factory.mktemp("sweep") / "place"), *acts)


@pytest.fixture
def stage(requested: Place, tmp_path: Path) -> Iterator[Stage]:
    """A gateway on a copy of it."""
    with closing(build(requested.copy(tmp_path / "place").settings)) as gateway:
        yield Stage(Place(tmp_path / "place"), gateway)


def put(stage: Stage, *names: str) -> BlobPath:
    """Something in the store that no row names."""
    path = BlobPath.of(*names)
    stage.on.blobs.put_new(path, b"ciphertext")
    return path


def lies(stage: Stage) -> set[str]:
    """Everything in the store."""
    return {str(path) for path in stage.on.blobs.list()}


def test_what_a_lost_race_left_is_deleted_and_the_version_stays(stage: Stage) -> None:
    """Parts of an attempt that was not named, and the raw upload, of versions that are sealed or refused."""
    dataset, version = stage.known["dataset"], stage.known["version"]
    before = lies(stage)
    put(stage, "datasets", dataset, version, "9-00000000", "train-00000")
    put(stage, "datasets", dataset, version, "9-00000000", "manifest")
    put(stage, "staged", version)
    assert sweep_blobs(stage.on) == 3
    assert lies(stage) == before
    assert sweep_blobs(stage.on) == 0


def test_a_refused_upload_keeps_nothing(stage: Stage) -> None:
    """Whatever was stored before the refusal."""
    before = lies(stage)
    dataset = DatasetId(stage.known["dataset"])
    with stage.on.database.upkeep("claim") as work:
        assert work.tasks.claim("a worker that is busy", stage.on.clock.now(), 600) is not None
    owner, rows = stage.caller("owner"), io.BytesIO(b"age,dose,outcome\n12,7,well\n")
    refused = datasets.stage_upload(stage.on, owner, dataset, UploadFormat.of("csv"), rows).id
    assert stage.worker.step()
    with stage.on.database.read() as reading:
        assert reading.versions.get(id=refused).state is VersionState.REFUSED
    put(stage, "datasets", dataset, refused, "1-00000000", "train-00000")
    assert sweep_blobs(stage.on) == 1
    assert lies(stage) == before


def test_what_may_still_be_named_is_left(stage: Stage) -> None:
    """An upload that is being sealed, one whose row is not there yet, and the savepoints of a job that may go on."""
    owner, dataset = stage.caller("owner"), DatasetId(stage.known["dataset"])
    version = datasets.stage_upload(stage.on, owner, dataset, UploadFormat.of("csv"), io.BytesIO(rows_csv())).id
    put(stage, "datasets", dataset, version, "1-00000000", "train-00000")
    put(stage, "staged", fresh(VersionId))
    put(stage, "savepoints", stage.known["job"], "1-4")
    put(stage, "savepoints", fresh(JobId), "1-4")
    put(stage, "savepoints", "notes")
    put(stage, "datasets", "of-somebody-else")
    before = lies(stage)
    assert sweep_blobs(stage.on) == 0
    assert lies(stage) == before


def test_savepoints_of_a_job_that_has_ended_are_deleted(stage: Stage) -> None:
    """There is no next attempt to go on from them."""
    put(stage, "savepoints", stage.known["job"], "1-4")
    with stage.on.database.work(stage.tenant) as work:
        work.jobs.change({"id": JobId(stage.known["job"])}, state=JobState.CANCELLED)
        work.commit_upkeep("test")
    assert sweep_blobs(stage.on) == 1
