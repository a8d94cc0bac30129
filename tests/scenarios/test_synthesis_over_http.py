"""A synthetic table through the API: asked, quoted, approved, charged, certified, released, fetched, rows drawn.

Everything runs: the worker steps in this process, the child is confined.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from audit.findings import Verdict
from gateway.services.log_reading import trust_file
from kernel import canonical
from kernel.canonical import Digest
from kernel.signing import Envelope
from privacy.accounting.mechanisms import ZeroConcentrated
from privacy.release.artifacts import artifact_problems
from privacy.release.certificate import PrivacyCertificate
from privacy.schema import TableSchema
from privgate.synthetic import SyntheticTable
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
FILES = ("artifact", "certificate.json", "receipt.tlog-proof", "MODEL_CARD.md")


def body(dataset: str, **changes: Any) -> dict[str, Any]:
    """A request for a synthetic table."""
    asked = {
        "kind": "synthesis",
        "dataset": dataset,
        "purpose": "research/oncology",
        "epsilon": "2",
        "bins": 6,
    }
    return {"spec": asked | changes}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with sealed rows, a grant for synthetic tables whose jobs wait for a yes, and one released table."""
    with house(tmp_path_factory.mktemp("synthesis") / "home") as made:
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
        grant = grant_body(trainer.principal, dataset, job_kinds=["synthesis"])
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
    return {("synthesis.json" if name == "artifact" else name): data for name, data in files.items()}


def certificate_of(files: dict[str, bytes]) -> PrivacyCertificate:
    """What was signed."""
    return PrivacyCertificate.parse(Envelope.from_bytes(files["certificate.json"]).payload)


def verified(made: House, files: dict[str, bytes]) -> Verdict:
    """What the verifier says of a release's folder."""
    return check_folder(ReleaseFolder("", dict(files)), trust_file(made.gateway.on, made.tenant), None).verdict


def test_rows_are_drawn_for_ever_from_what_was_paid_once(asked: House) -> None:
    """They look like the rows that train; drawing more asks the gateway nothing and charges nothing."""
    told = SyntheticTable.read(fetched(asked)["synthesis.json"])
    assert (told.around, set(told.columns), len(told.pairs)) == (None, {"age", "dose", "outcome"}, 2)
    schema = TableSchema.from_json(done(asked["trainer"].get(f"/v1/datasets/{asked.ids['dataset']}"))["table"])
    charged = done(asked["owner"].get(f"/v1/populations/{asked.ids['population']}"))["blocks"]
    rows = [row for seed in range(3) for row in told.rows(schema, 1000, seed)]
    ages = [row["age"] for row in rows]
    assert 35 < sum(ages) / len(ages) < 55
    assert {row["outcome"] for row in rows} == {"well", "ill"}
    assert done(asked["owner"].get(f"/v1/populations/{asked.ids['population']}"))["blocks"] == charged


def test_quoted_and_charged_as_one_zcdp_on_the_side_that_was_read(asked: House) -> None:
    """Columns, choices and pairs together: what the certificate states is what the quote told, with its word."""
    quote = done(asked["trainer"].post("/v1/quotes", body(asked.ids["dataset"])))["quote"]
    certificate = certificate_of(fetched(asked))
    predicate = certificate.predicate
    (part,) = predicate.mechanisms
    assert isinstance(part.mechanism, ZeroConcentrated)
    assert (str(part.block), part.mechanism.times, predicate.kind) == ("train", 1, "synthesis")
    assert quote["charge"] == str(predicate.guarantee.charge)
    assert Decimal(quote["hold"]) > Decimal(quote["charge"])
    assert quote["feasibility"] in ("likely", "doubtful", "hopeless")
    assert predicate.this_job_alone.pld_epsilon is None
    assert certificate.artifact == Digest.of(fetched(asked)["synthesis.json"])
    budget = done(asked["owner"].get(f"/v1/populations/{asked.ids['population']}"))
    assert {block["block"] for block in budget["blocks"] if Decimal(block["charged"])} == {"train"}


def test_the_verifier_holds_the_file_to_its_certificate(asked: House) -> None:
    """The folder is sound as it is; a plan with less noise or a count more is found even if the digest were to fit."""
    files = fetched(asked)
    assert verified(asked, files) is Verdict.OK
    assert "chosen" in files["MODEL_CARD.md"].decode()
    certificate = certificate_of(files)
    assert artifact_problems(certificate, files["synthesis.json"]) == ()
    changed = canonical.decode(files["synthesis.json"], limit=2**24)
    changed["tree"][0]["noisy"].append(1)
    assert artifact_problems(certificate, canonical.encode(changed))
    assert verified(asked, files | {"synthesis.json": canonical.encode(changed)}) is not Verdict.OK


def test_the_number_of_rows_is_nowhere_but_under_noise(asked: House) -> None:
    """No answer to the trainer holds an exact count of a side of the split."""
    rows = done(asked["owner"].get(asked.ids["version"]))["rows"]
    assert sum(rows.values()) == ROWS
    told = str(done(asked["trainer"].get(f"/v1/jobs/{asked.ids['job']}")))
    assert not any(str(secret) in told for secret in rows.values())


def test_what_is_refused_is_refused_by_field_before_it_costs(asked: House) -> None:
    """Unknown columns, methods and cells; nothing is held by it."""
    trainer, dataset = asked["trainer"], asked.ids["dataset"]
    for changes, field in (
        ({"columns": ["nobody", "age"]}, "columns"),
        ({"columns": ["age"]}, "columns"),
        ({"around": "nobody"}, "around"),
        ({"method": "aim"}, "method"),
        ({"bins": 10**6}, "bins"),
        ({"seed": 1}, "request"),
    ):
        assert refused(trainer.post("/v1/quotes", body(dataset, **changes)), 422)["field"] == field


def test_the_holdout_is_charged_apart(asked: House) -> None:
    """Nobody is on both sides: asking both costs one price."""
    quote = done(asked["trainer"].post("/v1/quotes", body(asked.ids["dataset"], block="holdout")))["quote"]
    assert (quote["block"], quote["fits"]) == ("holdout", True)
