"""Two workers seal uploads of one owner at the same time: the same people never end up in two populations (RULES 1)."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.records import TaskState, VersionRecord, VersionState
from gateway.services import datasets, populations
from gateway.wiring import build
from kernel.ids import VersionId
from privacy.ingest.formats import Rule, UploadFormat
from tests.support import crashes, postgres
from tests.support import declarations as declared
from tests.support.api import rows_csv
from tests.support.crashes import Place, Stage
from tests.support.databases import DATABASES, cases

WAIT_SECONDS = 120


@pytest.fixture(params=cases(DATABASES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An organisation with its people, on each database."""
    with _address(request.param) as url:
        yield crashes.prepared(Place(tmp_path / "place", url), "enrol")


@contextmanager
def _address(name: str) -> Iterator[str]:
    if name == "sqlite":
        yield ""
        return
    with postgres.require().database() as url:
        yield url


class _Meeting:
    """Where two workers wait for each other: between the comparison with what was sealed and the commit."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self._here = threading.local()

    def point(self, name: str) -> None:
        """Wait at the first object that a worker stores."""
        if name == "blob:before-fsync" and not getattr(self._here, "met", False):
            self._here.met = True
            self._barrier.wait(WAIT_SECONDS)


def test_two_seals_at_once_let_one_population_have_the_people(place: Place) -> None:
    """Both looked before either committed; the second finds the first under the lock, and is refused for overlap."""
    versions = _stage_two(place)
    meeting = _Meeting()
    with ThreadPoolExecutor(2) as workers:
        steps = [workers.submit(_work_once, place, meeting) for _ in versions]
        assert [step.result(WAIT_SECONDS) for step in steps] == [True, True]
    with closing(build(place.settings)) as gateway, gateway.on.database.read() as reading:
        found = [reading.versions.get(id=version) for version in versions]
        tasks = [reading.tasks.for_subject(version) for version in versions]
    assert sorted(version.state for version in found) == [VersionState.REFUSED, VersionState.SEALED]
    (refused,) = (version for version in found if version.state is VersionState.REFUSED)
    assert _rules(refused) == [Rule.OVERLAPS_ANOTHER_POPULATION.value]
    assert [task.state for task in tasks if task is not None] == [TaskState.DONE, TaskState.DONE]


def _stage_two(place: Place) -> list[VersionId]:
    """The same rows, uploaded to two populations of one owner."""
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        owner, versions = stage.caller("owner"), []
        for _ in range(2):
            made = populations.create_population(stage.on, owner, declared.new_population())
            new = declared.new_dataset(declared.allowed(made).population.id)
            dataset = declared.allowed(datasets.register_dataset(stage.on, owner, new)).id
            source = io.BytesIO(rows_csv())
            versions.append(datasets.stage_upload(stage.on, owner, dataset, UploadFormat.of("csv"), source).id)
    return versions


def _work_once(place: Place, meeting: _Meeting) -> bool:
    patient = place.settings.model_copy(update={"lease_seconds": 2 * WAIT_SECONDS})
    with closing(build(patient, point=meeting.point)) as gateway:
        return Stage(place, gateway).worker.step()


def _rules(version: VersionRecord) -> list[str]:
    assert version.problems is not None
    return [problem["rule"] for problem in version.problems["problems"]]
