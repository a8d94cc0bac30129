"""Disclosures: settled by marks alone, certified in full or not at all, and never taken for a promise."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import ConflictError, CorruptError, InvalidError
from kernel.events import Parameter
from kernel.ids import (
    ApprovalId,
    DatasetId,
    DecisionId,
    JobId,
    PartyId,
    PopulationId,
    ReleaseId,
    Slug,
    TenantId,
    VersionId,
)
from kernel.signing import Ed25519Signer
from privacy.events.budget import PopulationUncovered
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.requests.kinds import CollectionKind
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.statistics.report import statistics_bytes
from privacy.jobs.asking import complete_query
from privacy.release import disclosure as d
from privacy.release.artifacts import artifact_problems
from privacy.release.certificate import PrivacyCertificate, SoftwareFacts
from privacy.release.disclosure_check import check_disclosure
from privacy.release.model_card import model_card
from privacy.release.observers import Observer, observers_of
from privacy.release.settlement import Disclosure
from privacy.release.statements import open_certificate, problems_of, read_certificate
from privacy.schema import TableSchema

JOB, PROFILE = JobId.new(os.urandom), profile_of("bfv-2048-wide-public")
POPULATIONS = tuple(PopulationId.new(os.urandom) for _ in range(3))
ARTIFACT, SIGNER = Digest.of(b"artifact"), Ed25519Signer.generate(os.urandom)


def marks(job: JobId = JOB) -> list[PopulationUncovered]:
    """An entry for each population."""
    return [PopulationUncovered(population=one, ledger_seq=5 + n, job=job) for n, one in enumerate(POPULATIONS)]


def party(name: str) -> d.PartyFacts:
    """Somebody."""
    return d.PartyFacts(party=PartyId.new(os.urandom), name=Slug(name), fingerprint=Digest.of(name.encode()))


def predicate(**changes: Any) -> d.DisclosurePredicate:
    """A whole one, with some members changed."""
    sites = tuple(
        d.SiteFacts(
            site=party(f"site-{number}"), dataset=DatasetId.new(os.urandom), version=VersionId.new(os.urandom),
            manifest=Digest.of(b"rows"), population=population, unit=Slug("patient"), least_persons=5,
            decision=DecisionId.new(os.urandom), decision_leaf=Digest.of(b"decision"), ledger_seq=5 + number,
            uncovered=Digest.of(b"mark"), uncovered_since=3,
        )
        for number, population in enumerate(POPULATIONS)
    )  # fmt: skip
    course = d.CourseFacts(
        order=Digest.of(b"order"), key=Digest.of(b"key"), final=Digest.of(b"final"), participants=Digest.of(b"sites"),
        rounds=4, decryptions=4, learned=32,
    )  # fmt: skip
    whole: dict[str, Any] = {
        "tenant": TenantId.new(os.urandom),
        "release": ReleaseId.new(os.urandom),
        "job": JOB,
        "kind": Slug("he.glm"),
        "request": Digest.of(b"request"),
        "differentially_private": False,
        "key_holder": party("holder"),
        "sites": sites,
        "encryption": d.EncryptionFacts(profile=PROFILE.name, digest=PROFILE.digest),
        "course": course,
        "observers": observers_of(CollectionKind.HE_GLM, PROFILE),
        "approvals": (ApprovalId.new(os.urandom), ApprovalId.new(os.urandom)),
        "policy_epoch": 7,
        "origin": Slug("gateway.example/log"),
        "software": SoftwareFacts(version=Slug("1.0"), digest=Digest.of(b"program")),
        "not_covered": d.not_covered(None),
        "issued_at": datetime(2026, 11, 27, tzinfo=UTC),
    }
    return d.DisclosurePredicate(**(whole | changes))


def certificate(**changes: Any) -> d.DisclosureCertificate:
    """It, settled."""
    return d.DisclosureCertificate.of(Disclosure.of(JOB, ARTIFACT, marks()), "he-glm.json", predicate(**changes))


def test_a_disclosure_marks_each_population_of_its_own_job_once() -> None:
    """No mark, somebody else's, or one twice: no settlement, and so no certificate and no release."""
    assert Disclosure.of(JOB, ARTIFACT, marks()).marked == tuple((p, 5 + n) for n, p in enumerate(POPULATIONS))
    for wrong in ([], marks(JobId.new(os.urandom)), [*marks(), marks()[0]]):
        with pytest.raises(ConflictError):
            Disclosure.of(JOB, ARTIFACT, wrong)


@pytest.mark.parametrize(
    ("kind", "name"), [("he.glm", "glm.json"), ("he.aggregate", "he-glm.json"), ("glm", "he-glm.json")]
)
def test_an_artefact_is_called_what_those_of_its_kind_are(kind: str, name: str) -> None:
    """By its name it is known how it is judged: under another one nobody would compute its answers again."""
    problem = "its artefact is not called what that of its kind is"
    assert problem not in problems_of(certificate())
    named = replace(certificate(kind=Slug(kind)), artifact_name=name)
    assert problem in problems_of(named)


def test_exact_statistics_are_computed_again() -> None:
    """From the sums in the file, which has no noise and is of as many sites."""
    schema = TableSchema.from_json({"columns": [{"name": "ill", "kind": "boolean"}]})
    queries = tuple(complete_query({"kind": "histogram", "columns": ["ill"]}, schema))
    plan = FederatedStatistics(queries=queries, covariances=(), schema=schema)
    noise = SiteNoise(sites=3, tolerated=1, noise_multiplier=Parameter("2"))
    course = replace(predicate().course, rounds=1)
    named = replace(certificate(kind=Slug("he.statistics"), course=course), artifact_name="he-statistics.json")
    right = statistics_bytes(plan, [20, 30], 3)
    assert artifact_problems(named, right) == ()
    for wrong in (
        right.replace(b'"20"', b'"21"', 1),
        statistics_bytes(plan, [20, 30], 4),
        statistics_bytes(replace(plan, noise=noise), [20, 30], 3),
    ):
        assert artifact_problems(named, wrong)


def test_a_certificate_names_the_marks_that_were_made() -> None:
    """Another number in a ledger, another population, a site less: refused before it is signed."""
    sites = predicate().sites
    settled = Disclosure.of(JOB, ARTIFACT, marks())
    for other in (sites[:2], sites[::-1]):
        with pytest.raises(InvalidError):
            d.DisclosureCertificate.of(settled, "he-glm.json", predicate(sites=other))
    with pytest.raises(InvalidError):
        d.DisclosureCertificate.of(settled, "he-glm.json", predicate(job=JobId.new(os.urandom)))


@pytest.mark.parametrize(
    "changes",
    [
        {"differentially_private": True},
        {"not_covered": ()},
        {"not_covered": d.not_covered(None)[1:]},
        {"not_covered": d.not_covered(Aggregation.GATEWAY)},
    ],
)
def test_it_cannot_promise_privacy_or_leave_out_what_it_does_not_cover(changes: dict[str, Any]) -> None:
    """There is no such value to sign."""
    with pytest.raises(InvalidError):
        predicate(**changes)


def test_it_reads_back_strictly_and_is_never_taken_for_a_privacy_certificate() -> None:
    """Each kind is read as what it says it is; an altered statement, an unknown member and another key are refused."""
    made = certificate()
    envelope = made.sign(SIGNER)
    assert open_certificate(envelope, [SIGNER.public_key]) == made
    with pytest.raises(InvalidError):
        PrivacyCertificate.parse(made.statement())
    with pytest.raises(CorruptError):
        open_certificate(envelope, [Ed25519Signer.generate(os.urandom).public_key])
    body = json.loads(made.statement())
    for change in ({"epsilon": "1"}, {"observers": None}):
        changed = body | {"predicate": {k: v for k, v in (body["predicate"] | change).items() if v is not None}}
        with pytest.raises(InvalidError):
            read_certificate(canonical.encode(changed))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"sites": predicate().sites[:2]}, "fewer sites"),
        ({"key_holder": predicate().sites[0].site}, None),
        ({"approvals": (ApprovalId.new(os.urandom),)}, "two people"),
        ({"observers": observers_of(CollectionKind.HE_STATISTICS, PROFILE)}, "who learns what"),
        ({"kind": Slug("he.unheard-of")}, "who learns what"),
        ({"encryption": d.EncryptionFacts(profile=PROFILE.name, digest=Digest.of(b"x"))}, "profile"),
        ({"encryption": d.EncryptionFacts(profile=Slug("home-made"), digest=PROFILE.digest)}, "profile"),
    ],
)
def test_its_own_facts_are_held_against_each_other(changes: dict[str, Any], word: str | None) -> None:
    """Each fault is named; a sound one has none."""
    assert check_disclosure(predicate()) == ()
    if word is None:
        sites = predicate().sites
        changes = {"sites": sites, "key_holder": sites[0].site}
        word = "two parts"
    assert any(word in problem for problem in check_disclosure(predicate(**changes)))


def test_the_card_says_first_that_nothing_in_it_is_private() -> None:
    """Whoever reads a release's card meets it before anything else, and learns who held the key."""
    card = model_card(certificate().sign(SIGNER))
    assert "differentially_private: false" in card.split("---")[1]
    assert "no noise was added" in card.split("## Whose rows")[0]
    assert f"| {Observer.KEY_HOLDER} | yes |" in card
    assert all(sentence in card for sentence in d.not_covered(None))
    assert problems_of(certificate()) == ()
