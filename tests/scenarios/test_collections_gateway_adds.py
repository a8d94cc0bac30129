"""Jobs whose uploads the gateway adds: a worker's turn, in a confined child, and a key holder that reads sums alone."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.trust import TrustFile
from gateway.launchers import turns
from gateway.records import TaskState
from gateway.services.collections.ending import fail_overdue
from kernel import canonical
from kernel.errors import UnavailableError
from kernel.ids import JobId
from kernel.signing import Envelope
from privacy.homomorphic.confined import FailedTaskError
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.documents.sums import GatewaySum
from privgate.agents.rules import Rules
from privgate.verify import verify_bundle
from privgate.verify.verdict import Outcome
from tests.scenarios.test_collections_noised import ASKED, admitted
from tests.scenarios.test_collections_struck import struck_at, survived
from tests.support.api import House, done, house, refused, worker_of
from tests.support.hospitals import RULES, Hospitals, events, fetched, table_of
from tests.unit.gateway.test_lock_order import LOCKS, Taken, noting, out_of_order

ADDS = {"aggregation": "semi-honest-gateway"}
BY_TWO = ADDS | {"noise_by": "gateway-and-key-holder"}
SHORT = {"family": "linear", "outcome": "dose", "most_rounds": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("adds") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder, who trust the gateway to add, and two to add noise."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"), (12, 11, 14))


def uploaded(hospitals: Hospitals, job: str) -> None:
    """Key, round and uploads are there, and it is the gateway's turn."""
    for party in hospitals.everybody:
        hospitals.turn(party)
    assert place_of(hospitals, job) is None


def place_of(hospitals: Hospitals, job: str) -> bytes | None:
    """The sum of the first round, as the key holder sees it."""
    return hospitals.holder.wire.fetch(Place(JobId(job), DocumentKind.SUM, 1))


def released(made: House, ended: dict[str, Any], name: str = "artifact") -> bytes:
    """Let a result go and fetch a file of it."""
    if done(made["trainer"].get(f"/v1/releases/{ended['release']}"))["state"] == "held":
        done(made["owner-2"].post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
        made.settle()
    return fetched(made, ended["release"], name)


def test_a_job_runs_through_with_sums_of_the_gateway(made: House, hospitals: Hospitals) -> None:
    """Each round has a sum, logged with its digest before the decryption; the result is the pooled fit."""
    job = hospitals.admitted(**SHORT, **ADDS)["job"]
    ended = hospitals.play(job)
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    rows = [row for site in hospitals.rows for row in site]
    slope, intercept = np.polyfit(*(np.array([row[place] for row in rows], dtype=float) for place in (0, 1)), 1)
    assert table_of(released(made, ended)) == pytest.approx({"(intercept)": intercept, "age": slope}, abs=1e-6)
    told = [entry["type"] for entry in made.log() if entry.get("correlation") == job]
    assert told.index("upload:received") < told.index("sum:made") < told.index("round:decrypted")
    assert [one["sites"] for one in events(made, "sum:made")] == [3]
    stated = json.loads(Envelope.from_bytes(released(made, ended, "certificate.json")).payload)["predicate"]
    assert (stated["encryption"]["aggregation"], stated["encryption"]["profile"]) == (
        "semi-honest-gateway",
        "bfv-8192-wide-public",
    )
    assert any("a gateway that lies can have one site's numbers decrypted" in one for one in stated["not_covered"])
    assert "added by the gateway (semi-honest)" in released(made, ended, "MODEL_CARD.md").decode()


@pytest.mark.slow
def test_the_key_holder_is_given_headers_and_the_sum_and_no_upload(hospitals: Hospitals) -> None:
    """Sites read neither; a sum is nobody's to write. Where the key holder adds there are no such places."""
    for adds in (ADDS, {}):
        job = JobId(hospitals.admitted(**SHORT, **adds)["job"])
        for party in hospitals.everybody:
            hospitals.turn(party)
        while worker_of(hospitals.made).step():
            pass
        site, other = hospitals.sites[:2]
        header = Place(job, DocumentKind.HEADER, 1, site.party)
        upload = Place(job, DocumentKind.UPLOAD, 1, site.party)
        total = Place(job, DocumentKind.SUM, 1)
        seen = [hospitals.holder.wire.fetch(place) is not None for place in (header, total, upload)]
        assert seen == ([True, True, False] if adds else [False, False, True])
        for reader in (site, other):
            assert [reader.wire.fetch(place) for place in (header, total)] == [None, None]
        refused(hospitals.holder.wire.client.put(total.path, content=b"x"), 404)
        if adds:
            own = Parcel.from_bytes(site.wire.fetch(upload) or b"")
            assert hospitals.holder.wire.fetch(header) == own.document
            named = GatewaySum.read(Parcel.from_bytes(hospitals.holder.wire.fetch(total) or b"").document)
            assert [one.site for one in named.added] == [site.party for site in hospitals.sites]
        done(hospitals.made["trainer"].post(f"/v1/jobs/{job}/cancel"))


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before-commit", "committed"])
def test_a_worker_that_is_struck_makes_the_sum_again_or_not(made: House, hospitals: Hospitals, side: str) -> None:
    """Sum, entry and the end of the task are one commit: there is one of each, whoever makes it."""
    before = len(events(made, "sum:made"))
    job = hospitals.admitted(**SHORT, **ADDS)["job"]
    uploaded(hospitals, job)
    with struck_at(made, f"collection-sum:{side}") as seen:
        survived(worker_of(made).step)
    assert f"collection-sum:{side}" in seen
    assert (place_of(hospitals, job) is not None) is (side == "committed")
    with made.gateway.on.database.work(made.tenant) as work:
        task = work.tasks.hold(job)
        assert task is not None
        if side == "before-commit":  # its lease runs out
            work.tasks.give_back(task)
            work.commit_upkeep("lease")
        else:
            assert task.state is TaskState.DONE
    assert hospitals.play(job)["state"] == "finished"
    assert len(events(made, "sum:made")) == before + 1


@pytest.mark.slow
def test_a_child_that_fails_fails_the_job_and_is_charged(
    made: House, hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the ordinary ending: every population pays the whole job, once; no worker comes back to it."""

    def broken(*_: object) -> bytes:
        raise FailedTaskError("failed")

    monkeypatch.setattr(turns.Confined, "add", broken)
    job = admitted(hospitals, **ADDS)["job"]
    uploaded(hospitals, job)
    assert worker_of(made).step()
    assert done(made["trainer"].get(f"/v1/jobs/{job}"))["state"] == "failed"
    charged = [one for one in events(made, "budget:charged") if one["job"] == job]
    assert [one["in_full"] for one in charged] == [True] * 3
    assert not worker_of(made).step()


def test_a_child_that_does_not_come_up_is_tried_again_and_not_for_ever(
    made: House, hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host is at fault, not the job: the task keeps its lease; after some in vain the job fails."""

    def absent(*_: object) -> bytes:
        raise UnavailableError("no child")

    job = hospitals.admitted(**SHORT, **ADDS)["job"]
    uploaded(hospitals, job)
    with monkeypatch.context() as patched:
        patched.setattr(turns.Confined, "add", absent)
        for attempt in range(1, 8):
            assert worker_of(made).step()
            with made.gateway.on.database.work(made.tenant) as work:
                task = work.tasks.hold(job)
                if task is None or task.state is TaskState.DONE:
                    break
                assert task.attempt == attempt
                work.tasks.give_back(task)
                work.commit_upkeep("lease")
    assert (attempt, done(made["trainer"].get(f"/v1/jobs/{job}"))["state"]) == (6, "failed")


def test_a_job_that_is_cancelled_gets_no_sum(made: House, hospitals: Hospitals) -> None:
    """The bell was rung; whoever hears it finds that nothing is due. So does a worker whose job ends as it works."""
    job = hospitals.admitted(**SHORT, **ADDS)["job"]
    uploaded(hospitals, job)
    done(made["trainer"].post(f"/v1/jobs/{job}/cancel"))
    before = len(events(made, "sum:made"))
    assert worker_of(made).step()
    assert not worker_of(made).step()
    assert (len(events(made, "sum:made")), fail_overdue(made.gateway.on)) == (before, 0)


@pytest.mark.slow
def test_noise_by_gateway_and_key_holder_runs_through_and_verifies(
    made: House, hospitals: Hospitals, tmp_path: Path
) -> None:
    """Charged once for the priced noise; readers see both; the two together are bound by nothing; all of it is said."""
    job = admitted(hospitals, **BY_TWO)
    ended = hospitals.play(job["job"])
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    (tmp_path / "release").mkdir()
    for name in ("certificate.json", "receipt.tlog-proof", "MODEL_CARD.md"):
        (tmp_path / "release" / name).write_bytes(released(made, ended, name))
    (tmp_path / "release" / "he-statistics.json").write_bytes(released(made, ended))
    stated = json.loads(Envelope.from_bytes(released(made, ended, "certificate.json")).payload)["predicate"]
    assert stated["noise"]["by"] == "gateway-and-key-holder"
    against = {one["observer"]: float(one["epsilon"]) if "epsilon" in one else None for one in stated["epsilons"]}
    assert against["whoever-reads-the-result"] < against["all-other-sites-together"] == against["gateway"] <= 1
    assert against["gateway"] == against["key-holder"] == against["key-holder-and-all-other-sites-together"]
    assert against["gateway-that-lies-about-the-sum"] is against["gateway-and-key-holder-together"] is None
    assert any("gateway and key holder each added all of the noise" in one for one in stated["not_covered"])
    trust = TrustFile.from_bytes(canonical.encode(done(made["auditor"].get("/v1/trust"))["trust"]))
    made.settle()
    with tarfile.open(fileobj=io.BytesIO(made["auditor"].get("/v1/archive").content)) as archive:
        archive.extractall(tmp_path, filter="data")
    verdict = verify_bundle(tmp_path, trust)
    wrong = [(step.title, step.locations) for step in verdict.steps if step.locations and step.title != "Report"]
    assert (wrong, verdict.outcome) == ([], Outcome.VERIFIED)


def test_what_cannot_be_added_by_the_gateway_is_refused_in_words(made: House, hospitals: Hospitals) -> None:
    """Seeded uploads, profiles without room, noise of a gateway that adds nothing, tolerance where sites add none."""
    cases = (
        (ADDS | {"profile": "bfv-2048-wide-seeded"}, "every site has the secret key"),
        (ADDS | {"profile": "bfv-2048-wide-public"}, "too little room to hide"),
        (ASKED | {"noise_by": "gateway-and-key-holder"}, "say `aggregation: semi-honest-gateway`"),
        (ASKED | BY_TWO | {"tolerated": 1}, "here it is 0"),
        (BY_TWO, "an exact result has no `noise_by`"),
        ({"aggregation": "whoever"}, "must be one of"),
    )
    for asked, words in cases:
        assert words in refused(made["trainer"].post("/v1/quotes", hospitals.body(**asked)), 422)["detail"], asked
    told = refused(made["trainer"].post("/v1/quotes", hospitals.body(**cases[2][0])), 422)
    assert told["field"] == "noise_by"
    says = done(made["trainer"].post("/v1/quotes", hospitals.body(**ASKED, **BY_TWO)))["quote"]["says"]
    assert "`rules --aggregation semi-honest-gateway` and `--noise-by gateway-and-key-holder`" in says


@pytest.mark.slow
def test_agents_refuse_it_unless_their_own_people_opted_in(made: House, hospitals: Hospitals) -> None:
    """Site and key holder alike, each for itself; by default nobody but the key holder adds, nobody but sites noise."""
    assert [rule.value for rule in Rules().aggregation] == ["key-holder"]
    assert [rule.value for rule in Rules().noise_by] == ["sites"]
    for party, adds in ((hospitals.sites[1], ADDS), (hospitals.holder, ADDS), (hospitals.sites[2], BY_TWO)):
        without = Rules(
            outcomes=RULES.outcomes, aggregation=RULES.aggregation if adds is BY_TWO else Rules().aggregation
        )
        with party.home() as home:
            home.allow(without)
        job = admitted(hospitals, **adds)["job"]
        assert hospitals.play(job)["state"] == "failed"
        assert any("noise_by" in told if adds is BY_TWO else "aggregation" in told for told in party.told)
        with party.home() as home:
            home.allow(RULES)


@pytest.mark.slow
def test_a_turn_takes_locks_in_the_one_order(
    made: House, hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents that ring, a worker that stores, and one that fails the job: population, task, policy, log."""
    found: Taken = {}
    for lock, places in LOCKS.items():
        for owner, name in places:
            monkeypatch.setattr(owner, name, noting(found, lock, getattr(owner, name)))
    assert hospitals.play(admitted(hospitals, **ADDS)["job"])["state"] == "finished"
    job = admitted(hospitals, **ADDS)["job"]
    uploaded(hospitals, job)

    def broken(*_: object) -> bytes:
        raise FailedTaskError("failed")

    monkeypatch.setattr(turns.Confined, "add", broken)
    assert worker_of(made).step()
    assert done(made["trainer"].get(f"/v1/jobs/{job}"))["state"] == "failed"
    assert out_of_order(found) == []
    assert any(held[:2] == ["population", "task"] for held in found.values())
