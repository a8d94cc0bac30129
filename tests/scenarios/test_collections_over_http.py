"""Jobs on data that the gateway never sees, from the request to a released model: real agents, real ciphertexts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import House, done, house, refused
from tests.support.hospitals import Hospitals, fetched, table_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("collections") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"))


def test_three_hospitals_fit_a_model_that_none_could_make_alone(made: House, hospitals: Hospitals) -> None:
    """Approved by every owner and a checker, collected in rounds, marked, certified, held, released, fetched."""
    job = hospitals.admitted()
    ended = hospitals.play(job["job"])
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    release = ended["release"]
    refused(made["trainer"].get(f"/v1/releases/{release}/files/artifact"), 409)
    done(made["checker"].post(f"/v1/releases/{release}/check", {"verdict": "release"}))
    made.settle()
    table = table_of(fetched(made, release, "artifact"))
    assert set(table) > {"age"}
