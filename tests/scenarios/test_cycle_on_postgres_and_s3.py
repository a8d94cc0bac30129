"""The same cycle on the storage of production: PostgreSQL for rows, S3 for ciphertext, nothing in the home but keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from audit.archive import Archive
from audit.verify import Outcome, verify_log
from gateway.records import JobState
from gateway.services.log_reading import export_archive
from gateway.wiring import build
from tests.support import crashes, postgres, s3
from tests.support.api import initialise
from tests.support.crashes import Place, Stage, states, trust_of
from tests.support.cycles import unpack_export
from tests.support.declarations import allowed

pytestmark = pytest.mark.postgres


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A home whose settings name a PostgreSQL database and a bucket."""
    address, endpoint = s3.bucket()
    with postgres.require().database() as url:
        monkeypatch.setenv("PRIVGATE_BLOB_URL", address)
        monkeypatch.setenv("PRIVGATE_S3_ENDPOINT", endpoint)
        for name, value in s3.CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        yield Place(tmp_path, url)


def test_the_cycle_runs_and_verifies_on_postgresql_and_s3(place: Place, tmp_path: Path) -> None:
    """Register, seal, train, release, fetch; every blob in the bucket, none in the home; the archive verifies."""
    target = tmp_path / "archive"
    initialise(place.settings)
    for act in crashes.ACTS:
        crashes.play(place, act, lambda _: None)
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        found = states(stage)
        kinds = {path.partition("/")[0] for path in gateway.on.blobs.list()}
        unpack_export(allowed(export_archive(stage.on, stage.caller("auditor"))), target)
    assert found["job"] is JobState.FINISHED
    assert {"releases"} < kinds
    assert not (place.settings.home / "blobs").exists()
    assert not list(place.settings.home.rglob("*.sqlite"))
    assert verify_log(Archive.open(target), trust_of(place)).outcome is Outcome.VERIFIED
