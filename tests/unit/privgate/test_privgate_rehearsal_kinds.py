"""Jobs of the other kinds, rehearsed by their own children on sealed rows: answers in the form of released ones."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kernel.errors import InvalidError
from privacy.schema import TableSchema
from privgate import statistics as ask
from privgate.cli.rehearse import say_result
from privgate.sdk.rehearsals import JobRehearsal, RehearsedRelease
from privgate.sdk.requests import glm_request, statistics_request, synthesis_request, training_request
from privgate.sdk.trying import planned, rehearse
from privgate.sdk.tuning import tuning_request
from tests.support.cards import ID, PATIENTS, card

SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "patient", "kind": "identifier"},
            {"name": "age", "kind": "numeric", "low": "0", "high": "100"},
            {"name": "ward", "kind": "categorical", "categories": ["a", "b"]},
            {"name": "ill", "kind": "categorical", "categories": ["no", "yes"]},
        ]
    }
)
RELEASE = "rel_" + "a" * 26
HEAD: dict[str, Any] = {"purpose": "research", "epsilon": "8"}


def own(count: int) -> list[dict[str, Any]]:
    """Rows in which the old are ill, and one ward has twice as many."""
    rows = []
    for number in range(count):
        age = (number * 37) % 101
        ward, ill = "a" if number % 3 else "b", "yes" if age > 50 else "no"
        rows.append({"patient": f"p{number}", "age": age, "ward": ward, "ill": ill})
    return rows


def rehearsed(request: dict[str, Any], unit: Any = None, **how: Any) -> JobRehearsal:
    """Try a request out."""
    found = rehearse(card(SCHEMA, unit or {"kind": "record", "noun": "patient"}), request, **how)
    assert isinstance(found, JobRehearsal)
    return found


def test_statistics_of_own_rows_are_those_of_the_declared_size(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts as if there were as many units as are declared, with the noise that belongs to them."""
    request = statistics_request(ID, queries=[ask.histogram("ward"), ask.mean("age")], **HEAD)
    found = rehearsed(request, rows=own(300))
    assert (found.kind, found.rows, found.units, found.units_met) == ("statistics", "own", 300, 1600)
    assert found.plan_digest == planned(card(SCHEMA), request).plan.digest
    counts, means = found.found
    assert [cell.where for cell in counts] == [("a",), ("b",)]
    total = sum(float(cell.value or 0) for cell in counts)
    assert abs(total - 1600) < 200
    (mean,) = means
    assert abs(float(mean.value or 0) - 50) < 3
    say_result(found)
    assert "mean of age, per row" in capsys.readouterr().out


def test_dummy_rows_are_answered_as_well(tmp_path: Path) -> None:
    """In units of several rows, too; what is written says that it is no release."""
    request = statistics_request(ID, queries=[ask.profile()], **HEAD)
    found = rehearsed(request, PATIENTS)
    assert (found.rows, found.units_met) == ("dummy", 1600)
    assert "answers mean nothing" in str(dict(found.lines())["rows"])
    (path,) = found.write(tmp_path)
    assert "no release" in json.loads(path.read_text())["what"]


def test_a_synthetic_table_of_own_rows_says_what_hangs_together(capsys: pytest.CaptureFixture[str]) -> None:
    """The pair that is tied in the rows is tied in the table, and rows are drawn from it as from a released one."""
    request = synthesis_request(ID, edges={"age": [25, 50.5, 75]}, **HEAD)
    found = rehearsed(request, rows=own(300))
    assert (found.kind, found.units_met) == ("synthesis", 1600)
    assert found.plan_digest == planned(card(SCHEMA), request).plan.digest
    tied = {(pair.first, pair.second): pair.apart for pair in found.found.pairs}
    assert tied["age", "ill"] > 500
    drawn = list(found.found.rows(SCHEMA, 400))
    assert sum((row["age"] > 50) == (row["ill"] == "yes") for row in drawn) > 320
    say_result(found)
    assert "age" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"columns": "age"}, {"around": "stage"}, {"edges": {"age": [50, 20]}}])
def test_a_synthetic_table_that_cannot_be_is_refused_before_anything_runs(changes: dict[str, Any]) -> None:
    """In the gateway's words."""
    with pytest.raises(InvalidError):
        rehearsed(synthesis_request(ID, **HEAD, **changes), rows=own(30))


def test_a_glm_has_the_table_of_a_release(capsys: pytest.CaptureFixture[str]) -> None:
    """Coefficients with standard errors for the declared size: age tells who is ill."""
    request = glm_request(ID, family="logistic", outcome="ill", predictors=["age", "ward"], **HEAD)
    found = rehearsed(request, rows=own(300))
    assert found.kind == "glm"
    assert "age" in str(found.found)
    say_result(found)
    assert "std. error" in capsys.readouterr().out


def test_a_tuning_is_run_as_one_job() -> None:
    """Its result is a model and nothing about the tries; the self-test is judged."""
    recipe = {"steps": 5, "expected_batch": 200}
    request = tuning_request(ID, label="ill", recipe=recipe, search={"learning_rate": [0.1, 1]}, tries=2, **HEAD)
    found = rehearsed(request, rows=own(200))
    assert isinstance(found.found, RehearsedRelease)
    assert found.failed_checks == ()
    assert set(found.found.predict(own(3))) <= {True, False}


def test_an_evaluation_uses_the_released_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Its weights as they were fetched, on own rows as many as are held out; a table of another shape is refused."""
    trained = rehearse(card(SCHEMA), training_request(ID, label="ill", recipe={"steps": 20}, **HEAD), rows=own(300))
    gateway = gateway_with(trained)
    dataset = card(SCHEMA)
    object.__setattr__(dataset, "gateway", gateway)
    request = {"v": 1, "kind": "evaluation", "release": RELEASE, "dataset": ID, **HEAD}
    found = rehearse(dataset, request, rows=own(300))
    assert isinstance(found, JobRehearsal)
    assert float(found.found["accuracy"]["value"]) > 0.7
    say_result(found)
    assert "95 % interval" in capsys.readouterr().out
    gateway.model["graph"] = "sha256:" + "0" * 64
    with pytest.raises(InvalidError, match="a table of another shape"):
        planned(dataset, request)


def gateway_with(trained: Any) -> Any:
    """What a gateway tells of a release whose weights are those of a rehearsal."""
    import numpy as np

    from privacy.graph.weights import pack_weights

    scorer = trained.release.scorer()
    graph = scorer.graph.graph
    shapes = {weight.name: weight.shape for weight in graph.weights}
    arrays = {name: np.asarray(v, dtype=np.float32).reshape(shapes[name]) for name, v in scorer.weights.items()}
    model = dict(trained.model)
    job = SimpleNamespace(request=trained.request, model=model)
    return SimpleNamespace(
        model=model,
        jobs={"job": job},
        releases={RELEASE: SimpleNamespace(job="job")},
        fetch_release=lambda _: SimpleNamespace(artifact=pack_weights(graph, arrays)),
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"queries": [{"kind": "mean", "column": "secret"}]}, "column"),
        ({"queries": []}, "queries"),
        ({"epsilon": "0"}, "epsilon"),
    ],
)
def test_what_breaks_a_rule_is_refused_before_anything_runs(change: dict[str, Any], field: str) -> None:
    """By the functions that the gateway uses; the field is named and the value is not."""
    request = statistics_request(ID, queries=[ask.count()], **HEAD) | change
    with pytest.raises(InvalidError) as refused:
        rehearsed(request)
    assert "secret" not in str(refused.value)
    assert refused.value.field


def test_own_rows_must_have_what_the_job_reads() -> None:
    """A column that is missing and a cell that breaks a rule are named; steps and test rows are a training's."""
    request = statistics_request(ID, queries=[ask.mean("age")], **HEAD)
    with pytest.raises(InvalidError, match="column `age`: missing-column"):
        rehearsed(request, rows=[{"ward": "a"}])
    with pytest.raises(InvalidError, match="row 2, column `age`: out-of-bounds"):
        rehearsed(request, rows=[{"age": 1}, {"age": 101}])
    for how in ({"steps": 3}, {"test": own(3)}):
        with pytest.raises(InvalidError, match="is for a training"):
            rehearsed(request, **how)
