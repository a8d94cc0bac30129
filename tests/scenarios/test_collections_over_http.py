"""Jobs on data that the gateway never sees, from the request to a released model: real agents, real ciphertexts."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import JobId
from kernel.signing import Envelope
from privacy.homomorphic.documents.endings import Final
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Round
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.release.disclosure import DisclosureCertificate
from privacy.release.statements import read_certificate
from privgate.sdk.believing import believe
from privgate.sdk.collections import Party, SitesQuote
from privgate.verify.verdict import Outcome
from tests.support.api import House, done, house, refused
from tests.support.exports import Exported, exported
from tests.support.hospitals import Hospitals, events, fetched, table_of

ARTIFACT = "he-glm.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("collections") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"))


@pytest.fixture(scope="module")
def story(made: House, hospitals: Hospitals, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Requested, approved by three owners and a checker, collected, released, exported."""
    ended = hospitals.play(hospitals.admitted()["job"])
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    refused(made["trainer"].get(f"/v1/releases/{ended['release']}/files/artifact"), 409)
    return exported(made, ended, tmp_path_factory.mktemp("evidence") / "bundle")


def test_three_hospitals_fit_a_model_that_none_could_make_alone(hospitals: Hospitals, story: Exported) -> None:
    """The table is that of Newton's method over all rows together, to the digits that it shows."""
    rows = np.array([(age, ill) for site in hospitals.rows for age, _, ill in site], dtype=float)
    design, outcome, fit = np.column_stack([np.ones(len(rows)), rows[:, 0]]), rows[:, 1], np.zeros(2)
    for _ in range(30):
        chance = 1 / (1 + np.exp(-design @ fit))
        fit += np.linalg.solve((design.T * (chance * (1 - chance))) @ design, design.T @ (outcome - chance))
    found = table_of(story.released(ARTIFACT))
    assert list(found.values()) == pytest.approx(fit.tolist(), abs=1e-7)


def test_the_verifier_finds_nothing_wrong_and_says_so(story: Exported) -> None:
    """Log, decisions, marks, certificate, artefact, card and receipt hold together, from the pinned keys alone."""
    verdict = story.judged()
    wrong = [(step.title, step.locations) for step in verdict.steps if step.locations and step.title != "Report"]
    assert (wrong, verdict.outcome) == ([], Outcome.VERIFIED)
    assert verdict.step("Certificates and log").sentence == "1 certificates say what the log says"


@pytest.mark.parametrize(
    ("member", "change", "step"),
    [
        ("course", lambda stated: stated | {"decryptions": stated["decryptions"] + 1}, "Certificates and log"),
        ("course", lambda stated: stated | {"learned": stated["learned"] + 1}, "Certificates and log"),
        ("course", lambda stated: stated | {"order": stated["key"]}, "Certificates and log"),
        ("sites", lambda stated: stated[:-1], "Certified figures"),
        (
            "sites",
            lambda stated: [stated[0] | {"manifest": stated[1]["manifest"]}, *stated[1:]],
            "Certificates and log",
        ),
        (
            "sites",
            lambda stated: [stated[0] | {"uncovered": stated[1]["uncovered"]}, *stated[1:]],
            "Certificates and log",
        ),
        ("approvals", lambda stated: stated[1:], "Certificates and log"),
        ("observers", lambda stated: [stated[0] | {"secret_key": True}, *stated[1:]], "Certified figures"),
        ("key_holder", lambda stated: stated | {"name": "somebody-else"}, "Certificates and log"),
    ],
)
def test_a_certificate_that_tells_another_story_is_found_out(
    made: House, story: Exported, tmp_path: Path, member: str, change: Any, step: str
) -> None:
    """Even signed by the gateway's own key: each fact that the log also tells must be told alike."""

    def telling(stated: dict[str, Any]) -> None:
        stated[member] = change(stated[member])

    assert story.judged_after(made, telling, tmp_path / "bundle").step(step).locations


def test_the_log_tells_the_whole_course_and_nothing_of_the_numbers(made: House, story: Exported) -> None:
    """Order, key, rounds with their uploads, the end, and a mark in every population's ledger, in this order."""
    of_job = [entry for entry in made.log() if entry.get("correlation") == story.job]
    told = [entry["type"] for entry in of_job]
    first = ["collection:requested"] * 3 + ["approval:given"] * 4 + ["order:issued", "key:announced", "round:opened"]
    assert told[: len(first)] == first
    rounds = told.count("round:opened")
    assert told.count("upload:received") == 3 * rounds
    assert told.count("round:decrypted") == rounds <= 10
    marked = told.index("population:uncovered")
    assert told[marked - 1 : marked + 4] == ["upload:received", *["population:uncovered"] * 3, "round:decrypted"]
    end = ["collection:concluded", "dek:created", "release:held", "job:ended"]
    assert told[told.index("collection:concluded") :][: len(end)] == end
    decrypted = [entry["fields"] for entry in of_job if entry["type"] == "round:decrypted"]
    assert [one["decryptions"] for one in decrypted] == list(range(1, rounds + 1))


def test_its_populations_are_marked_in_every_later_quote_and_card(
    made: House, hospitals: Hospitals, story: Exported
) -> None:
    """From that entry on their owners read that an exact result left; a later quote names them."""
    for site in hospitals.sites:
        shown = done(made[site.owner].get(f"/v1/populations/{site.dataset['population']}"))
        assert (shown["uncovered_since"] is not None, shown["odds"]) == (True, None)
    quote = done(made["trainer"].post("/v1/quotes", hospitals.body()))["quote"]
    assert sorted(quote["uncovered_before"]) == sorted(site.dataset["population"] for site in hospitals.sites)


def test_a_quote_says_bytes_rounds_and_who_learns_what(made: House, hospitals: Hospitals) -> None:
    """Before anything starts, from declarations alone: the same whatever rows there are; nothing is stored."""
    before = len(done(made["trainer"].get("/v1/jobs")))
    quote = done(made["trainer"].post("/v1/quotes", hospitals.body()))["quote"]
    assert (quote["sites"], quote["rounds_at_most"], quote["result"]) == (3, 10, "exact")
    assert 0 < quote["bytes_per_site_and_round"] < 100_000
    holds = {one["observer"]: one["secret_key"] for one in quote["observers"]}
    assert holds == {"trainer": False, "gateway": False, "key-holder": True, "site": False}
    assert "exact" in quote["says"]
    assert len(done(made["trainer"].get("/v1/jobs"))) == before


def test_the_sdk_reads_quote_parties_and_certificate(made: House, hospitals: Hospitals, story: Exported) -> None:
    """In words who holds the key; fingerprints to compare; a verified release that has no price to ask for."""
    quote = SitesQuote.read(done(made["trainer"].post("/v1/quotes", hospitals.body())))
    said = {name: str(value) for name, value in quote.lines()}
    machines = quote.to_json()
    assert machines["aggregation"] == "key-holder"
    rounds = quote.rounds_at_most * quote.bytes_per_site_and_round
    assert machines["bytes_of_the_key"] + rounds == quote.bytes_per_site_at_most
    assert f"key passes once, {quote.bytes_of_the_key:,};" in said["a site sends"]
    assert [name for name, value in said.items() if "holds the secret key" in value] == ["key-holder sees"]
    parties = [Party.read(one) for one in done(made["trainer"].get("/v1/parties"))]
    assert {one.fingerprint for one in parties} == {one.who.fingerprint for one in hospitals.everybody}
    files = {name: story.released(name) for name in ("certificate.json", "receipt.tlog-proof")}
    papers = {"certificate": files["certificate.json"], "receipt": files["receipt.tlog-proof"]}
    believed = believe(story.stated["release"], artifact=story.released(ARTIFACT), trust=story.trust, **papers)
    assert isinstance(believed.certificate, DisclosureCertificate)
    with pytest.raises(CorruptError, match="exact result"):
        _ = believed.priced
    with pytest.raises(CorruptError):
        believe(story.stated["release"], artifact=story.released(ARTIFACT) + b" ", trust=story.trust, **papers)


def test_a_compliance_report_finds_no_fault_in_it(made: House, story: Exported) -> None:
    """Every check looks at a period with a disclosure, and each still holds."""
    made.settle()
    report = done(made["auditor"].post("/v1/reports", {}), 201)["report"]
    body = made["auditor"].get(f"/v1/reports/{report}/files/report.json").json()
    statement = json.loads(base64.b64decode(body["payload"]))
    failed = {one["check"]: one["findings"] for one in statement["checks"] if one["verdict"] == "fail"}
    looked = {one["check"]: one["looked_at"] for one in statement["checks"]}
    assert failed == {}
    assert min(looked["certificates.complete"], looked["releases.charged"], looked["duties.approver"]) > 0


def test_an_exact_result_needs_two_people_for_each_site(made: House, hospitals: Hospitals) -> None:
    """Nobody answers twice, the requester never, another owner not for this site; one refusal ends it."""
    job = hospitals.requested()
    assert job["state"] == "awaiting-approval"
    assert (job["epsilon"], job["datasets"]) == ("exact", hospitals.datasets)
    refused(hospitals.answer("trainer", job), 403)
    refused(hospitals.answer("other-owner", job), 403)
    done(hospitals.answer("owner-1", job))
    refused(hospitals.answer("owner-1", job), 409)
    refused(hospitals.answer("owner-2", job | {"request_digest": "sha256:" + "0" * 64}), 422)
    assert done(hospitals.answer("checker", job))["state"] == "awaiting-approval"
    assert done(hospitals.answer("owner-3", job))["state"] == "awaiting-approval"
    assert done(hospitals.answer("owner-2", job, "refused"))["state"] == "refused"
    refused(hospitals.answer("owner-2", job), 409)


def test_whoever_has_part_in_a_job_sees_it_and_nobody_else(made: House, hospitals: Hospitals, story: Exported) -> None:
    """Its owners, a checker and the auditor read it and list it; other owners and trainers do not."""
    path, release = f"/v1/jobs/{story.job}", f"/v1/releases/{story.stated['release']}"
    for who in ("owner-1", "owner-3", "checker", "auditor", "trainer"):
        assert done(made[who].get(path))["datasets"] == hospitals.datasets
        assert story.job in {one["job"] for one in done(made[who].get("/v1/jobs"))}
        assert done(made[who].get(release))["epsilon"] == "exact"
        assert story.stated["release"] in {one["release"] for one in done(made[who].get("/v1/releases"))}
    for who in ("other-owner", "peer"):
        refused(made[who].get(path), 403)
        assert story.job not in {one["job"] for one in done(made[who].get("/v1/jobs"))}
        refused(made[who].get(release), 403)


def test_no_site_has_the_result_because_it_took_part(made: House, hospitals: Hospitals, story: Exported) -> None:
    """The last document names the result by its digest; the result itself is sealed, and leaves by release alone."""
    place = Place(JobId(story.job), DocumentKind.FINAL)
    for party in hospitals.everybody:
        parcel = Parcel.from_bytes(party.wire.fetch(place) or b"")
        assert parcel.attachment == b""
        assert Final.read(parcel.document).artefact == Digest.of(story.released(ARTIFACT))
    with made.gateway.on.database.read() as reading:
        documents = reading.documents.all(job=story.job)
    assert documents
    assert not [one for one in documents if story.released(ARTIFACT)[:100] in (one.content or b"")]


def test_a_request_is_refused_for_what_is_wrong_with_it(made: House, hospitals: Hospitals) -> None:
    """Two sites, one twice, no result named, an unknown profile or key holder, rows that are sealed here."""
    trainer, datasets = made["trainer"], hospitals.datasets
    refused(trainer.post("/v1/jobs", hospitals.body(datasets=datasets[:2])), 422)
    refused(trainer.post("/v1/jobs", hospitals.body(datasets=[*datasets, datasets[0]])), 422)
    refused(trainer.post("/v1/jobs", hospitals.body(result=None)), 422)
    refused(trainer.post("/v1/jobs", hospitals.body(result="noised")), 422)
    refused(trainer.post("/v1/jobs", hospitals.body(profile="home-made")), 404)
    refused(trainer.post("/v1/jobs", hospitals.body(profile="bfv-4096-public")), 422)
    refused(trainer.post("/v1/jobs", hospitals.body(key_holder="pty_" + "a" * 26)), 404)
    refused(trainer.post("/v1/jobs", hospitals.body(key_holder=str(hospitals.sites[0].party))), 404)
    refused(trainer.post("/v1/jobs", hospitals.body(predictors=["weight"])), 422)
    refused(trainer.post("/v1/jobs", hospitals.body(seed=1)), 422)
    refused(made["peer"].post("/v1/jobs", hospitals.body()), 403)


def test_a_place_is_written_once_by_whose_it_is_and_in_its_turn(made: House, hospitals: Hospitals) -> None:
    """A stranger has no place at all; a site writes no round; other bytes, another round and a replay are refused."""
    job = hospitals.admitted()["job"]
    holder, first, second = hospitals.holder, hospitals.sites[0], hospitals.sites[1]
    hospitals.turn(holder)
    for site in hospitals.sites[:2]:
        hospitals.turn(site)
    upload = Place(job, DocumentKind.UPLOAD, 1, first.party)
    data = first.wire.fetch(upload)
    assert data is not None
    assert first.wire.client.put(upload.path, content=data).status_code == 201
    refused(first.wire.client.put(upload.path, content=data[:-1]), 409)
    assert second.wire.fetch(upload) is None
    assert holder.wire.fetch(upload) is None  # until the round is complete, and its populations marked
    elsewhere = Place(job, DocumentKind.UPLOAD, 1, hospitals.sites[2].party)
    refused(first.wire.client.put(elsewhere.path, content=data), 404)
    refused(hospitals.sites[2].wire.client.put(elsewhere.path, content=data), 422)
    refused(hospitals.sites[2].wire.client.put(elsewhere.path, content=b"privgate/parcel/v1\n"), 422)
    later = Place(job, DocumentKind.UPLOAD, 2, hospitals.sites[2].party)
    refused(hospitals.sites[2].wire.client.put(later.path, content=data), 409)
    refused(first.wire.client.put(Place(job, DocumentKind.ROUND, 2).path, content=b"x"), 404)
    asked = holder.wire.fetch(Place(job, DocumentKind.ROUND, 1))
    assert asked is not None
    refused(holder.wire.client.put(Place(job, DocumentKind.ROUND, 1).path, content=asked + b" "), 409)
    refused(holder.wire.client.put(Place(job, DocumentKind.ROUND, 3).path, content=asked), 409)
    with holder.home() as home:
        opened = Round.opened(asked, [home.who.identity])
        skipped = Round(job=opened.job, order=opened.order, number=2, previous=opened.previous, state={})
        refused(
            holder.wire.client.put(Place(job, DocumentKind.ROUND, 2).path, content=skipped.signed(home.signer)), 409
        )
    refused(holder.wire.client.put(Place(job, DocumentKind.ORDER).path, content=asked), 404)
    done(made["owner-1"].post(f"/v1/jobs/{job}/cancel"))
    refused(hospitals.sites[2].wire.client.put(elsewhere.path, content=data), 409)
    assert job not in holder.wire.work()


def test_what_is_taken_back_ends_the_job_at_its_next_round(made: House, hospitals: Hospitals) -> None:
    """A grant that was revoked after the order: the next round is not opened, and its populations stay marked."""
    job, site = hospitals.admitted()["job"], hospitals.sites[0]
    hospitals.turn(hospitals.holder)
    for one in hospitals.sites:
        hospitals.turn(one)
    assert len([mark for mark in events(made, "population:uncovered") if mark["job"] == job]) == 3
    for grant in hospitals.grants(site):
        done(made[site.owner].delete(f"/v1/grants/{grant}"))
    assert hospitals.play(job)["state"] == "failed"
    assert [one["number"] for one in events(made, "round:opened") if one["job"] == job] == [1]
    hospitals.permit(site)


def test_a_site_that_declines_ends_the_job_and_nothing_is_marked(made: House, hospitals: Hospitals) -> None:
    """Its file changed after it attested it: it says one word, the job fails, no population loses its cover for it."""
    marks = len(events(made, "population:uncovered"))
    job = hospitals.admitted()["job"]
    site = hospitals.sites[1]
    file = hospitals.folder / f"{site.name}.csv"
    kept = file.read_text(encoding="utf-8")
    file.write_text(kept + "44,1.0,false\n", encoding="utf-8")
    assert hospitals.play(job)["state"] == "failed"
    file.write_text(kept, encoding="utf-8")
    assert [one["party"] for one in events(made, "party:declined")] == [site.party]
    assert len(events(made, "population:uncovered")) == marks
    assert made["trainer"].get(f"/v1/jobs/{job}").json()["release"] is None


def test_statistics_of_three_hospitals_leave_as_whole_sums(made: House, hospitals: Hospitals) -> None:
    """Another kind by the same way: one round, and the mean is that of all rows together."""
    job = hospitals.admitted(
        kind="he.statistics", queries=[{"kind": "mean", "column": "age"}], family=None, outcome=None, predictors=None
    )["job"]
    ended = hospitals.play(job)
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    done(made["checker"].post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
    made.settle()
    body = json.loads(fetched(made, ended["release"], "artifact"))
    ages = [age for site in hospitals.rows for age, _, _ in site]
    (answer,) = body["answers"]
    assert float(answer["values"][0]) == pytest.approx(sum(ages) / len(ages), abs=1e-4)
    assert len([one for one in events(made, "round:decrypted") if one["job"] == job]) == 1
    certificate = fetched(made, ended["release"], "certificate.json")
    assert read_certificate(Envelope.from_bytes(certificate).payload).artifact_name == "he-statistics.json"
