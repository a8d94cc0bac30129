"""Blind training as a job: an owner asks, a site outsources, a worker computes on ciphertexts, a verifier looks."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audit.archive import Archive
from compliance.checks.catalogue import CATALOGUE
from compliance.controls import Evidence, Verdict
from compliance.history import History, read_history
from kernel import canonical
from kernel.canonical import Digest
from kernel.clock import SystemClock
from kernel.ids import JobId, Slug
from privacy.homomorphic.blind.documents import BlindData, BlindFinal, BlindOrder, BlindWeights
from privacy.homomorphic.blind.model import commitment
from privacy.homomorphic.blind.shape import PROFILE
from privacy.homomorphic.blind.spec import ARTIFACT, BlindPlan
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.wire import secret_key_form
from privgate.agents.rules import Rules
from privgate.agents.site.agent import Site
from privgate.agents.site.blind import model_of
from privgate.agents.site.datasets import SiteDatasets
from privgate.verify import verify_bundle
from privgate.verify.verdict import Outcome
from tests.support.api import House, done, grant_body, house, refused, worker_of
from tests.support.blind import InlineSteps, columns_of, plain_weights
from tests.support.exports import Exported, exported
from tests.support.hospitals import PURPOSE, Hospitals, Wire, events

REQUEST: dict[str, Any] = {
    "kind": "he.blind-logistic",
    "purpose": PURPOSE,
    "rows": 100,
    "outcome": "ill",
    "predictors": ["age", "dose"],
    "epochs": 2,
    "rate": "4",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("blind") / "home") as running:
        yield running


class Outsourcer(Hospitals):
    """One hospital whose owner may ask for work of his own."""

    def __init__(self, made: House, folder: Path) -> None:
        super().__init__(made, folder, (60,))
        self.site, self.owner = self.sites[0], made[self.sites[0].owner]
        done(made["admin"].post(f"/v1/principals/{self.owner.principal}/roles", {"role": "trainer"}))
        done(self.owner.post("/v1/grants", self.own_grant()), 201)
        with self.site.home() as home:
            home.allow(Rules(kinds=(Slug("he.blind-logistic"),)))

    def own_grant(self, *kinds: str) -> dict[str, Any]:
        """A grant to the owner himself."""
        dataset = self.site.dataset["dataset"]
        return grant_body(self.owner.principal, dataset, job_kinds=list(kinds or ("he.blind-logistic",)))

    def blind(self, **changes: Any) -> dict[str, Any]:
        """A request."""
        return {"spec": {**REQUEST, "dataset": self.site.dataset["dataset"], **changes}}

    def ask(self, **changes: Any) -> str:
        """Ask for a training, and allow it at the site; the job."""
        job = done(self.owner.post("/v1/jobs", self.blind(**changes)), 202)
        with self.site.home() as home:
            home.allow_request(Digest(job["request_digest"]))
        return str(job["job"])

    def site_turn(self, channel: Any = None) -> None:
        """One life of the site's agent."""
        site = self.site
        with site.home() as home:
            known = SiteDatasets(site.path)
            Site(home, channel or site.wire, SystemClock(), site.told.append, known, steps=InlineSteps()).poll()

    def trained(self, job: str, turns: int = 12) -> dict[str, Any]:
        """Site and worker in turn until the job has ended."""
        worker = worker_of(self.made)
        for _ in range(turns):
            self.site_turn()
            worker.step()
            found: dict[str, Any] = done(self.owner.get(f"/v1/jobs/{job}"))
            if found["state"] != "collecting":
                return found
        raise AssertionError(self.site.told)


@pytest.fixture(scope="module")
def outsourcer(made: House, tmp_path_factory: pytest.TempPathFactory) -> Outsourcer:
    """A hospital that may outsource."""
    return Outsourcer(made, tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def ended(outsourcer: Outsourcer) -> dict[str, Any]:
    """A training from the request to its end."""
    asked = outsourcer.ask()
    job = done(outsourcer.owner.get(f"/v1/jobs/{asked}"))
    assert (job["state"], job["epsilon"]) == ("collecting", "kept")
    return outsourcer.trained(asked)


def test_a_quote_says_who_would_learn_what_and_that_it_is_experimental(outsourcer: Outsourcer) -> None:
    """Bytes, seconds, rounds; the gateway has no key."""
    quote = done(outsourcer.owner.post("/v1/quotes", outsourcer.blind()))["quote"]
    assert quote["says"].startswith("Experimental.")
    assert (quote["result"], quote["rounds_at_most"]) == ("kept", 2)
    assert quote["bytes_per_site_at_most"] > quote["bytes_of_the_key"] > 10**6
    assert {one["observer"]: one["secret_key"] for one in quote["observers"]} == {"gateway": False, "site": True}


@pytest.fixture(scope="module")
def story(
    made: House, outsourcer: Outsourcer, ended: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """Checked, released, exported."""
    assert ended["state"] == "finished", outsourcer.site.told
    refused(outsourcer.owner.post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}), 403)
    target = tmp_path_factory.mktemp("evidence") / "bundle"
    return exported(made, ended, target, checker="checker", reader=outsourcer.owner)


def test_an_owner_has_a_model_trained_that_stays_with_him(made: House, outsourcer: Outsourcer, story: Exported) -> None:
    """The model is that of training in the clear; no ledger was touched; what is released is the site's word."""
    with outsourcer.site.home() as home:
        model = model_of(home, JobId(story.job))
    weights = np.array([float.fromhex(one) for one in json.loads(model)["weights"]])
    plain = plain_weights(BlindPlan.from_json(json.loads(model)["plan"]), columns_of(outsourcer.rows[0]))
    assert np.abs(weights - plain).max() < 1e-3
    told = [entry["type"] for entry in made.log() if entry.get("correlation") == story.job]
    first = ["blind:requested", "blind:ordered", "blind:begun", *["weights:received", "gradient:made"] * 2]
    assert told == [*first, "blind:concluded", "dek:created", "release:held", "job:ended", *told[len(first) + 4 :]]
    assert not [one for one in told if one.startswith(("budget:", "population:"))]
    final = BlindFinal.read(story.released(ARTIFACT))
    assert final.model == commitment(model)
    card = story.released("MODEL_CARD.md").decode()
    assert "The model is with its owner" in card
    assert "(experimental)" in card


def test_the_verifier_finds_nothing_wrong(story: Exported) -> None:
    """Log, decision, certificate, the site's word, card and receipt hold together, from the pinned keys alone."""
    verdict = story.judged()
    wrong = [(step.title, step.locations) for step in verdict.steps if step.locations and step.title != "Report"]
    assert (wrong, verdict.outcome) == ([], Outcome.VERIFIED)
    assert verdict.step("Blind trainings").sentence.startswith("7 documents of 1 trainings")


def test_every_document_is_judged(story: Exported, tmp_path: Path) -> None:
    """One that is missing, or signed by somebody else, or another's in its place, is found."""
    copy = tmp_path / "bundle"
    shutil.copytree(story.bundle, copy)
    folder = copy / "parties" / story.job
    names = sorted(file.name for file in folder.iterdir())
    epochs = [f"{kind}-{number}.json" for kind in ("gradient", "weights") for number in (1, 2)]
    assert names == sorted(["data.json", "final.json", "order.json", *epochs])
    for name in names:
        whole = (folder / name).read_bytes()
        other = (folder / ("weights-1.json" if name != "weights-1.json" else "weights-2.json")).read_bytes()
        envelope = json.loads(whole)
        envelope["signatures"][0]["sig"] = json.loads(other)["signatures"][0]["sig"]
        for wrong in (other, canonical.encode(envelope)):
            (folder / name).write_bytes(wrong)
            assert verify_bundle(copy, story.trust).step("Blind trainings").locations, name
        (folder / name).unlink()
        assert verify_bundle(copy, story.trust).step("Blind trainings").locations, name
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("member", "change", "step"),
    [
        ("course", lambda stated: stated | {"epochs": 3}, "Certificates and log"),
        ("course", lambda stated: stated | {"rows": 1}, "Blind trainings"),
        ("course", lambda stated: stated | {"terms": 2}, "Blind trainings"),
        ("course", lambda stated: stated | {"order": stated["data"]}, "Certificates and log"),
        ("course", lambda stated: stated | {"data": stated["order"]}, "Certificates and log"),
        ("course", lambda stated: stated | {"model": stated["final"]}, "Certificates and log"),
        ("course", lambda stated: stated | {"agrees_within": "1"}, "Certified figures"),
        ("observers", lambda stated: [stated[0] | {"secret_key": True}, *stated[1:]], "Certified figures"),
        ("encryption", lambda stated: stated | {"profile": "bfv-4096-public"}, "Certified figures"),
        ("manifest", lambda stated: "sha256:" + "0" * 64, "Certificates and log"),
        ("decision_leaf", lambda stated: "sha256:" + "0" * 64, "Certificates and log"),
        ("site", lambda stated: stated | {"name": "somebody-else"}, "Certificates and log"),
        ("unit", lambda stated: "visit", "Certificates and log"),
    ],
)
def test_a_certificate_that_tells_another_story_is_found_out(
    made: House, story: Exported, tmp_path: Path, member: str, change: Any, step: str
) -> None:
    """Even signed by the gateway's own key: each fact that the log also tells must be told alike."""

    def telling(stated: dict[str, Any]) -> None:
        stated[member] = change(stated[member])

    assert story.judged_after(made, telling, tmp_path / "bundle").step(step).locations


def test_a_report_knows_such_jobs(made: House, story: Exported) -> None:
    """Its checks pass over them: nobody trains on own rows but where nothing leaves him, and nothing is unpaid."""
    report = build_report(read_history(Archive.open(story.bundle)))
    found = {evidence.check: evidence for evidence in report}
    assert found.pop(Slug("keys.table")).verdict is Verdict.CANNOT_TELL  # a table of live keys lies in reports alone
    assert {check: (one.verdict, one.findings) for check, one in found.items() if one.findings} == {}
    assert made.tenant


def build_report(history: History) -> list[Evidence]:
    """Every check, asked."""
    return [check.run(history) for check in CATALOGUE.values()]


def test_nobody_but_the_owner_asks_and_only_for_this(made: House, outsourcer: Outsourcer) -> None:
    """A trainer with a grant may not, nor may the owner ask for what leaves him."""
    refused(made["trainer"].post("/v1/jobs", outsourcer.blind()), 403)
    dataset = outsourcer.site.dataset["dataset"]
    to_trainer = grant_body(made["trainer"].principal, dataset, job_kinds=["he.blind-logistic"])
    refused(outsourcer.owner.post("/v1/grants", to_trainer), 403)
    refused(outsourcer.owner.post("/v1/grants", outsourcer.own_grant("he.glm")), 403)
    refused(outsourcer.owner.post("/v1/grants", outsourcer.own_grant("he.blind-logistic", "he.glm")), 403)
    refused(made["peer"].post("/v1/quotes", outsourcer.blind()), 403)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": 60_000, "predictors": ["age", "dose"]}, None),
        ({"epochs": 201}, "epochs"),
        ({"rate": "0"}, "rate"),
        ({"decay": "2"}, "decay"),
        ({"outcome": "dose", "predictors": ["age"]}, "outcome"),
        ({"epsilon": "1"}, "request"),
        ({"round_seconds": 0}, "round_seconds"),
    ],
)
def test_a_request_is_read_strictly(outsourcer: Outsourcer, changes: dict[str, Any], field: str | None) -> None:
    """Each member has its range, and the answer names it."""
    answer = outsourcer.owner.post("/v1/quotes", outsourcer.blind(**changes))
    assert (answer.status_code == 200) == (field is None), answer.text
    assert field is None or answer.json()["field"] == field


def test_what_a_site_sends_is_judged_before_it_is_kept(made: House, outsourcer: Outsourcer) -> None:
    """Another's place, another epoch, mutants, a secret key, what comes too early: refused; the gateway is alive."""
    job = JobId(outsourcer.ask())
    held = Holding(outsourcer.site.wire)
    outsourcer.site_turn(held)
    data, weights = held.kept[Place(job, DocumentKind.DATA)], held.kept[Place(job, DocumentKind.WEIGHTS, 1)]
    wire, fresh = outsourcer.site.wire.client, Place(job, DocumentKind.DATA)
    assert wire.put(Place(job, DocumentKind.WEIGHTS, 1).path, content=weights).status_code == 409, "too early"
    source = np.random.default_rng(7)
    places = [*range(0, 64, 9), *source.integers(0, len(data), 5).tolist()]
    for place in places:
        mutant = bytearray(data)
        mutant[place] ^= 1 << int(source.integers(8))
        assert wire.put(fresh.path, content=bytes(mutant)).status_code == 422, place
    for cut in (data[:-1], data + b"\0", data[:100], weights):
        assert wire.put(fresh.path, content=cut).status_code == 422
    secret = secret_key_form(PROFILE, 0)
    assert (
        wire.put(fresh.path, content=data[:-600] + secret.prefix + data[-600 + len(secret.prefix) :]).status_code == 422
    )
    gradient = Place(job, DocumentKind.GRADIENT, 1)
    assert wire.put(gradient.path, content=weights).status_code == 404, "a gradient is nobody's to write"
    assert wire.put(fresh.path, content=data).status_code == 201
    assert wire.put(fresh.path, content=data).status_code == 201, "the same again"
    assert wire.put(Place(job, DocumentKind.WEIGHTS, 2).path, content=weights).status_code == 409
    assert wire.put(Place(job, DocumentKind.FINAL).path, content=weights).status_code == 409
    assert done(outsourcer.owner.get(f"/v1/jobs/{job}"))["state"] == "collecting"
    assert outsourcer.trained(job)["state"] == "finished"


def test_rows_that_are_none_end_the_job_and_nothing_else(outsourcer: Outsourcer) -> None:
    """A site that signs ciphertexts which SEAL does not take: its worker's child ends, its job fails."""
    job = JobId(outsourcer.ask())
    held, site = Holding(outsourcer.site.wire), outsourcer.site
    outsourcer.site_turn(held)
    cut = Parcel.from_bytes(held.kept[Place(job, DocumentKind.DATA)])
    said = BlindData.read(cut.document)
    order = BlindOrder.read(site.wire.fetch(Place(job, DocumentKind.ORDER)) or b"")
    keys = BlindPlan.from_json(order.plan).shape.key_bytes
    rows = bytearray(cut.attachment[keys:])
    rows[4096:8192] = b"\xff" * 4096
    with site.home() as home:
        forged = replace(said, data=Digest.of(bytes(rows)))
        data = Parcel(forged.signed(home.signer), cut.attachment[:keys] + bytes(rows)).to_bytes()
        beside = Parcel.from_bytes(held.kept[Place(job, DocumentKind.WEIGHTS, 1)])
        follows = replace(BlindWeights.read(beside.document), previous=forged.digest)
        weights = Parcel(follows.signed(home.signer), beside.attachment).to_bytes()
    site.wire.post(Place(job, DocumentKind.DATA), data)
    site.wire.post(Place(job, DocumentKind.WEIGHTS, 1), weights)
    worker_of(outsourcer.made).step()
    assert done(outsourcer.owner.get(f"/v1/jobs/{job}"))["state"] == "failed"


def test_a_grant_that_is_taken_back_ends_it_without_a_certificate(made: House, outsourcer: Outsourcer) -> None:
    """The job is decided once more when the last word comes."""
    job = outsourcer.ask()
    for grant in outsourcer.grants(outsourcer.site):
        done(outsourcer.owner.delete(f"/v1/grants/{grant}"))
    try:
        assert outsourcer.trained(job)["state"] == "failed"
    finally:
        done(outsourcer.owner.post("/v1/grants", outsourcer.own_grant()), 201)
    assert not [one for one in events(made, "blind:concluded") if one["job"] == job]


def test_a_cancelled_training_ends_at_both_sides(outsourcer: Outsourcer) -> None:
    """The site lets go of it, and its key is destroyed."""
    job = outsourcer.ask(round_seconds=1)
    outsourcer.site_turn()
    assert done(outsourcer.owner.post(f"/v1/jobs/{job}/cancel"))["state"] == "cancelled"
    time.sleep(1.1)
    outsourcer.site_turn()
    kept = {file.name for file in (outsourcer.site.path / "jobs" / job).iterdir()}
    assert not kept & {"secret", "memory", "model", "data"}


@dataclass
class Holding:
    """A wire that sends nothing: what the site would have sent is kept."""

    wire: Wire
    kept: dict[Place, bytes] = field(default_factory=dict)

    def work(self) -> Sequence[JobId]:
        """As it is."""
        return self.wire.work()

    def fetch(self, place: Place) -> bytes | None:
        """As it is."""
        return self.wire.fetch(place)

    def post(self, place: Place, data: bytes) -> None:
        """Kept."""
        self.kept[place] = data
