"""Statistics through the API: asked, quoted, approved, charged, certified, released, fetched, computed again.

Everything runs: the worker steps in this process, the child is confined.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from audit.findings import Verdict
from kernel import canonical
from kernel.canonical import Digest
from privacy.release.artifacts import artifact_problems
from privgate.statistics import Statistics, mean, profile, quantiles
from tests.support.api import House, done, house, refused, rows_csv
from tests.support.walks import certificate_of, fetched, granted, released, sealed, verified

ROWS = 4373
QUERIES = [
    {"kind": "count"},
    {"kind": "histogram", "columns": ["outcome"]},
    mean("age", by="outcome"),
    quantiles("age", at=["0.5"]),
    profile(bins=6),
]
FILE = "statistics.json"


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
        sealed(made, rows_csv(ROWS), holdout_share="0.25")
        request = body(made.ids["dataset"])
        refused(made["trainer"].post("/v1/jobs", request), 403, "denied")
        granted(made, "statistics", obligations={"approval_required": True})
        made.ids |= released(made, request)
        yield made


def test_the_answers_are_near_the_rows_that_train(asked: House) -> None:
    """Three quarters of the rows, within the noise; the profile has a histogram for each column."""
    told = Statistics.read(fetched(asked, FILE)["statistics.json"])
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
    certificate = certificate_of(fetched(asked, FILE))
    predicate = certificate.predicate
    (part,) = predicate.mechanisms
    assert (str(part.block), part.mechanism.times) == ("train", 1)
    assert quote["quote"]["charge"] == str(predicate.guarantee.charge)
    assert (quote["quote"]["block"], quote["quote"].get("model")) == ("train", None)
    assert predicate.kind == "statistics"
    assert Decimal(quote["quote"]["hold"]) > Decimal(quote["quote"]["charge"])
    assert certificate.artifact == Digest.of(fetched(asked, FILE)["statistics.json"])
    budget = done(asked["owner"].get(f"/v1/populations/{asked.ids['population']}"))
    assert {block["block"] for block in budget["blocks"] if Decimal(block["charged"])} == {"train"}


def test_the_verifier_computes_every_answer_again(asked: House) -> None:
    """The folder is sound as it is; a figure that does not follow is found even if the digest were to fit."""
    files = fetched(asked, FILE)
    assert verified(asked, files) is Verdict.OK
    assert "statistics.json" in files["MODEL_CARD.md"].decode()
    certificate = certificate_of(files)
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
