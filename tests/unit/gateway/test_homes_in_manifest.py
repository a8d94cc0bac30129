"""Which units were told to be earlier ones' is bound: map -> manifest -> reservation -> certificate."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from contextlib import closing

import pytest

from gateway.launchers.parts import verify_homes
from gateway.records import VersionRecord
from gateway.services import datasets
from gateway.services.owner_facts import read_manifest
from gateway.wiring import build
from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import DatasetId, DekId, VersionId
from privacy.ingest.formats import UploadFormat
from privacy.sealing.lifecycle import open_dek
from privacy.sealing.manifest import Manifest
from privacy.sealing.stores import BlobPath
from tests.support import crashes
from tests.support.api import rows_csv
from tests.support.crashes import Place, Stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A dataset with two sealed versions."""
    place = crashes.prepared(Place(tmp_path_factory.mktemp("homes") / "place"), "enrol", "register", "upload", "seal")
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        owner, dataset = stage.caller("owner"), DatasetId(stage.known["dataset"])
        datasets.stage_upload(stage.on, owner, dataset, UploadFormat.of("csv"), io.BytesIO(rows_csv()))
        stage.settle()
        yield stage


@pytest.fixture(scope="module")
def versions(stage: Stage) -> list[VersionRecord]:
    """The former and the current one."""
    with stage.on.database.read() as reading:
        current = VersionId(reading.datasets.get(id=DatasetId(stage.known["dataset"])).current_version or "")
        return [reading.versions.get(id=version) for version in (VersionId(stage.known["version"]), current)]


def manifest_of(stage: Stage, version: VersionRecord) -> Manifest:
    """As it lies in the store, held to the digest in the log."""
    with stage.on.database.read() as reading:
        record = reading.deks.get(version.dek or DekId(""))
    with open_dek(record, stage.on.keyring) as key:
        return read_manifest(stage.on, version, key)


def test_a_manifest_names_the_map_that_its_sealing_left(stage: Stage, versions: list[VersionRecord]) -> None:
    """Its digest, and so the map, is what reservations pin and certificates cite."""
    for version in versions:
        manifest = manifest_of(stage, version)
        with stage.on.blobs.open(BlobPath(version.homes_blob or "")) as stored:
            assert manifest.homes == Digest.of(stored.read())
        assert dataclasses.replace(manifest, homes=Digest.of(b"another")).digest != version.manifest_digest
        verify_homes(stage.on.blobs, version, manifest)


def test_rows_are_not_read_beside_another_map(stage: Stage, versions: list[VersionRecord]) -> None:
    """Not even beside that of another version, which opens with the same key."""
    former, current = versions
    swapped = dataclasses.replace(current, homes_blob=former.homes_blob)
    with pytest.raises(CorruptError, match="map of home blocks"):
        verify_homes(stage.on.blobs, swapped, manifest_of(stage, current))
