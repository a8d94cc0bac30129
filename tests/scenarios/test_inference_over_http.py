"""Encrypted questions to released models through HTTP and real children: asked, answered, certified, read by one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from audit.findings import Verdict
from audit.trust import TrustFile
from kernel import canonical
from kernel.canonical import Digest
from kernel.signing import Envelope, sign_envelope
from privacy.release.inference import InferenceCertificate
from privgate.verify import verify_bundle
from privgate.verify.verdict import BundleVerdict, Outcome
from tests.support.api import House, done, grant_body, house, refused
from tests.support.inference import (
    ANSWER,
    PEOPLE,
    Client,
    admitted,
    answered,
    bundle_of,
    certificate_in,
    furnish,
    in_the_clear,
    request_of,
    send,
    square_network,
)
from tests.support.walks import verified

MODELS = ("linear", "square")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with two released models: a logistic regression, and a network with the square as its activation."""
    with house(tmp_path_factory.mktemp("inference") / "home") as of:
        furnish(of, linear={}, square={"model": {"graph": square_network()}})
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


def require_scores(of: House, model: str, client: Client, files: dict[str, bytes]) -> None:
    """What the client reads is what the model says in the clear, to a few times the profile's expected error."""
    certificate = certificate_in(files)
    precision = certificate.predicate.precision
    error = 10 * 2.0**precision.halvings * float(precision.expected_error.number)
    found = client.read(files[ANSWER], certificate)[: len(PEOPLE)]
    assert [row[0] for row in found] == pytest.approx(in_the_clear(of, model), abs=error)


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


def test_a_network_with_squares_is_asked_in_several_batches(made: House) -> None:
    """Two batches of one question; its owner says yes first, to whoever's grant needs that."""
    trainer, owner = made["trainer"], made["owner"]
    grant = grant_body(
        made["peer"].principal, made.ids["dataset"], job_kinds=["he.infer"], obligations={"approval_required": True}
    )
    done(owner.post("/v1/grants", grant), 201)
    parked = done(made["peer"].post("/v1/jobs", request_of(made, "square", batches=2)), 202)
    assert parked["state"] == "awaiting-approval"
    refused(send(made, parked["job"], b"anything"), 422)
    yes = {"verdict": "approved", "request_digest": parked["request_digest"]}
    refused(trainer.post(f"/v1/jobs/{parked['job']}/approval", yes), 403)
    assert done(owner.post(f"/v1/jobs/{parked['job']}/approval", yes))["state"] == "collecting"
    client = Client.of(made, parked["job"], [{"age": 50, "sex": "male"}] * 5, PEOPLE)
    done(send(made, parked["job"], client.asked.parcel), 202)
    files = answered(made, parked["job"])
    certificate = certificate_in(files)
    assert len(certificate.predicate.approvals) == 1
    found = client.read(files[ANSWER], certificate)
    slots = client.spec.profile.slots
    error = 10 * 2.0**certificate.predicate.precision.halvings * 1e-4
    assert [row[0] for row in found[slots : slots + 3]] == pytest.approx(in_the_clear(made, "square"), abs=error)
    assert len({round(row[0], 3) for row in found[:5]}) == 1
