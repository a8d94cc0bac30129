"""Jobs whose uploads the gateway adds: a worker's turn, in a confined child, and a key holder that reads sums alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import House, done, house
from tests.support.hospitals import Hospitals, events, fetched, table_of

ADDS = {"aggregation": "semi-honest-gateway"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("adds") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder, who trust the gateway to add."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"), (12, 11, 14))


def test_a_job_runs_through_with_sums_of_the_gateway(made: House, hospitals: Hospitals) -> None:
    """Each round has a sum, logged with its digest before the decryption; the result is that of the other way."""
    asked = {"family": "linear", "outcome": "dose", "most_rounds": 1}
    found = []
    for adds in ({}, ADDS):
        job = hospitals.admitted(**asked, **adds)["job"]
        ended = hospitals.play(job)
        assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
        done(made["owner-2"].post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
        made.settle()
        found.append(table_of(fetched(made, ended["release"], "artifact")))
    told = [entry["type"] for entry in made.log() if entry.get("correlation") == job]
    assert told.index("upload:received") < told.index("sum:made") < told.index("round:decrypted")
    assert [one["sites"] for one in events(made, "sum:made")] == [3]
    assert found[0] == found[1]
