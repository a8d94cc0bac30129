"""Agents as processes that are killed at every point that they pass, at a real gateway over mutual TLS (RULES 34).

One job for each role: its agent dies at one point after the other and is started again each time, beside others that
run as ever. What comes of the job is what would have come of it anyhow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from kernel.ids import JobId
from privgate.agents.verifying import verify_home
from tests.support.agent_lives import lived
from tests.support.federation import Federation, Member, federation

pytestmark = pytest.mark.slow

MEAN: Mapping[str, Any] = {"kind": "he.statistics", "result": "exact", "queries": [{"kind": "mean", "column": "age"}]}
NOISED: Mapping[str, Any] = {**MEAN, "result": "noised", "epsilon": "0.5", "tolerated": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Three hospitals and a laboratory."""
    with federation(tmp_path_factory.mktemp("killed")) as running:
        yield running


def killed(made: Federation, spec: Mapping[str, Any], who: Member) -> tuple[str, list[str]]:
    """Play a job in which one agent dies again and again; the job, and where it died."""
    job = made.admitted(spec).job
    others = [member for member in made.everybody if member is not who]
    for member in others:
        member.agent.start()
    died = lived(who, job)
    (ended,) = made.ended(job)
    made.settled()
    assert ended.state == "finished", [member.agent.told() for member in made.everybody]
    for member in made.everybody:
        assert member.agent.log()["verified"] is True
        assert not [entry for entry in member.log() if entry["job"] == job and entry["deed"] == "refused"]
    return job, died


def points(*papers: str, deeds: Sequence[str], replaced: Sequence[str] = ()) -> set[str]:
    """Points that a life passes: of papers that are kept once, of ones that are replaced whole, of entries.

    What was written and not flushed is still there when a process is killed, so an entry is written once, and its
    agent dies at the points before its flush.
    """
    found = {f"paper-{name}:{end}" for name in papers for end in ("before-fsync", "after-fsync", "before-link")}
    found |= {f"paper-{name}:{end}" for name in replaced for end in ("before-fsync", "before-rename", "after-rename")}
    return found | {f"party-log-{deed}:{end}" for deed in deeds for end in ("before-write", "before-fsync")}


def test_a_key_holder_killed_at_every_point_decrypts_one_set_and_the_result_is_the_same(made: Federation) -> None:
    """Every decryption that was begun is over the same uploads; the mean is that of all rows, as it would have been."""
    job, died = killed(made, MEAN, made.holder)
    deeds = ("order-accepted", "key-made", "round-opened", "decrypting", "decrypted", "finished")
    kept, replaced = ("key", "round", "upload", "result"), ("order", "secret", "added", "artefact")
    again = {"party-log-decrypting:after-fsync", "papers-drop:before-fsync", "papers-drop:before-directory-fsync"}
    assert set(died) >= points(*kept, deeds=deeds, replaced=replaced) | again
    begun = [entry for entry in made.holder.log() if entry["job"] == job and entry["deed"] == "decrypting"]
    assert len({entry["what"] for entry in begun}) == 1
    assert len(begun) > 10
    assert verify_home(made.holder.agent.home).history.of(JobId(job)).done == {1}
    assert not (made.holder.agent.home / "jobs" / job / "secret").exists()
    (answer,) = released(made, job)["answers"]
    assert float(answer["values"][0]) == pytest.approx(mean_of(made), abs=1e-5)


def test_a_site_killed_at_every_point_draws_its_noise_once(made: Federation) -> None:
    """What was sent is what is kept, entered and added: no second draw of its noise ever left the site."""
    site = made.sites[0]
    job, died = killed(made, NOISED, site)
    deeds, kept = ("order-accepted", "key-accepted", "answered", "finished"), ("round", "upload", "result")
    assert set(died) >= points(*kept, deeds=deeds, replaced=("order", "key", "final"))
    (answered,) = [entry for entry in site.log() if entry["job"] == job and entry["deed"] == "answered"]
    entries = [e.payload["fields"] for e in made.people["auditor"].entries() if e.type == "upload:received"]
    sent = [fields for fields in entries if (fields["job"], fields["party"]) == (job, site.agent.party)]
    assert [fields["upload"] for fields in sent] == [answered["what"]]
    history = verify_home(site.agent.home).history
    assert len(history.spent) == 1
    assert sum(1 for entry in site.log() if "rho" in entry) == 1


def released(made: Federation, job: str) -> dict[str, Any]:
    """The result, once the door-keeper let it go."""
    from privgate.client.errors import ConflictError, UnavailableError
    from privgate.demo.waiting import until

    name = str(made.job(job).release)
    until(lambda: made.people["checker"].check_release(name, "release"), UnavailableError)
    fetched = until(lambda: made.people["trainer"].fetch_release(name), ConflictError)
    folder = made.folder / "release"
    fetched.write(folder)
    body: dict[str, Any] = json.loads((folder / "he-statistics.json").read_bytes())
    return body


def mean_of(made: Federation) -> float:
    """Of all rows together."""
    ages = [float(line.split(",")[0]) for lines in made.rows for line in lines]
    return sum(ages) / len(ages)
