"""Encrypted questions to released models through HTTP and real children: asked, answered, certified, read by one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text

from audit.findings import Verdict
from audit.trust import TrustFile
from gateway.services.inferences import requesting
from gateway.services.inferences.ending import fail_unasked
from gateway.worker import UPKEEP
from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import JobId
from kernel.signing import Envelope, sign_envelope
from privacy.homomorphic.inferences.spec import InferenceSpec
from privacy.jobs.features import FeatureSpec
from privacy.release.inference import InferenceCertificate
from privacy.schema import TableSchema
from privgate.sdk import inferring
from privgate.sdk.questions import Kept
from privgate.sdk.scores import Scores
from privgate.verify import verify_bundle
from privgate.verify.verdict import BundleVerdict, Outcome
from tests.support.api import House, done, house, neighbour, refused, worker_of
from tests.support.exports import bundle_of
from tests.support.inference import (
    ANSWER,
    FEATURES,
    PEOPLE,
    SCHEMA,
    Client,
    admitted,
    answered,
    certificate_in,
    furnish,
    request_of,
    require_scores,
    send,
)
from tests.support.walks import verified


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a released model, a logistic regression."""
    with house(tmp_path_factory.mktemp("inference") / "home") as of:
        furnish(of, linear={})
        yield of


@dataclass(frozen=True)
class Story:
    """One answer from the request on, and the evidence of all of it."""

    job: str
    client: Client
    files: dict[str, bytes]
    before: Any
    bundle: Path
    trust: TrustFile

    @property
    def certificate(self) -> InferenceCertificate:
        """Of the answer."""
        return certificate_in(self.files)

    def judged(self) -> BundleVerdict:
        """The verifier's word."""
        return verify_bundle(self.bundle, self.trust)


@pytest.fixture(scope="module")
def story(made: House, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Asked of the linear model, which the client may not fetch."""
    before = done(made["owner"].get(f"/v1/populations/{made.ids['population']}"))
    job = admitted(made, "linear")
    client = Client.of(made, job, PEOPLE)
    for _ in range(2):  # the same again changes nothing
        assert done(send(made, job, client.asked.parcel), 202)["question"] == str(client.asked.question.digest)
    files = answered(made, job)
    bundle = tmp_path_factory.mktemp("evidence") / "bundle"
    return Story(job, client, files, before, bundle, bundle_of(made, files, bundle))


def test_a_client_reads_the_scores_of_a_model_that_he_may_not_fetch(made: House, story: Story) -> None:
    """Scores as in the clear; the model itself stays closed to him, and only he has the key."""
    model = made.ids["linear-release"]
    refused(made["peer"].get(f"/v1/releases/{model}/files/artifact"), 403)
    require_scores(made, "linear", story.client, story.files)
    assert verified(made, story.files) is Verdict.OK


def test_nothing_is_charged_and_the_log_tells_the_whole_course(made: House, story: Story) -> None:
    """The ledger is as it was; digests alone are logged; the question's ciphertexts are gone."""
    assert done(made["owner"].get(f"/v1/populations/{made.ids['population']}")) == story.before
    told = [entry["type"] for entry in made.log() if entry.get("correlation") == story.job]
    assert told == [
        "inference:requested", "question:received", "question:answered", "dek:created", "release:held", "job:ended",
        "release:checked", "release:published", *["release:fetched"] * 4,
    ]  # fmt: skip
    assert not any(story.job in path for path in made.gateway.on.blobs.list())


def test_the_certificate_says_who_held_the_key_and_who_learned_what(made: House, story: Story) -> None:
    """The client alone; the gateway saw ciphertexts, their number, and no value; the model's guarantee is copied."""
    stated = story.certificate.predicate
    assert [(one.observer.value, one.secret_key) for one in stated.observers] == [("client", True), ("gateway", False)]
    assert (str(stated.charge), stated.question.batches, stated.model.release) == ("0", 1, made.ids["linear-release"])
    assert stated.document == story.client.asked.question
    card = story.files["MODEL_CARD.md"].decode()
    assert "Only whoever asked can read it" in card
    assert str(stated.model.guarantee.epsilon) in card


def test_the_verifier_finds_nothing_wrong_and_says_so(story: Story) -> None:
    """Log, decisions, certificates, answer, card and receipt hold together, from the pinned keys alone."""
    verdict = story.judged()
    wrong = [(step.title, step.locations) for step in verdict.steps if step.locations and step.title != "Report"]
    assert (wrong, verdict.outcome) == ([], Outcome.VERIFIED)


def test_a_report_over_it_finds_nothing_wrong(made: House, story: Story) -> None:
    """Answers have their place in every check of jobs, releases and certificates."""
    assert story.files
    report = done(made["auditor"].post("/v1/reports", {}), 201)
    written = made["auditor"].get(f"/v1/reports/{report['report']}/files/report.json").content
    body = canonical.decode(Envelope.from_bytes(written).payload, limit=2**24)
    assert [(one["check"], one["findings"]) for one in body["checks"] if one["verdict"] == "fail"] == []


def test_a_client_believes_no_answer_to_another_question(story: Story) -> None:
    """A certificate, well signed, of another job, request, model or question; an answer that is none of this shape."""
    job = JobId(story.job)
    features, schema = FeatureSpec.from_json(FEATURES), TableSchema.from_json(SCHEMA)
    terms = inferring._Terms(job, story.client.spec, features, schema, None)
    kept = Kept(job, story.client.asked, story.client.secret, (0, 1, 2))
    answer, own = story.files[ANSWER], story.certificate
    assert terms.read(kept, own, answer, 3).outputs[2] is not None
    stated = own.predicate
    others = (
        replace(stated, job=JobId("job_" + "a" * 26)),
        replace(stated, request=Digest.of(b"other")),
        replace(stated, model=replace(stated.model, certificate=Digest.of(b"other"))),
        replace(stated, model=replace(stated.model, features=Digest.of(b"other"))),
        replace(stated, question=replace(stated.question, ciphertexts=Digest.of(b"other"))),
    )
    for predicate in others:
        with pytest.raises(CorruptError):
            terms.read(kept, replace(own, predicate=predicate), answer, 3)
    for wrong in (answer[:-1], answer + answer, bytes(len(answer))):
        with pytest.raises(CorruptError):
            terms.read(kept, own, wrong, 3)
    with pytest.raises(CorruptError):
        replace(terms, received=str(Digest.of(b"other"))).send(cast(Any, None), kept)


TERMS = ("request", "question", "features", "table")


def test_a_client_asks_no_other_model_than_he_named(made: House, story: Story) -> None:
    """A gateway that took another request than it was given (another model, purpose, room for fewer rows), or none."""
    body = done(made["peer"].get(f"/v1/jobs/{story.job}/question"))
    connection = SimpleNamespace(get=lambda _: body)
    job = SimpleNamespace(job=story.job, request_digest=body["request_digest"])
    terms = inferring._Terms.of(cast(Any, SimpleNamespace(connection=connection)), cast(Any, job))
    release, purpose, room = body["request"]["release"], body["request"]["purpose"], terms.spec.most_rows
    terms.require(release, purpose, room)
    for asked in (("rel_" + "a" * 26, purpose, 1), (release, "research", 1), (release, purpose, room + 1)):
        with pytest.raises(CorruptError):
            terms.require(*asked)
    for broken in ([], *({other: said for other, said in body.items() if other != name} for name in TERMS)):
        connection.get = lambda _, broken=broken: broken
        with pytest.raises(CorruptError):
            inferring._Terms.of(cast(Any, SimpleNamespace(connection=connection)), cast(Any, job))


def test_scores_are_written_to_the_digits_that_they_have(story: Story) -> None:
    """Rounded to what they may be off by; the header says which class `true` is; a row without stays empty."""
    outputs = ((5.177090000000001,), None, (-0.000001,))
    features, schema = FeatureSpec.from_json(FEATURES), TableSchema.from_json(SCHEMA)
    found = Scores(
        job=story.job, release="", certificate=story.certificate, outputs=outputs, features=features, schema=schema
    )
    header, rows = found.table()
    assert header == ["score", "probability of ill = true", "prediction"]
    assert [list(map(str, row)) for row in rows] == [
        ["5.17709", "0.99439", "True"], ["None"] * 3, ["0.0", "0.5", "False"],
    ]  # fmt: skip
    assert found.outputs == outputs
    by_sex = {**FEATURES, "columns": FEATURES["columns"][1:]}
    above = FeatureSpec.from_json({**by_sex, "label": {"column": "age", "encoding": "threshold", "above": "60"}})
    assert replace(found, features=above).positive == "age > 60"
    scaled = FeatureSpec.from_json({**by_sex, "label": {"column": "age", "encoding": "scaled"}})
    numbers = replace(found, features=scaled, outputs=((0.123456789,),)).table()
    assert numbers == (["score", "prediction"], [[0.12346, 56.1728]])


def _other(digest: str) -> str:
    return str(Digest.of(digest.encode()))


@pytest.mark.parametrize(
    ("member", "change", "step"),
    [
        ("question", lambda s: s | {"ciphertexts": _other(s["ciphertexts"])}, "Certified figures"),
        ("question", lambda s: s | {"client": "a" * 64}, "Certified figures"),
        ("question", lambda s: s | {"batches": 2}, "Certified figures"),
        ("precision", lambda s: s | {"expected_error": "0.5"}, "Certified figures"),
        ("observers", lambda s: [s[0], s[1] | {"secret_key": True}], "Certified figures"),
        ("encryption", lambda s: s | {"profile": "ckks-8192-square"}, "Certified figures"),
        ("model", lambda s: s | {"epsilon": "0.1"}, "Certificates and log"),
        ("model", lambda s: s | {"guarantee": s["guarantee"] | {"ledger_seq": 1}}, "Certificates and log"),
        ("model", lambda s: s | {"certificate": _other(s["certificate"])}, "Certified figures"),
        ("model", lambda s: s | {"graph": _other(s["graph"])}, "Certificates and log"),
        ("model", lambda s: s | {"uncovered_since": 1}, "Certificates and log"),
        ("decision_leaf", _other, "Certificates and log"),
        ("answered", _other, "Certificates and log"),
        ("issued_at", lambda _: "2020-01-01T00:00:00Z", "Certificates and log"),
    ],
)
def test_a_certificate_that_tells_another_story_is_found_out(
    made: House, story: Story, tmp_path: Path, member: str, change: Any, step: str
) -> None:
    """Even signed by the gateway's own key: what follows must follow, and what the log tells must be told alike."""
    copy = tmp_path / "bundle"
    shutil.copytree(story.bundle, copy)
    place = copy / "certificates" / f"{story.certificate.predicate.release}.json"
    envelope = Envelope.from_bytes(place.read_bytes())
    body = json.loads(envelope.payload)
    body["predicate"][member] = change(body["predicate"][member])
    forged = sign_envelope(envelope.payload_type, canonical.encode(body), made.gateway.on.certificate_signer)
    InferenceCertificate.parse(forged.payload)
    place.write_bytes(forged.to_bytes())
    assert verify_bundle(copy, story.trust).step(step).locations


def test_only_a_grant_lets_somebody_ask(made: House) -> None:
    """A trainer without the kind, the data's owner, an auditor: refused with a reason; a stranger finds nothing."""
    request = request_of(made, "linear")
    assert refused(made["trainer"].post("/v1/jobs", request), 403)["reason"] == "job-kind-not-granted"
    for route in ("/v1/jobs", "/v1/quotes"):
        for who in ("owner", "other-owner", "auditor", "checker"):
            refused(made[who].post(route, request), 403)
        refused(neighbour(made).post(route, request), 404)
    logged = {entry["fields"].get("reason") for entry in made.log() if entry["type"] == "decision:made"}
    assert "job-kind-not-granted" in logged


def test_a_quote_says_what_it_takes_and_who_learns_what(made: House) -> None:
    """Bytes, one round, no charge; nothing is held and no job is there."""
    quote = done(made["peer"].post("/v1/quotes", request_of(made, "linear", batches=3)))
    spec = InferenceSpec.from_json(quote["spec"])
    told = quote["quote"]
    assert (told["charge"], told["rounds"], told["rows_at_most"]) == ("0", 1, 3 * 2048)
    assert told["bytes_of_the_question"] == spec.question_bytes == spec.shape.key_bytes + 3 * spec.shape.request_bytes
    assert [one["observer"] for one in told["observers"] if one["secret_key"]] == ["client"]
    terms = FeatureSpec.from_json(told["terms"]["features"]), TableSchema.from_json(told["terms"]["table"])
    assert terms == (FeatureSpec.from_json(FEATURES), TableSchema.from_json(SCHEMA))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"batches": 0}, "batches"), ({"rows": 5}, "request"), ({"epsilon": "1"}, "request"), ({"v": 2}, "v"),
        ({"release": "rel_x"}, "release"), ({"purpose": "No such"}, "purpose"),
    ],
)  # fmt: skip
def test_a_request_that_is_none_is_refused_by_field(made: House, changes: dict[str, Any], field: str) -> None:
    """Before anything is stored."""
    answer = refused(made["peer"].post("/v1/jobs", request_of(made, "linear", **changes)), 422)
    assert answer.get("field") in (field, None)


def test_a_question_is_its_requesters_alone_and_comes_once(made: House) -> None:
    """Who may read the job may not ask in its name; a second question is refused; so is one after the end."""
    job = admitted(made, "linear")
    client, second = Client.of(made, job, PEOPLE), Client.of(made, job, PEOPLE)
    for who, status in (("owner", 404), ("trainer", 403), ("auditor", 404)):
        refused(send(made, job, client.asked.parcel, who), status)
    done(send(made, job, client.asked.parcel), 202)
    refused(send(made, job, second.asked.parcel), 409)
    assert done(made["peer"].post(f"/v1/jobs/{job}/cancel"))["state"] == "cancelled"
    assert not worker_of(made).step()
    refused(send(made, job, second.asked.parcel), 409)
    assert not any(job in path for path in made.gateway.on.blobs.list())


def test_a_task_whose_job_has_ended_is_let_go_of(made: House) -> None:
    """Cancelled in the very moment in which its question came: one end in the log, and no task is left."""
    job = admitted(made, "linear")
    done(send(made, job, Client.of(made, job, PEOPLE).asked.parcel), 202)
    done(made["peer"].post(f"/v1/jobs/{job}/cancel"))
    with made.gateway.on.database.writing() as connection:
        connection.execute(text("UPDATE task SET state = 'queued' WHERE subject = :job"), {"job": job})
    assert worker_of(made).step()
    assert not worker_of(made).step()
    ends = [e for e in made.log() if e["type"] == "job:ended" and e["fields"]["job"] == job]
    assert [e["fields"]["end"] for e in ends] == ["cancelled"]


def test_whatever_is_no_question_of_the_job_is_refused_and_not_kept(made: House) -> None:
    """Another job's, of another shape, cut off, altered, too long, and one in which a secret key lies."""
    job, other = admitted(made, "linear"), admitted(made, "linear", batches=2)
    client, foreign = Client.of(made, job, PEOPLE), Client.of(made, admitted(made, "linear"), PEOPLE)
    good = client.asked.parcel
    key = client.secret.reveal()
    at = len(good) - len(good) // 4
    for data in (foreign.asked.parcel, good[:-1], good[:-9000] + b"\x01" + good[-8999:], b"", good + b"x"):
        refused(send(made, job, data), 422)
    told = refused(send(made, job, good[:at] + key[: len(good) - at]), 422)
    assert "secret key" in told["detail"]
    refused(send(made, job, good + bytes(2**20)), 413)
    refused(send(made, other, good), 422)
    assert not any(job in path or other in path for path in made.gateway.on.blobs.list())
    assert done(made["peer"].get(f"/v1/jobs/{job}"))["state"] == "collecting"


def test_a_question_that_does_not_come_ends_the_job(made: House) -> None:
    """Its day over, the job fails, once."""
    job = admitted(made, "linear")
    assert fail_unasked(made.gateway.on) == 0
    with made.gateway.on.database.writing() as connection:
        connection.execute(
            text("UPDATE inference SET deadline = '2020-01-01T00:00:00Z' WHERE job = :job"), {"job": job}
        )
    late = Client.of(made, job, PEOPLE)
    refused(send(made, job, late.asked.parcel), 409)
    assert (fail_unasked(made.gateway.on), fail_unasked(made.gateway.on)) == (1, 0)
    assert done(made["peer"].get(f"/v1/jobs/{job}"))["state"] == "failed"


def test_a_question_that_is_waited_for_keeps_nobody_else_waiting(made: House) -> None:
    """Such a job is collecting like those on data of sites, and has none of their papers: upkeep goes on."""
    admitted(made, "linear")
    for upkeep in UPKEEP:
        assert upkeep(made.gateway.on) == 0


def test_what_costs_no_budget_is_limited_all_the_same(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may ask for nothing could fill disk and queue with questions; an end makes room."""
    mine = [job for job in done(made["peer"].get("/v1/jobs")) if job["kind"] == "he.infer"]
    still = [job for job in mine if job["state"] not in ("finished", "failed", "cancelled", "refused")]
    monkeypatch.setattr(requesting, "MOST_OPEN", len(still) + 1)
    job = admitted(made, "linear")
    refused(made["peer"].post("/v1/jobs", request_of(made, "linear")), 409)
    done(made["peer"].post(f"/v1/jobs/{job}/cancel"))
    admitted(made, "linear")


def test_what_was_taken_back_is_not_asked(made: House) -> None:
    """A model recalled, then a grant revoked, while questions wait: the job ends as cancelled; none begins."""
    job, later = admitted(made, "linear"), admitted(made, "linear")
    client, other = Client.of(made, job, PEOPLE), Client.of(made, later, PEOPLE)
    done(send(made, job, client.asked.parcel), 202)
    done(made["owner"].post(f"/v1/releases/{made.ids['linear-release']}/recall"))
    assert worker_of(made).step()
    assert done(made["peer"].get(f"/v1/jobs/{job}"))["state"] == "cancelled"
    refused(made["peer"].post("/v1/jobs", request_of(made, "linear")), 409)
    for grant in done(made["owner"].get("/v1/grants")):
        if grant["principal"] == made["peer"].principal and grant["state"] == "active":
            done(made["owner"].delete(f"/v1/grants/{grant['grant']}"))
    refused(send(made, later, other.asked.parcel), 403)
