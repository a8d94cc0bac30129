"""Two workers seal uploads of one owner at the same time: the same people never end up in two populations (RULES 1)."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.records import TaskState, VersionRecord, VersionState
from gateway.services import datasets, populations
from gateway.services.collaborators import Collaborators
from gateway.wiring import build
from kernel.ids import PopulationId, VersionId
from privacy.ingest.formats import Rule, UploadFormat
from privacy.ingest.homes import HomeMap, homes_context, homes_key
from privacy.sealing.stores import BlobPath
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


def test_two_seals_at_once_in_one_population_give_each_unit_one_home(place: Place) -> None:
    """The second finds that the map of homes has grown meanwhile, and is sealed anew on top of it (RULES 2)."""
    versions = _stage_two(place, together=True)
    meeting = _Meeting()
    with ThreadPoolExecutor(2) as workers:
        steps = [workers.submit(_work_once, place, meeting) for _ in versions]
        assert [step.result(WAIT_SECONDS) for step in steps] == [True, True]
    with closing(build(place.settings)) as gateway:
        with gateway.on.database.read() as reading:
            found = sorted((reading.versions.get(id=version) for version in versions), key=lambda v: v.homes_seq or 0)
        assert [(version.state, version.homes_seq, version.home) for version in found] == [
            (VersionState.SEALED, 1, 1), (VersionState.SEALED, 2, 1),
        ]  # fmt: skip
        first, second = (_homes(gateway.on, version) for version in found)
    assert len(first) == 500
    # The same rows: nobody is there twice.
    assert second == first


def _homes(on: Collaborators, version: VersionRecord) -> list[tuple[int, int]]:
    """A version's map of homes: unit and block."""
    with on.database.read() as reading:
        population = reading.datasets.get(id=version.dataset).population
    with on.keyring.secret(populations.population_key(population)) as key, tempfile.NamedTemporaryFile() as file:
        with on.blobs.open(BlobPath(version.homes_blob or "")) as blob:
            shutil.copyfileobj(blob, file)
        file.flush()
        with HomeMap(Path(file.name), homes_key(key), homes_context(version.tenant, version.id)) as known:
            return [(int(unit), int(home)) for number in range(256) for unit, home in known.bucket(number)]


def _stage_two(place: Place, *, together: bool = False) -> list[VersionId]:
    """The same rows, uploaded to two populations of one owner, or to two datasets of one population."""
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        owner, versions = stage.caller("owner"), []
        population = ""
        for _ in range(2):
            if not (together and population):
                made = populations.create_population(stage.on, owner, declared.new_population())
                population = declared.allowed(made).population.id
            new = declared.new_dataset(PopulationId(population))
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
