"""RULES 29: erasing rows destroys their key, and what was spent on their people stays spent."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.records import VersionRecord, VersionState
from gateway.services import datasets, populations
from gateway.services.cancel_job import cancel_job
from gateway.services.erase_version import erase_version
from gateway.services.log_reading import read_entries
from gateway.services.owner_facts import sealed_rows
from gateway.services.request_job import request_job
from gateway.services.seal_version import FINGERPRINTS, HOMES, newest_homes
from gateway.wiring import build
from kernel import canonical
from kernel.errors import ConflictError, NotFoundError
from kernel.ids import DatasetId, DekId, JobId, PopulationId, VersionId
from policies.decisions import Deny
from privacy.ingest.formats import Rule, UploadFormat
from privacy.sealing.lifecycle import open_dek
from privacy.sealing.stores import BlobPath
from tests.support import crashes
from tests.support import declarations as declared
from tests.support.api import rows_csv
from tests.support.crashes import Place, Stage

FEWER = b"".join(rows_csv().splitlines(keepends=True)[:-3])
LATER = timedelta(minutes=10)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A dataset with one sealed version."""
    return crashes.prepared(Place(tmp_path_factory.mktemp("erase") / "place"), "enrol", "register", "upload", "seal")


@pytest.fixture(scope="module")
def replaced(sealed: Place, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The same with a second version, without three of the rows."""
    place = sealed.copy(tmp_path_factory.mktemp("replaced") / "place")
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        upload(stage, FEWER)
    return place


@pytest.fixture
def stage(replaced: Place, tmp_path: Path) -> Iterator[Stage]:
    """A gateway on a copy of it."""
    with closing(build(replaced.copy(tmp_path / "place").settings)) as gateway:
        yield Stage(Place(tmp_path / "place"), gateway)


def upload(stage: Stage, rows: bytes, dataset: DatasetId | None = None) -> VersionRecord:
    """An upload that a worker took up."""
    into = dataset or DatasetId(stage.known["dataset"])
    version = datasets.stage_upload(stage.on, stage.caller("owner"), into, UploadFormat.of("csv"), io.BytesIO(rows))
    stage.settle()
    return version_of(stage, version.id)


def version_of(stage: Stage, version: VersionId) -> VersionRecord:
    """As it is stored now."""
    with stage.on.database.read() as reading:
        return reading.versions.get(id=version)


def first(stage: Stage) -> VersionRecord:
    """The version that was replaced."""
    return version_of(stage, VersionId(stage.known["version"]))


def erase(stage: Stage, version: VersionId | None = None, who: str = "owner") -> Deny | None:
    """Erase a version, by default the one that was replaced."""
    of = version or first(stage).id
    return erase_version(stage.on, stage.caller(who), DatasetId(stage.known["dataset"]), of)


def stored(stage: Stage, version: VersionRecord) -> set[str]:
    """Names of what lies in the store of a version."""
    return {
        path.rpartition("/")[2] for path in stage.on.blobs.list(BlobPath.of("datasets", version.dataset, version.id))
    }


def opens(stage: Stage, version: VersionRecord) -> bool:
    """Whether the version's key can be unwrapped."""
    with stage.on.database.read() as reading:
        record = reading.deks.get(version.dek or DekId(""))
    with suppress(NotFoundError), open_dek(record, stage.on.keyring):
        return True
    return False


def test_an_erased_version_opens_with_nothing_and_the_next_one_stays(stage: Stage) -> None:
    """Key and ciphertext are gone; the list of its units and the map of homes are not. To repeat it is harmless."""
    before = first(stage)
    for _ in range(2):
        assert erase(stage) is None
        after = first(stage)
        assert (after.state, after.manifest_blob, after.manifest_digest) == (
            VersionState.ERASED, None, before.manifest_digest,
        )  # fmt: skip
        assert not opens(stage, after)
        assert stored(stage, after) == {FINGERPRINTS, HOMES}
    with stage.on.database.read() as reading:
        current = reading.datasets.get(id=before.dataset).current_version
    assert sum(sealed_rows(stage.on, version_of(stage, VersionId(current or ""))).values()) == 497


def test_the_log_says_who_erased_what_once(stage: Stage) -> None:
    """Decision, destroyed key and erasure stand in one commit; a repetition adds a decision alone."""
    for _ in range(2):
        erase(stage)
    stage.settle()
    entries = read_entries(stage.on, stage.caller("auditor"), 0, 1000)
    assert not isinstance(entries, Deny)
    types = [canonical.decode(entry.payload, limit=2**20)["type"] for entry in entries]
    assert types[-4:] == ["decision:made", "dek:destroyed", "version:erased", "decision:made"]


def test_what_jobs_read_now_is_not_erased(stage: Stage) -> None:
    """Before that stands another version, or the end of the dataset."""
    with stage.on.database.read() as reading:
        current = VersionId(reading.datasets.get(id=first(stage).dataset).current_version or "")
    with pytest.raises(ConflictError, match="upload one without"):
        erase(stage, current)
    assert datasets.retire_dataset(stage.on, stage.caller("owner"), first(stage).dataset) is None
    assert erase(stage, current) is None
    assert not opens(stage, version_of(stage, current))


def test_only_what_was_sealed_is_erased(stage: Stage) -> None:
    """A refused upload has nothing to erase: its key was destroyed with the refusal."""
    refused = upload(stage, b"age,dose,outcome\n12,7,well\n")
    assert refused.state is VersionState.REFUSED
    with pytest.raises(ConflictError, match="sealed"):
        erase(stage, refused.id)


def test_nobody_but_the_owner_erases(stage: Stage) -> None:
    """A trainer is denied, and nothing happens."""
    assert isinstance(erase(stage, who="trainer"), Deny)
    assert opens(stage, first(stage))


def test_a_job_that_holds_budget_on_a_version_comes_first(sealed: Place, tmp_path: Path) -> None:
    """What its trainer was promised is run or cancelled; then the rows go."""
    place = sealed.copy(tmp_path / "place")
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        owner, trainer, dataset = stage.caller("owner"), stage.caller("trainer"), first(stage).dataset
        job = declared.queued(request_job(stage.on, trainer, declared.training(dataset, "1"))).id
        with stage.on.database.upkeep("claim") as work:
            claimed = work.tasks.claim("a worker that is busy", stage.on.clock.now(), 600)
        assert claimed is not None
        datasets.stage_upload(stage.on, owner, dataset, UploadFormat.of("csv"), io.BytesIO(FEWER))
        assert stage.worker.step()  # seals
        with pytest.raises(ConflictError, match="a job holds budget"):
            erase(stage)
        assert opens(stage, first(stage))
        with stage.on.database.upkeep("claim") as work:
            work.tasks.give_back(claimed)
        declared.allowed(cancel_job(stage.on, trainer, JobId(job)))
        stage.settle()
        assert erase(stage) is None
        assert not opens(stage, first(stage))


def test_whoever_was_erased_is_met_again(stage: Stage) -> None:
    """RULES 1: the same rows are refused in another population of this owner, though nobody can open the first ones."""
    erase(stage)
    owner = stage.caller("owner")
    other = declared.allowed(populations.create_population(stage.on, owner, declared.new_population())).population.id
    new = declared.new_dataset(PopulationId(other))
    dataset = declared.allowed(datasets.register_dataset(stage.on, owner, new)).id
    gone = rows_csv().splitlines(keepends=True)
    again = upload(stage, b"".join([gone[0], *gone[-3:]]), dataset)
    assert again.state is VersionState.REFUSED
    assert again.problems is not None
    assert [one["rule"] for one in again.problems["problems"]] == [Rule.OVERLAPS_ANOTHER_POPULATION.value]


def test_a_version_without_its_list_of_units_lets_nothing_be_sealed(stage: Stage) -> None:
    """Whoever cannot compare does not take in: the upload is refused, and nobody gets a second budget."""
    with stage.on.database.work(stage.tenant) as work:
        work.versions.change({"id": first(stage).id}, fingerprints_blob=None)
        work.commit_upkeep("test")
    owner = stage.caller("owner")
    other = declared.allowed(populations.create_population(stage.on, owner, declared.new_population())).population.id
    dataset = declared.allowed(datasets.register_dataset(stage.on, owner, declared.new_dataset(PopulationId(other)))).id
    assert upload(stage, b"age,dose,outcome\n12.5,0.25,well\n", dataset).state is VersionState.REFUSED


def test_the_map_of_homes_outlives_the_rows(stage: Stage) -> None:
    """RULES 2: with every version erased the next upload still finds who is at home where."""
    with stage.on.database.read() as reading:
        dataset = reading.datasets.get(id=first(stage).dataset)
        before = newest_homes(reading, dataset)
    assert datasets.retire_dataset(stage.on, stage.caller("owner"), dataset.id) is None
    for version in (first(stage).id, VersionId(dataset.current_version or "")):
        assert erase(stage, version) is None
    with stage.on.database.read() as reading:
        after = newest_homes(reading, dataset)
    assert before is not None
    assert after is not None
    assert (after.id, after.homes_blob) == (before.id, before.homes_blob)
    assert stage.on.blobs.exists(BlobPath(after.homes_blob or ""))
    new = declared.new_dataset(dataset.population)
    other = declared.allowed(datasets.register_dataset(stage.on, stage.caller("owner"), new)).id
    assert upload(stage, FEWER, other).homes_seq == 3


def test_whatever_moment_it_dies_at_a_version_is_whole_or_erased(
    replaced: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at each point: the key is alive with all its ciphertext, or destroyed; asked again, all of it is gone."""
    passed: list[str] = []
    monkeypatch.setitem(crashes.ACTS, "erase", erase)  # type: ignore[arg-type]
    crashes.play(replaced.copy(tmp_path / "whole"), "erase", passed.append)
    assert {name.partition(":")[0] for name in passed} == {"erase", "blob-delete"}
    whole = {"manifest", "train-00000", "holdout-00000", FINGERPRINTS, HOMES}
    for number, name in enumerate(passed):
        place = replaced.copy(tmp_path / str(number))
        assert crashes.play_and_die(place, "erase", name, 1 + passed[:number].count(name)) == -9
        with closing(build(place.settings, clock=crashes.LaterClock(LATER))) as gateway:
            stage = Stage(place, gateway)
            found = first(stage)
            if opens(stage, found):
                assert (found.state, stored(stage, found)) == (VersionState.SEALED, whole)
            else:
                assert found.state is VersionState.ERASED
            assert erase(stage) is None
            assert (opens(stage, found), stored(stage, found)) == (False, {FINGERPRINTS, HOMES})
