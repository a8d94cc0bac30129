"""Statistics through the API: asked, quoted, approved, charged, certified, released, fetched, computed again.

Everything runs: the worker steps in this process, the child is confined.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from audit.findings import Verdict
from audit.trust import TrustFile
from gateway.services.log_reading import trust_file
from kernel import canonical
from kernel.canonical import Digest
from kernel.signing import Envelope
from privacy.release.artifacts import artifact_problems
from privacy.release.certificate import PrivacyCertificate
from privgate.statistics import Statistics, mean, profile, quantiles
from privgate.verify.releases import ReleaseFolder, check_folder
from tests.support.api import (
    House,
    dataset_body,
    done,
    grant_body,
    house,
    population_body,
    refused,
    rows_csv,
    worker_of,
)

ROWS = 4373
QUERIES = [
    {"kind": "count"},
    {"kind": "histogram", "columns": ["outcome"]},
    mean("age", by="outcome"),
    quantiles("age", at=["0.5"]),
    profile(bins=6),
]
FILES = ("artifact", "certificate.json", "receipt.tlog-proof", "MODEL_CARD.md")


def body(dataset: str, **changes: Any) -> dict[str, Any]:
    """A request for statistics."""
    asked = {
        "kind": "statistics",
        "dataset": dataset,
        "purpose": "research/oncology",
        "epsilon": "1",
        "queries": QUERIES,
    }
    return {"spec": asked | changes}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with sealed rows, a grant for statistics whose jobs wait for a yes, and one released answer."""
    with house(tmp_path_factory.mktemp("statistics") / "home") as made:
        admin, owner, trainer = made["admin"], made["owner"], made["trainer"]
        for purpose, within in (("research", []), ("research/oncology", ["research"])):
            done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
        population = done(owner.post("/v1/populations", population_body(holdout_share="0.25")), 201)["population"]
        dataset = done(owner.post("/v1/datasets", dataset_body(population)), 201)["dataset"]
        made.ids = {"population": population, "dataset": dataset}
        sent = owner.put(f"/v1/datasets/{dataset}/content", content=rows_csv(ROWS))
        done(sent, 202)
        made.ids["version"] = sent.headers["location"]
        assert worker_of(made).step()
        refused(trainer.post("/v1/jobs", body(dataset)), 403, "denied")
        grant = grant_body(trainer.principal, dataset, job_kinds=["statistics"])
        done(owner.post("/v1/grants", grant | {"obligations": {"approval_required": True}}), 201)
        made.ids |= _released(made, body(dataset))
        yield made


def _released(made: House, request: dict[str, Any]) -> dict[str, str]:
    trainer, owner = made["trainer"], made["owner"]
    job = done(trainer.post("/v1/jobs", request), 202)
    assert job["state"] == "awaiting-approval"
    yes = {"verdict": "approved", "request_digest": job["request_digest"]}
    done(owner.post(f"/v1/jobs/{job['job']}/approval", yes))
    assert worker_of(made).step()
    ended = done(trainer.get(f"/v1/jobs/{job['job']}"))
    assert (ended["state"], ended["percent"]) == ("finished", 100)
    release = f"/v1/releases/{ended['release']}"
    refused(trainer.get(f"{release}/files/artifact"), 409, "conflict")
    done(owner.post(f"{release}/check", {"verdict": "release"}))
    made.settle()
    return {"job": job["job"], "release": ended["release"]}


def fetched(made: House) -> dict[str, bytes]:
    """The files of the release, under the names that they have in a folder."""
    path = f"/v1/releases/{made.ids['release']}/files/"
    found = {name: made["trainer"].get(path + name) for name in FILES}
    assert all(answer.status_code == 200 for answer in found.values())
    files = {name: bytes(answer.content) for name, answer in found.items()}
    return {("statistics.json" if name == "artifact" else name): data for name, data in files.items()}


def verified(made: House, files: dict[str, bytes]) -> Verdict:
    """What the verifier says of a release's folder."""
    trust: TrustFile = trust_file(made.gateway.on, made.tenant)
    return check_folder(ReleaseFolder("", dict(files)), trust, None).verdict


def test_the_answers_are_near_the_rows_that_train(asked: House) -> None:
    """Three quarters of the rows, within the noise; the profile has a histogram for each column."""
    told = Statistics.read(fetched(asked)["statistics.json"])
    assert (told.block, len(told)) == ("train", 4 + 3)
    (rows,) = told[0]
    assert Decimal(rows.low) - 200 < ROWS * Decimal("0.75") < Decimal(rows.high) + 200
    ages = {cell.where: cell for cell in told[2]}
    assert set(ages) == {("well",), ("ill",)}
    assert all(35 < Decimal(cell.value or 0) < 55 for cell in ages.values())
    (median,) = told[3]
    assert Decimal(median.low) <= Decimal(median.value or -1) <= Decimal(median.high)
    assert [answer.query.axes[0].column for answer in told.answers[4:]] == ["age", "dose", "outcome"]


def test_quoted_and_charged_as_one_gaussian_on_the_side_that_was_read(asked: House) -> None:
    """However many queries: what the certificate states is what the quote told."""
    quote = done(asked["trainer"].post("/v1/quotes", body(asked.ids["dataset"])))
    certificate = PrivacyCertificate.parse(Envelope.from_bytes(fetched(asked)["certificate.json"]).payload)
    predicate = certificate.predicate
    (part,) = predicate.mechanisms
    assert (str(part.block), part.mechanism.times) == ("train", 1)
    assert quote["quote"]["charge"] == str(predicate.guarantee.charge)
    assert (quote["quote"]["block"], quote["quote"].get("model")) == ("train", None)
    assert predicate.kind == "statistics"
    assert Decimal(quote["quote"]["hold"]) > Decimal(quote["quote"]["charge"])
    assert certificate.artifact == Digest.of(fetched(asked)["statistics.json"])
    budget = done(asked["owner"].get(f"/v1/populations/{asked.ids['population']}"))
    assert {block["block"] for block in budget["blocks"] if Decimal(block["charged"])} == {"train"}


def test_the_verifier_computes_every_answer_again(asked: House) -> None:
    """The folder is sound as it is; a figure that does not follow is found even if the digest were to fit."""
    files = fetched(asked)
    assert verified(asked, files) is Verdict.OK
    assert "statistics.json" in files["MODEL_CARD.md"].decode()
    certificate = PrivacyCertificate.parse(Envelope.from_bytes(files["certificate.json"]).payload)
    assert artifact_problems(certificate, files["statistics.json"]) == ()
    changed = canonical.decode(files["statistics.json"], limit=2**24)
    changed["answers"][0]["values"] = ["1"]
    assert artifact_problems(certificate, canonical.encode(changed))
    assert verified(asked, files | {"statistics.json": canonical.encode(changed)}) is not Verdict.OK


def test_the_number_of_rows_is_nowhere_but_under_noise(asked: House) -> None:
    """No answer to the trainer holds an exact count of a side of the split."""
    rows = done(asked["owner"].get(asked.ids["version"]))["rows"]
    assert sum(rows.values()) == ROWS
    told = done(asked["trainer"].get(f"/v1/jobs/{asked.ids['job']}"))
    for secret in map(str, rows.values()):
        assert secret not in str(told)


def test_what_is_refused_is_refused_by_field_before_it_costs(asked: House) -> None:
    """Unknown columns, too many queries and cells; nothing is held by it."""
    trainer, dataset = asked["trainer"], asked.ids["dataset"]
    for queries, field in (
        ([{"kind": "histogram", "columns": ["nobody"]}], "columns"),
        ([{"kind": "count"}] * 1000, "queries"),
        ([{"kind": "mean", "column": "outcome"}], "outcome"),
        ([{"kind": "median"}], "kind"),
        ([], "queries"),
    ):
        assert refused(trainer.post("/v1/quotes", body(dataset, queries=queries)), 422)["field"] == field
    assert refused(trainer.post("/v1/jobs", body(dataset, kind="select")), 422)["field"] == "kind"


def test_the_holdout_is_charged_apart(asked: House) -> None:
    """Nobody is on both sides: asking both costs one price."""
    quote = done(asked["trainer"].post("/v1/quotes", body(asked.ids["dataset"], block="holdout")))["quote"]
    assert (quote["block"], quote["fits"]) == ("holdout", True)
