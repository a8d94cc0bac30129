"""A generalised linear model through the API: asked, quoted, charged, certified, released, fetched, worked out again.

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
from privgate.glm import GlmTable
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

ROWS = 4000
FILES = ("artifact", "certificate.json", "receipt.tlog-proof", "MODEL_CARD.md")


def body(dataset: str, **changes: Any) -> dict[str, Any]:
    """A request for a model."""
    asked = {
        "kind": "glm",
        "dataset": dataset,
        "purpose": "research/oncology",
        "epsilon": "3",
        "family": "logistic",
        "outcome": "outcome",
        "predictors": ["age", "dose"],
    }
    return {"spec": {name: value for name, value in (asked | changes).items() if value is not None}}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with sealed rows, a grant for models, and one released table."""
    with house(tmp_path_factory.mktemp("glm") / "home") as made:
        admin, owner, trainer = made["admin"], made["owner"], made["trainer"]
        for purpose, within in (("research", []), ("research/oncology", ["research"])):
            done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
        population = done(owner.post("/v1/populations", population_body()), 201)["population"]
        dataset = done(owner.post("/v1/datasets", dataset_body(population)), 201)["dataset"]
        made.ids = {"population": population, "dataset": dataset}
        done(owner.put(f"/v1/datasets/{dataset}/content", content=rows_csv(ROWS)), 202)
        assert worker_of(made).step()
        grant = grant_body(trainer.principal, dataset, job_kinds=["glm"])
        done(owner.post("/v1/grants", grant), 201)
        job = done(trainer.post("/v1/jobs", body(dataset)), 202)
        assert worker_of(made).step()
        ended = done(trainer.get(f"/v1/jobs/{job['job']}"))
        assert (ended["state"], ended["percent"]) == ("finished", 100)
        done(owner.post(f"/v1/releases/{ended['release']}/check", {"verdict": "release"}))
        made.settle()
        made.ids |= {"job": job["job"], "release": ended["release"]}
        yield made


def fetched(made: House) -> dict[str, bytes]:
    """The files of the release, under the names that they have in a folder."""
    path = f"/v1/releases/{made.ids['release']}/files/"
    found = {name: made["trainer"].get(path + name) for name in FILES}
    files = {name: bytes(answer.content) for name, answer in found.items()}
    return {("glm.json" if name == "artifact" else name): data for name, data in files.items()}


def test_the_table_is_what_people_print(fitted: House) -> None:
    """Coefficient, error, interval, ratio and p-value; intervals hold their estimates."""
    table = GlmTable.read(fetched(fitted)["glm.json"])
    assert [line.term for line in table] == ["(intercept)", "age", "dose"]
    printed = str(table)
    assert all(word in printed for word in ("coefficient", "std. error", "odds ratio", "dose", "privacy noise"))
    for line in table:
        assert Decimal(line.low) < Decimal(line.coefficient) < Decimal(line.high)
    assert abs(table.count - 0.8 * ROWS) < 0.2 * ROWS or abs(table.count - ROWS) < 0.2 * ROWS
    assert "odds ratio" in table._repr_html_()


def test_it_is_charged_as_one_gaussian(fitted: House) -> None:
    """What the certificate states is what the quote told."""
    quote = done(fitted["trainer"].post("/v1/quotes", body(fitted.ids["dataset"])))["quote"]
    certificate = PrivacyCertificate.parse(Envelope.from_bytes(fetched(fitted)["certificate.json"]).payload)
    (part,) = certificate.predicate.mechanisms
    assert (str(part.block), part.mechanism.times) == ("train", 1)
    assert quote["charge"] == str(certificate.predicate.guarantee.charge)
    assert Decimal(quote["epsilon"]) <= 3
    assert certificate.artifact == Digest.of(fetched(fitted)["glm.json"])


def test_the_verifier_works_the_table_out_again(fitted: House) -> None:
    """The folder is sound; a table that does not follow, or less noise than was charged, is found."""
    files = fetched(fitted)
    trust: TrustFile = trust_file(fitted.gateway.on, fitted.tenant)
    assert check_folder(ReleaseFolder("", dict(files)), trust, None).verdict is Verdict.OK
    certificate = PrivacyCertificate.parse(Envelope.from_bytes(files["certificate.json"]).payload)
    assert artifact_problems(certificate, files["glm.json"]) == ()
    assert "generalised linear model" in files["MODEL_CARD.md"].decode()
    changed = dict(canonical.decode(files["glm.json"], limit=2**20))
    changed["table"] = [{**line, "standard_error": "0.001"} for line in changed["table"]]
    assert artifact_problems(certificate, canonical.encode(changed))


def test_what_cannot_be_done_soundly_is_refused_with_its_reason(fitted: House) -> None:
    """By field, before anything is held."""
    trainer, dataset = fitted["trainer"], fitted.ids["dataset"]
    told = refused(trainer.post("/v1/quotes", body(dataset, family="cox")), 422)
    assert told["field"] == "family"
    assert "partial likelihood" in str(told)
    assert refused(trainer.post("/v1/jobs", body(dataset, predictors=["nobody"])), 422)["field"] == "predictors"
    assert refused(trainer.post("/v1/jobs", body(dataset, counted="both")), 422)["field"] == "counted"
