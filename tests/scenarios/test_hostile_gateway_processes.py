"""Agents as processes, over mutual TLS, at a real gateway process that lies to them: each lie in a job of its own.

All jobs are there at once, honest ones among them: what is found wrong in one job stops that job alone (RULES 33, 34).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kernel.canonical import Digest
from privgate.agents.rules import Requests
from tests.support.federation import Federation, federation
from tests.support.lying_gateway import LYING, LyingGateway

pytestmark = pytest.mark.slow

MEAN: Mapping[str, Any] = {"kind": "he.statistics", "result": "exact", "queries": [{"kind": "mean", "column": "age"}]}
NOISED: Mapping[str, Any] = {**MEAN, "result": "noised", "epsilon": "0.5", "tolerated": 1}
MODEL: Mapping[str, Any] = {
    "kind": "he.glm",
    "result": "exact",
    "family": "logistic",
    "outcome": "ill",
    "predictors": ["age"],
}


@dataclass(frozen=True)
class Case:
    """A lie and what comes of it.

    Attributes:
        lie: Which; empty for none.
        asked: The job.
        whys: Why somebody refuses; empty if nobody does.
        by: Who does, or some of them: one word is enough to end a job, and others may then not come to it.
        answered: How many rounds were answered at most, by any site.
        decrypted: How often something was decrypted at most; nothing is more often in a job that finished.
        state: How the job ends at the gateway.
    """

    lie: str
    asked: Mapping[str, Any]
    whys: frozenset[str] = frozenset()
    by: tuple[str, ...] = ()
    answered: int = 0
    decrypted: int = 0
    state: str = "finished"


SITES = ("hospital-1", "hospital-2", "hospital-3")
BY = {"sites": SITES, "holder": ("laboratory",), "anybody": (*SITES, "laboratory")}


def case(lie: str, asked: Mapping[str, Any], why: str, by: str, answered: int = 0, decrypted: int = 0) -> Case:
    """One that is found, and ends the job."""
    return Case(lie, asked, frozenset({why}), BY[by], answered, decrypted, "failed")


CASES = (
    Case("", MEAN, answered=1, decrypted=1),
    case("key-of-the-gateways-own", MEAN, "key", "sites"),
    case("key-beside-the-real-document", MEAN, "key", "sites"),
    case("one-sites-upload-for-all", MEAN, "upload", "holder", answered=1),
    case("upload-of-the-round-before", MODEL, "upload", "holder", answered=2, decrypted=1),
    case("round-again", MODEL, "chain", "sites", answered=1, decrypted=1),
    case("plan-of-another-question", MEAN, "rules", "anybody"),
    Case("request-that-nobody-approved", MEAN, state="collecting"),
    case("order-that-changes", MEAN, "another-order", "anybody", answered=1),
    case("less-noise", NOISED, "rules", "anybody"),
    case("no-noise", NOISED, "rules", "anybody"),
    case("order-cut-short", MEAN, "another-order", "anybody"),
    case("key-cut-short", MEAN, "key", "sites"),
    case("round-altered", MEAN, "chain", "sites"),
    case("upload-altered", MEAN, "upload", "holder", answered=1),
    case("result-altered", MODEL, "chain", "sites", answered=1, decrypted=1),
    Case("final-altered", MEAN, frozenset({"chain"}), SITES, answered=1, decrypted=1),
    case("garbage", MEAN, "another-order", "anybody"),
    case("never-taken", MEAN, "rejected", "sites", answered=1),
    Case("nuisance", MEAN, answered=1, decrypted=1),
    Case("result-that-is-lost", MEAN, answered=1, decrypted=1),
    Case("", NOISED, answered=1, decrypted=1),
)


@dataclass
class Story:
    """What happened: the agents' logs after everything, and how each job ended."""

    made: Federation
    logs: Mapping[str, list[Mapping[str, Any]]]
    judged: Mapping[str, Mapping[str, Any]]
    jobs: Mapping[int, Any]
    told: Mapping[str, str]

    def deeds(self, number: int, who: str, *kinds: str) -> list[Mapping[str, Any]]:
        """What somebody did in a job."""
        job = self.jobs[number].job
        return [entry for entry in self.logs[who] if entry["job"] == job and entry["deed"] in kinds]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Play all jobs at once."""
    with pytest.MonkeyPatch.context() as patch, federation(tmp_path_factory.mktemp("lies"), LyingGateway) as made:
        # So many jobs are looked at in each poll that more of them would be most of the work.
        patch.setattr("privgate.demo.consortium.agents.POLL_SECONDS", "1")
        # Requests differ in how long a round waits, so that a yes is for one of them alone.
        jobs = [made.admitted({**one.asked, "round_seconds": 600 + place}) for place, one in enumerate(CASES)]
        for one, job in zip(CASES, jobs, strict=True):
            if one.lie:
                made.local.lie(job.job, one.lie)  # type: ignore[attr-defined]  # it is a LyingGateway
        for site in made.sites:
            with site.home() as home:
                home.allow(replace(home.rules, requests=Requests.ALLOWED))
                for job in jobs:
                    home.allow_request(Digest(job.request_digest))
        made.start()
        waited = [job.job for one, job in zip(CASES, jobs, strict=True) if one.lie != "request-that-nobody-approved"]
        made.ended(*waited, seconds=300)
        made.settled()
        judged = {member.owner: member.agent.log() for member in made.everybody}
        yield Story(
            made,
            {member.owner: list(member.log()) for member in made.everybody},
            judged,
            {place: made.job(job.job) for place, job in enumerate(jobs)},
            {member.owner: member.agent.told() for member in made.everybody},
        )


def test_every_lie_is_told() -> None:
    """None is forgotten."""
    assert {one.lie for one in CASES} - {""} == set(LYING)


@pytest.mark.parametrize("place", range(len(CASES)), ids=[one.lie or "honest" for one in CASES])
def test_a_lie_is_found_and_nothing_leaves_because_of_it(story: Story, place: int) -> None:
    """Who finds it says why to its own people; no site answers more, and nothing more is decrypted, than may be."""
    one = CASES[place]
    refusals = {who: entry["why"] for who in BY["anybody"] for entry in story.deeds(place, who, "refused")}
    assert story.jobs[place].state == one.state
    # Who comes late to a job that has ended finds it so.
    assert set(refusals.values()) <= one.whys | {"gateway"}, story.told
    assert bool(one.whys & set(refusals.values())) == bool(one.whys)
    assert {who for who, why in refusals.items() if why in one.whys} <= set(one.by)
    decrypted = len(story.deeds(place, "laboratory", "decrypting"))
    answered = [len(story.deeds(place, site, "answered")) for site in SITES]
    assert decrypted <= one.decrypted
    assert max(answered) <= one.answered
    if one.state == "finished":
        assert (decrypted, min(answered)) == (one.decrypted, one.answered)


def test_an_order_for_what_nobody_allowed_here_is_not_even_accepted(story: Story) -> None:
    """A gateway says that it was approved; the site's own people allowed another request."""
    place = [one.lie for one in CASES].index("request-that-nobody-approved")
    for site in SITES:
        assert story.deeds(place, site, "order-accepted") == []
        assert (
            f"{story.jobs[place].job}: this he.statistics waits until its request is allowed here" in story.told[site]
        )


def test_every_agent_lives_and_its_log_verifies(story: Story) -> None:
    """By its own command, results included, after all of that."""
    for who, judged in story.judged.items():
        assert judged["verified"] is True, who
        assert judged["jobs"] >= 15
        assert "Traceback" not in story.told[who]
    over = {entry["job"] for entry in story.logs["laboratory"] if entry["deed"] in ("finished", "refused")}
    kept = {key.parent.name for key in story.made.holder.agent.home.glob("jobs/*/secret")}
    assert not over & kept
