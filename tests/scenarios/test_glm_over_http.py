"""A generalised linear model through the API: asked, quoted, charged, certified, released, fetched, worked out again.

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
from privgate.glm import GlmTable
from tests.support.api import House, done, house, refused, rows_csv
from tests.support.walks import certificate_of, fetched, granted, released, sealed, verified

ROWS = 4000
FILE = "glm.json"


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
        sealed(made, rows_csv(ROWS))
        granted(made, "glm")
        made.ids |= released(made, body(made.ids["dataset"]))
        yield made


def test_the_table_is_what_people_print(fitted: House) -> None:
    """Coefficient, error, interval, ratio and p-value; intervals hold their estimates."""
    table = GlmTable.read(fetched(fitted, FILE)["glm.json"])
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
    certificate = certificate_of(fetched(fitted, FILE))
    (part,) = certificate.predicate.mechanisms
    assert (str(part.block), part.mechanism.times) == ("train", 1)
    assert quote["charge"] == str(certificate.predicate.guarantee.charge)
    assert Decimal(quote["epsilon"]) <= 3
    assert quote["feasibility"] == "likely"
    assert certificate.artifact == Digest.of(fetched(fitted, FILE)["glm.json"])


def test_the_verifier_works_the_table_out_again(fitted: House) -> None:
    """The folder is sound; a table that does not follow, or less noise than was charged, is found."""
    files = fetched(fitted, FILE)
    assert verified(fitted, files) is Verdict.OK
    certificate = certificate_of(files)
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
