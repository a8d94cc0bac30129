"""Rehearsals without a gateway: the plan that the gateway would make, run on dummy or own rows, and what is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from kernel.errors import ConflictError, InvalidError, PrivgateError
from privacy.graph.weights import unpack_weights
from privacy.jobs.plan import TrainingPlan, plan_training
from privacy.jobs.spec import complete_training
from privacy.schema import TableSchema
from privacy.training.preflight import RehearsalError
from privacy.training.rows import RowEncoder
from privacy.units import PrivacyUnit
from privgate.models import read_weights
from privgate.rehearsing import running
from privgate.rehearsing.own_rows import AsDeclared, OwnRows, encoded
from privgate.rowfiles import write_rows
from privgate.sdk.errors import ExtraMissingError
from privgate.sdk.rehearsals import Rehearsal
from privgate.sdk.trying import rehearse
from privgate.verify import main_verify
from tests.support.cards import EVERYTHING, ID, PATIENTS, RECORD, card

FEATURES: dict[str, Any] = {
    "v": 1,
    "columns": [
        {"column": "age", "transform": "scale"},
        {"column": "ward", "transform": "one-hot"},
        {"column": "smoker", "transform": "boolean"},
        {"column": "scan", "transform": "scale"},
    ],
    "label": {"column": "ill", "encoding": "positive", "category": "yes"},
}
RECIPE = {"steps": 12, "expected_batch": 200}
LONG = {"steps": 40, "expected_batch": 400}


def request(**changes: Any) -> dict[str, Any]:
    """A small regression on several kinds of columns."""
    body = {"dataset": ID, "purpose": "research", "epsilon": "3", "features": FEATURES, "recipe": RECIPE} | changes
    return {name: value for name, value in body.items() if value is not None}


def own(count: int, seed: int = 3) -> list[dict[str, Any]]:
    """Rows of one's own, in which age alone tells who is ill."""
    rows, draw = card(unit=RECORD).dummy(count, seed=seed), np.random.default_rng(seed)
    for row, age in zip(rows, draw.uniform(0, 120, count), strict=True):
        row["age"], row["ill"] = float(age), "yes" if age > 60 else "no"
    return rows


@pytest.fixture(scope="module")
def dummy() -> Rehearsal:
    """The whole run on dummy rows."""
    return rehearse(card(), request())


def test_the_plan_is_the_gateways(dummy: Rehearsal) -> None:
    """Final form, its digest and the plan are those that the same functions make where the gateway calls them."""
    facts = card().facts()
    spec = complete_training(request(), EVERYTHING, facts)
    plan = plan_training(spec, EVERYTHING, facts)
    assert (dummy.request, dummy.request_digest) == (spec.to_json(), spec.digest)
    assert TrainingPlan.from_fields(dummy.plan) == plan
    assert (dummy.plan_digest, dummy.noise_multiplier) == (plan.digest, str(plan.noise_multiplier))


def test_shapes_duration_and_memory_are_told(dummy: Rehearsal) -> None:
    """What a row becomes, how a step is cut, what it takes here: in figures for machines, in words for people."""
    assert (dummy.numbers_per_row, dummy.outputs) == (1 + 3 + 1 + 6, 1)
    assert (dummy.steps, dummy.steps_run, dummy.units_declared) == (12, 12, 1600)
    assert dummy.micro_batches == 1
    assert dummy.units_at_once > 200
    assert 0 < dummy.seconds_per_step < dummy.seconds
    assert dummy.rows_bytes == 4 * 1600 * 11
    assert dummy.memory_bytes is None or dummy.memory_bytes > 2**20
    assert dummy.savepoint_bytes > 0
    assert dummy.failed_checks == ()
    told = {name: str(value) for name, value in dummy.lines()}
    assert "nothing was asked for, held or spent" in told["this was a rehearsal"]
    assert "learnt nothing" in told["rows"]
    assert told["noise"].startswith("real")
    assert "quote" in told["grant and budget"]
    assert json.loads(json.dumps(dummy.to_json()))["plan_digest"] == dummy.plan_digest


def test_dummy_rows_have_no_quality(dummy: Rehearsal) -> None:
    """Nothing is said of how good a model is that learnt nothing."""
    assert dummy.quality is None
    assert not [name for name, _ in dummy.lines() if "kept back" in name]


def test_a_shortened_run_is_the_same_plan_with_fewer_steps(dummy: Rehearsal) -> None:
    """The plan and its digest stay those of the whole run; that it was cut is told."""
    seen: list[tuple[int, int]] = []
    short = rehearse(card(), request(), steps=3, on_progress=lambda done, of: seen.append((done, of)))
    assert (short.steps, short.steps_run, short.plan_digest) == (12, 3, dummy.plan_digest)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert dict(short.lines())["steps"] == "3 of 12 were run"
    assert rehearse(card(), request(), steps=99).steps_run == 12


def test_own_rows_tell_how_good_the_model_will_be(tmp_path: Path) -> None:
    """With noise for the declared size, a fifth of the units kept back; from a list, a file or a data frame alike."""
    rows, path = own(500), tmp_path / "own.csv"
    write_rows(path, EVERYTHING, rows)
    found = rehearse(card(), request(epsilon="20", recipe=LONG), rows=path)
    assert (found.rows, found.units, found.units_declared) == ("own", 400, 1600)
    assert found.quality is not None
    assert found.quality["rows"] == 100
    assert found.quality["accuracy"] > found.quality["guessing"] + 0.15
    assert found.quality["auc"] > 0.85
    assert "again and again" in str(dict(found.lines())["rows"])
    for given in (rows, pa.Table.from_pylist(rows)):
        short = rehearse(card(), request(), rows=given, steps=1)
        assert (short.units, (short.quality or {})["guessing"]) == (400, found.quality["guessing"])


def test_noise_is_real_on_own_rows() -> None:
    """Two rehearsals of one request on the same rows differ; far less epsilon makes far larger, random weights."""
    rows = own(100)

    def weights(epsilon: str) -> list[float]:
        found = rehearse(card(), request(epsilon=epsilon, recipe={"expected_batch": 20}), rows=rows, steps=4)
        return [number for values in found.release.scorer().weights.values() for number in values]

    one, two, poor = weights("20"), weights("20"), weights("0.01")
    assert one != two
    assert sum(number**2 for number in poor) > 20 * sum(number**2 for number in one)


def test_rows_to_judge_by_may_be_given() -> None:
    """Then all of the others are learnt from; a shortened run says that its figures say little."""
    found = rehearse(card(), request(), rows=own(60), test=own(40, seed=9), steps=2)
    assert (found.units, (found.quality or {})["rows"]) == (60, 40)
    assert ("which says little", "the run was cut short") in found.lines()


def test_units_of_several_rows_are_taken_as_units() -> None:
    """A column that names them is used if the rows have it, and its absence is told; kept back are whole units."""
    of, rows = card(unit=PATIENTS), card(unit=PATIENTS).dummy(200, seed=4)
    units = OwnRows.of(rows, of.schema, of.privacy_unit)
    learn, back = units.where(~units.kept_back), units.where(units.kept_back)
    names = {row["patient"] for row in learn}
    assert names & {row["patient"] for row in back} == set()
    found = rehearse(of, request(), rows=rows, steps=1)
    assert found.units == len(names) < len(learn)
    unnamed = [{name: value for name, value in row.items() if name != "patient"} for row in rows]
    found = rehearse(of, request(), rows=unnamed, steps=1)
    assert (found.units, found.units_named) == (160, False)
    assert "no column tells the units" in str(dict(found.lines())["rows"])


def test_units_are_met_as_often_as_is_declared() -> None:
    """Unit i is unit i modulo those that there are; an empty place stays empty."""
    of = card(unit=PATIENTS)
    known = OwnRows.of(of.dummy(50), of.schema, of.privacy_unit)
    spec = complete_training(request(), of.schema, of.facts())
    table = encoded(known, RowEncoder(spec.features, of.schema), of.schema).table(4)
    many = AsDeclared(table, 1000)
    assert len(many) == 1000
    members = np.array([0, len(table), 3 + 7 * len(table), -1, 999])
    found, again = many.gather(members, 6), table.gather(np.array([0, 0, 3, -1, 999 % len(table)]), 6)
    assert np.array_equal(found.features, again.features)
    assert np.array_equal(found.counts, again.counts)
    assert not found.counts[3].any()


def test_own_rows_are_encoded_as_sealed_rows_are() -> None:
    """Number by number what the child's encoder makes of the types that sealing writes; tensors are float32 there."""
    from privacy.ingest.findings import Findings
    from privacy.ingest.records import RawBatch
    from privacy.ingest.validate import Validator

    of, rows = card(), card().dummy(100, seed=8)
    encoder = RowEncoder(complete_training(request(), of.schema, of.facts()).features, of.schema)
    columns = {c.name: pa.array([row[c.name] for row in rows]) for c in of.schema.columns}
    batch = Validator(of.schema, Findings()).check(RawBatch(1, columns, len(rows)))
    expected = encoder.encode(batch)
    found = encoded(OwnRows.of(rows, of.schema, of.privacy_unit), encoder, of.schema).table(1).rows
    assert np.array_equal(found.features, expected.features)
    assert np.array_equal(found.targets, expected.targets)
    assert expected.alive.all()


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"age": "121"}, "age", "row 7, column `age`: out-of-bounds"),
        ({"ward": "secret"}, "ward", "row 7, column `ward`: not-listed"),
        ({"ill": None}, "ill", "row 7, column `ill`: missing-value"),
        ({"scan": [1, 2]}, "scan", "row 7, column `scan`: wrong-shape"),
        ({"scan": [1, 2, 3, 4, 5, 256]}, "scan", "row 7, column `scan`: out-of-bounds"),
        ({"smoker": "perhaps"}, "smoker", "row 7, column `smoker`: not-a-boolean"),
    ],
)
def test_own_rows_that_the_gateway_would_refuse_are_refused(change: Mapping[str, Any], field: str, said: str) -> None:
    """By row, column and rule, as ingest names them; no value stands there. What is not read is not looked at."""
    rows, other = own(10), own(10)
    rows[6] |= change
    with pytest.raises(InvalidError, match="row 7") as refused:
        rehearse(card(), request(), rows=other, test=rows)
    with pytest.raises(InvalidError) as refused:
        rehearse(card(), request(), rows=rows)
    assert refused.value.field == field
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)
    rows[6] = other[6] | {"cost": "not looked at"}
    assert rehearse(card(), request(), rows=rows, steps=1).units == 8


def test_a_column_that_own_rows_lack_is_named() -> None:
    """As ingest names it; so are too few rows."""
    without = [{name: value for name, value in row.items() if name != "ward"} for row in own(10)]
    with pytest.raises(InvalidError, match="column `ward`: missing-column"):
        rehearse(card(), request(), rows=without)
    with pytest.raises(InvalidError, match="no rows"):
        rehearse(card(), request(), rows=[])


def test_several_classes_and_numbers_have_figures_of_their_own() -> None:
    """Accuracy beside the commonest class; a mean error in the target's own unit beside that of the middle."""
    rows = own(250)
    for row in rows:
        age = row["age"]
        row["stage"], row["cost"] = "i" if age < 40 else "ii" if age < 80 else "iii", 800.0 * age
    classes = FEATURES | {"label": {"column": "stage", "encoding": "classes"}}
    found = rehearse(card(), request(features=classes, epsilon="30", recipe=LONG), rows=rows).quality or {}
    assert found["accuracy"] > found["guessing"]
    scaled = FEATURES | {"label": {"column": "cost", "encoding": "scaled"}}
    found = rehearse(card(), request(features=scaled, epsilon="30", recipe=LONG), rows=rows).quality or {}
    assert 500 < found["mean error"] < found["guessing"] < 60_000


def test_the_release_predicts_and_can_never_be_taken_for_one(dummy: Rehearsal, tmp_path: Path) -> None:
    """Same form as a released model; its files say what they are, and neither reader of weights takes them."""
    rows = card().dummy(5, seed=6)
    assert dummy.release.predict(rows) == dummy.release.scorer().predict(rows)
    scores = dummy.release.model()(torch.tensor(dummy.release.scorer().encoded(rows), dtype=torch.float32))
    assert [bool(score >= 0) for score in scores.flatten()] == dummy.release.predict(rows)
    assert set(dummy.release.predict(rows)) <= {True, False}
    assert "no certificate" in repr(dummy.release)
    written = dummy.release.write(tmp_path / "out")
    assert [path.name for path in written] == ["rehearsal.json", "rehearsal.safetensors"]
    assert "no release" in json.loads(written[0].read_text())["what"]
    graph = dummy.release.scorer().graph
    for read in (lambda data: read_weights(data, graph), lambda data: unpack_weights(graph.graph, data)):
        with pytest.raises(PrivgateError):
            read(written[1].read_bytes())
    written[1].with_name("model.safetensors").write_bytes(written[1].read_bytes())
    assert main_verify(tmp_path / "out", None) != 0
    with pytest.raises(ConflictError):
        dummy.release.write(tmp_path / "out")


def test_torch_is_left_as_it_was() -> None:
    """One thread and flushed denormals while it runs, and only then."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = []
        rehearse(card(), request(), steps=1, on_progress=lambda *_: seen.append(torch.get_num_threads()))
        assert (set(seen), torch.get_num_threads()) == ({1}, 2)
        assert float(torch.tensor([2.0**-1074], dtype=torch.float64).mul(1.0)) > 0
    finally:
        torch.set_num_threads(threads)


def test_an_engine_that_fails_its_checks_ends_it_as_in_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the sentence and the name of the check, and before a step is run."""

    def fails(*_: Any) -> None:
        raise RehearsalError("rows are mixed")

    monkeypatch.setattr(running, "rehearse", fails)
    with pytest.raises(InvalidError, match=r"rows are mixed \(check `rows-apart`\)") as refused:
        rehearse(card(), request(), on_progress=lambda *_: pytest.fail("a step was run"))
    assert refused.value.field == "model"


def test_without_torch_the_request_is_still_held_to_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken one is refused in the gateway's words; a sound one ends with how to install what is missing."""
    for name in [name for name in sys.modules if name.startswith("privgate.rehearsing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "privgate.rehearsing.training", None)
    with pytest.raises(InvalidError, match="not both"):
        rehearse(card(), request(recipe=RECIPE | {"sampling_rate": "0.5"}))
    with pytest.raises(ExtraMissingError, match=r"privgate\[train\]"):
        rehearse(card(), request())


@pytest.mark.slow
def test_every_kind_of_model_is_rehearsed() -> None:
    """A convolution on a tensor, a perceptron, adaptive clipping: whatever a request may name."""
    table = TableSchema.from_json(
        {
            "columns": [
                {"name": "scan", "kind": "tensor", "shape": [14, 14], "low": "0", "high": "255"},
                {"name": "kind", "kind": "categorical", "categories": ["a", "b", "c"]},
            ]
        }
    )
    image = {
        "v": 1,
        "columns": [{"column": "scan", "transform": "scale"}],
        "label": {"column": "kind", "encoding": "classes"},
    }
    unit = PrivacyUnit.from_json(RECORD).to_json()
    for model, more in (
        ({"template": "cnn"}, {}),
        ({"template": "mlp", "hidden": [8]}, {"clipping": "adaptive"}),
        ({"template": "mlp", "hidden": [8]}, {"engine": "opacus"}),
    ):
        found = rehearse(card(table, unit), request(features=image, model=model, recipe=RECIPE | more), steps=2)
        assert found.failed_checks == ()
        assert set(found.release.predict(card(table, unit).dummy(4))) <= {"a", "b", "c"}
