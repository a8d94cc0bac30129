"""A gateway that is struck down on either side of any commit of a job on data of sites: whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.support.api import House, done, house
from tests.support.hospitals import Hospitals, events

COMMITS = (
    *(
        pytest.param(f"collection-{kind}", marks=pytest.mark.slow, id=kind)
        for kind in ("key", "round", "upload", "result")
    ),
    pytest.param("collection-final", id="final"),
)


class StruckError(Exception):
    """The process ends here, as far as this work is concerned: no service knows such an error."""


@contextmanager
def struck_at(made: House, name: str, times: int = 1) -> Iterator[list[str]]:
    """Strike where a commit has this point, as often as said; what was passed on the way."""
    database, seen = made.gateway.on.database, []
    around = database._around
    left = [times]

    def point(passed: str) -> None:
        seen.append(passed)
        if passed == name and left[0]:
            left[0] -= 1
            raise StruckError

    database._around = replace(around, point=point)
    try:
        yield seen
    finally:
        database._around = around


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("struck") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder, who ask a question that takes one round."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"), (12, 11, 14))


def survived(turn: Callable[[], None]) -> None:
    """An agent's life, which a struck gateway may cut short: its agent is begun again later."""
    try:
        turn()
    except Exception:  # noqa: BLE001 - whatever a client makes of a gateway that is gone
        return


@pytest.mark.parametrize("side", ["before-commit", "committed"])
@pytest.mark.parametrize("commit", COMMITS)
def test_a_job_ends_once_whatever_commit_was_struck(made: House, hospitals: Hospitals, commit: str, side: str) -> None:
    """Agents send again what was not acknowledged: one release, one mark for each site, one entry for each document."""
    before = Counter(entry["type"] for entry in made.log())
    job = hospitals.admitted(family="linear", outcome="dose", most_rounds=1)["job"]
    with struck_at(made, f"{commit}:{side}") as seen:
        for _ in range(12):
            for party in hospitals.everybody:
                survived(lambda party=party: hospitals.turn(party))  # type: ignore[misc]  # bound at once
            if done(made["trainer"].get(f"/v1/jobs/{job}"))["state"] == "finished":
                break
    assert f"{commit}:{side}" in seen
    ended = done(made["trainer"].get(f"/v1/jobs/{job}"))
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    after = Counter(entry["type"] for entry in made.log())
    expected = {
        "order:issued": 1, "key:announced": 1, "round:opened": 1, "upload:received": 3, "round:decrypted": 1,
        "collection:concluded": 1, "population:uncovered": 3, "release:held": 1, "job:ended": 1,
    }  # fmt: skip
    assert {name: after[name] - before[name] for name in expected} == expected
    marks = [one for one in events(made, "population:uncovered") if one["job"] == job]
    assert len({one["population"] for one in marks}) == 3


def test_a_struck_admission_leaves_the_job_waiting(made: House, hospitals: Hospitals) -> None:
    """The last yes and the order are one commit: without it there is neither, and the yes can be given again."""
    job = hospitals.requested()
    for site in hospitals.sites:
        done(hospitals.answer(site.owner, job))
    with struck_at(made, "collection-approval:before-commit"):
        survived(lambda: hospitals.answer("checker", job))
    shown = done(made["trainer"].get(f"/v1/jobs/{job['job']}"))
    assert (shown["state"], [e for e in events(made, "order:issued") if e["job"] == job["job"]]) == (
        "awaiting-approval",
        [],
    )
    assert done(hospitals.answer("checker", job))["state"] == "collecting"
