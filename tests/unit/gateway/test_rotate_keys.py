"""A tenant's wrapping key is rotated: everything still opens, the log agrees, and the old one can be ended."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.records import VersionState
from gateway.services import datasets
from gateway.services.log_reading import read_entries
from gateway.services.owner_facts import sealed_rows
from gateway.services.rotate_keys import rotate_keys
from gateway.wiring import build
from kernel import canonical
from kernel.errors import ConflictError, CorruptError
from kernel.ids import DatasetId, VersionId
from policies.decisions import Deny
from privacy.ingest.formats import UploadFormat
from privacy.sealing.lifecycle import DekRecord, open_dek
from tests.support import crashes
from tests.support.api import rows_csv
from tests.support.crashes import Place, Stage

LATER = timedelta(minutes=10)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A dataset with a sealed version, and an upload that waits for a worker."""
    place = crashes.prepared(Place(tmp_path_factory.mktemp("rotate") / "place"), "enrol", "register", "upload", "seal")
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        owner, dataset = stage.caller("owner"), DatasetId(stage.known["dataset"])
        datasets.stage_upload(stage.on, owner, dataset, UploadFormat.of("csv"), io.BytesIO(rows_csv()))
    return place


@pytest.fixture
def stage(sealed: Place, tmp_path: Path) -> Iterator[Stage]:
    """A gateway on a copy of it."""
    with closing(build(sealed.copy(tmp_path / "place").settings)) as gateway:
        yield Stage(Place(tmp_path / "place"), gateway)


def keys(stage: Stage) -> list[DekRecord]:
    """The data keys that are alive."""
    with stage.on.database.read() as reading:
        return [record for record in reading.deks.of(stage.tenant) if record.wrapped is not None]


def wrapped_by(stage: Stage) -> set[int]:
    """Which versions of the wrapping key are needed."""
    return {record.wrapped.kek_version for record in keys(stage) if record.wrapped is not None}


def logged(stage: Stage, kind: str) -> list[dict[str, Any]]:
    """The entries of a kind."""
    stage.settle()
    entries = read_entries(stage.on, stage.caller("auditor"), 0, 1000)
    assert not isinstance(entries, Deny)
    told = [canonical.decode(entry.payload, limit=2**20) for entry in entries]
    return [dict(entry["fields"]) for entry in told if entry["type"] == kind]


def test_everything_opens_under_the_new_version_and_no_digest_changes(stage: Stage) -> None:
    """Only rows of keys change; what waits is sealed under the new version; the log has the rotation."""
    with stage.on.database.read() as reading:
        before = reading.versions.get(id=VersionId(stage.known["version"]))
    assert wrapped_by(stage) == {1}
    assert rotate_keys(stage.on, stage.tenant) == 2
    assert wrapped_by(stage) == {2}
    with stage.on.database.read() as reading:
        assert reading.versions.get(id=before.id) == before
    assert sum(sealed_rows(stage.on, before).values()) == 500
    stage.settle()
    with stage.on.database.read() as reading:
        versions = reading.versions.all(dataset=before.dataset)
    assert {version.state for version in versions} == {VersionState.SEALED}
    assert logged(stage, "kek:rotated") == [{"kek_version": 2}]
    assert [fields["kek_version"] for fields in logged(stage, "dek:created")] == [1, 1, 1, 2]


def test_an_old_version_is_ended_where_that_is_asked_for(stage: Stage) -> None:
    """A row from a backup opens as long as the version that wrapped it lives, and then no more."""
    (kept, *_), tenant = keys(stage), stage.tenant
    rotate_keys(stage.on, tenant)
    with open_dek(kept, stage.on.keyring) as key:
        assert len(key) == 32
    assert rotate_keys(stage.on, tenant, destroy_old=True) == 3
    with pytest.raises(ConflictError, match="below the floor"):
        open_dek(kept, stage.on.keyring)
    assert [version.destroyed_at is not None for version in stage.on.keyring.describe(tenant).versions] == [
        True, True, False,
    ]  # fmt: skip
    for record in keys(stage):
        with open_dek(record, stage.on.keyring) as key:
            assert len(key) == 32


def test_nothing_is_rotated_under_a_worker_that_is_at_a_task(stage: Stage) -> None:
    """It has keys that it will write down as the old version's; once its lease is over nobody has."""
    with stage.on.database.upkeep("claim") as work:
        claimed = work.tasks.claim("a worker", stage.on.clock.now(), 600)
    assert claimed is not None
    with pytest.raises(ConflictError, match="a worker is at a task"):
        rotate_keys(stage.on, stage.tenant)
    assert (stage.on.keyring.describe(stage.tenant).current, wrapped_by(stage)) == (1, {1})
    with stage.on.database.upkeep("claim") as work:
        work.tasks.give_back(claimed)
    assert rotate_keys(stage.on, stage.tenant) == 2


def test_the_command_rotates_every_organisation_and_an_older_keyring_is_refused_then(
    sealed: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database remembers how new the keyring is, so that the one from before does not come back unseen."""
    place = sealed.copy(tmp_path / "place")
    before = shutil.copytree(place.settings.home / "keyring", tmp_path / "before")
    monkeypatch.setattr(cli, "Settings", lambda: place.settings)
    told = CliRunner().invoke(cli.app, ["rotate", "--destroy-old"])
    assert (told.exit_code, told.output.split()[-1]) == (0, "2"), told.output
    shutil.rmtree(place.settings.home / "keyring")
    shutil.copytree(before, place.settings.home / "keyring")
    with pytest.raises(CorruptError):
        build(place.settings)


def _rotate(stage: Stage) -> None:
    rotate_keys(stage.on, stage.tenant, destroy_old=True)


@pytest.mark.slow
def test_whatever_moment_it_dies_at_every_key_opens_and_the_log_agrees(
    sealed: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at each point and called again: no key is lost, and the entries rise by one."""
    passed: list[str] = []
    monkeypatch.setitem(crashes.ACTS, "rotate", _rotate)  # type: ignore[index]
    crashes.play(sealed.copy(tmp_path / "whole"), "rotate", passed.append)
    assert {name.partition(":")[0] for name in passed} >= {"keyring", "kek-rotated", "rewrap"}
    # Each point where it is passed first: the keyring is written several times, each time alike; rows to the last one.
    struck = {(name, passed.count(name) if name.startswith("rewrap") else 1) for name in passed}
    for number, (name, occurrence) in enumerate(sorted(struck)):
        place = sealed.copy(tmp_path / str(number))
        assert crashes.play_and_die(place, "rotate", name, occurrence) == -9
        with closing(build(place.settings, clock=crashes.LaterClock(LATER))) as gateway:
            stage = Stage(place, gateway)
            for record in keys(stage):
                with open_dek(record, stage.on.keyring) as key:
                    assert len(key) == 32
            version = rotate_keys(stage.on, stage.tenant, destroy_old=True)
            assert wrapped_by(stage) == {version}
            assert [each["kek_version"] for each in logged(stage, "kek:rotated")] == list(range(2, version + 1))
