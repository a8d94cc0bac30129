"""A site that attests other rows while a job reads its dataset: no certificate names rows that were not read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import House, done, house
from tests.support.hospitals import Hospitals, Party, events


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("attested") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"))


def other_rows(hospitals: Hospitals, site: Party) -> None:
    """One row more in a site's file, and attested."""
    with (hospitals.folder / f"{site.name}.csv").open("a", encoding="utf-8") as file:
        file.write("44,1.0,false\n")
    hospitals.attest(site)


def test_rows_attested_after_the_order_end_the_job_before_anything_is_asked(made: House, hospitals: Hospitals) -> None:
    """Admitted on one version, it would be computed on another, and the certificate would name the first."""
    job = hospitals.admitted()["job"]
    other_rows(hospitals, hospitals.sites[1])
    assert hospitals.play(job)["state"] == "failed"
    assert not [one for one in events(made, "round:opened") if one["job"] == job]
    assert done(made["trainer"].get(f"/v1/jobs/{job}"))["release"] is None


def test_rows_attested_between_two_rounds_end_the_job_at_the_next(made: House, hospitals: Hospitals) -> None:
    """Two rounds over two files give a result of neither."""
    job = hospitals.admitted()["job"]
    hospitals.turn(hospitals.holder)
    for site in hospitals.sites:
        hospitals.turn(site)
    other_rows(hospitals, hospitals.sites[2])
    assert hospitals.play(job)["state"] == "failed"
    assert [one["number"] for one in events(made, "round:opened") if one["job"] == job] == [1]


def test_the_same_rows_attested_again_change_nothing(hospitals: Hospitals) -> None:
    """The same commitment is the same version."""
    job = hospitals.admitted()["job"]
    hospitals.attest(hospitals.sites[0])
    assert hospitals.play(job)["state"] == "finished"
