"""What is made of a released model: smaller ones, how much they still know, and the record of how."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from kernel.canonical import Digest
from kernel.errors import ConflictError, CorruptError, InvalidError
from kernel.ids import ReleaseId
from privacy.graph.weights import unpack_weights
from privacy.schema import TableSchema
from privgate.demo.tables import declared, own_rows, write_table
from privgate.derive.derived import Derived, stored_result
from privgate.derive.lineage import Lineage, PublicRows
from privgate.derive.papers import Papers
from privgate.export.rows import onnx_inputs
from privgate.models import Model
from privgate.scoring import arrays_of, model_rows
from tests.support.scored import COLUMNS, DAYS, ILL, KIND, MIXED, model_on, rows
from tests.support.sources import ROOT

DATA = Path(os.environ.get("PRIVGATE_TEST_DATA", ROOT / "../shared/data"))
MLP = {"template": "mlp", "hidden": [16, 8], "activation": "tanh"}


def derived(model: Model) -> Derived:
    """A model as if it had just been fetched; its papers are not looked at here."""
    some = Digest.of(b"certificate")
    release = ReleaseId("rel_" + "a" * 26)
    lineage = Lineage(
        release=release, certificate=some, artifact=some, graph=model.graph.graph.digest, result=stored_result(model)
    )
    return Derived(model=model, papers=Papers(certificate=b"{}", receipt=b"", card=b"# Card"), lineage=lineage)


def zeros(model: Model) -> int:
    """How many of the layers' weights are zero."""
    return sum(int((a == 0).sum()) for name, a in arrays_of(model.graph, model.weights).items() if a.ndim > 1)


def test_pruning_takes_the_smallest_weights_of_all_layers() -> None:
    """Exactly the share that was asked for; what is left is what it was, and biases are left alone."""
    before = derived(model_on(MIXED, MLP, COLUMNS, ILL))
    after = before.pruned("0.4")
    old, new = (arrays_of(d.model.graph, d.model.weights) for d in (before, after))
    layers = [name for name, array in old.items() if array.ndim > 1]
    total = sum(old[name].size for name in layers)
    assert zeros(after.model) == int(0.4 * total)
    gone = np.concatenate([np.abs(old[n][new[n] == 0]) for n in layers])
    left = np.concatenate([np.abs(old[n][new[n] != 0]) for n in layers])
    assert gone.max() <= left.min()
    assert all((new[n][new[n] != 0] == old[n][new[n] != 0]).all() for n in layers)
    assert all((new[n] == old[n]).all() for n in set(old) - set(layers))
    (step,) = after.lineage.steps
    assert (step["share"], step["kept"]) == ("0.4", total - int(0.4 * total))
    assert before.lineage.steps == ()


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, "half", float("nan"), float("inf")])
def test_a_share_lies_between_nothing_and_everything(share: Any) -> None:
    """The field is named."""
    with pytest.raises(InvalidError) as refused:
        derived(model_on(MIXED, MLP, COLUMNS, ILL)).pruned(share)
    assert refused.value.field == "share"


@pytest.mark.parametrize("label", [ILL, KIND, DAYS], ids=["binary", "classes", "number"])
def test_a_student_learns_its_teachers_answers(label: dict[str, Any]) -> None:
    """Of every kind of target, on rows without labels; the same seed gives the same student."""
    template = MLP
    teacher = derived(model_on(MIXED, template, COLUMNS, label))
    public, fresh = rows(1500, seed=1), rows(400, seed=2)
    lessons: dict[str, Any] = {"model": {"template": "mlp", "hidden": [24], "activation": "relu"}, "steps": 400}
    student = teacher.distilled(public, **lessons)
    want, found = (
        np.array([centred(o) for o in d.model.outputs(fresh) if o is not None]).ravel() for d in (teacher, student)
    )
    assert np.corrcoef(want, found)[0, 1] > 0.9
    assert student.lineage.result == teacher.distilled(public, **lessons).lineage.result
    assert student.lineage.result != teacher.distilled(public, seed=1, **lessons).lineage.result
    (step,) = student.lineage.steps
    assert step["graph"] == student.model.graph.graph.digest != teacher.lineage.graph
    assert step["rows"]["count"] == 1500


def centred(outputs: list[float]) -> list[float]:
    """Scores of several classes say the same when all are moved alike."""
    return outputs if len(outputs) == 1 else [o - sum(outputs) / len(outputs) for o in outputs]


def test_a_student_without_a_name_is_the_plain_model_of_its_target() -> None:
    """As in a request."""
    student = derived(model_on(MIXED, MLP, COLUMNS, KIND)).distilled(rows(200), steps=5, origin="dummy")
    assert [node.op for node in student.model.graph.graph.nodes] == ["linear"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"rows": []}, "rows"),
        ({"rows": [{"age": "x"}]}, "rows"),
        ({"origin": "the ward"}, "origin"),
        ({"steps": 0}, "steps"),
        ({"speed": 3}, "steps"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"model": "softmax"}, "template"),
        ({"model": {"template": "mlp"}}, "hidden"),
    ],
    ids=str,
)
def test_what_cannot_be_taught_is_said(wrong: dict[str, Any], field: str) -> None:
    """Before anything is trained."""
    teacher = derived(model_on(MIXED, MLP, COLUMNS, ILL))
    with pytest.raises(InvalidError) as refused:
        teacher.distilled(wrong.pop("rows", rows(50)), **wrong)
    assert refused.value.field == field


def test_a_derived_model_is_written_with_its_papers_and_record(tmp_path: Path) -> None:
    """Weights that any reader of safetensors opens, and nothing that is there already is written over."""
    small = derived(model_on(MIXED, MLP, COLUMNS, ILL)).pruned(0.5)
    written = {path.name: path for path in small.save(tmp_path / "small")}
    assert set(written) == {
        "model.safetensors", "graph.json", "features.json", "lineage.json", "certificate.json", "receipt.tlog-proof",
        "MODEL_CARD.md",
    }  # fmt: skip
    arrays = unpack_weights(small.model.graph.graph, written["model.safetensors"].read_bytes())
    assert sum(int((a == 0).sum()) for a in arrays.values() if a.ndim > 1) == zeros(small.model)
    assert Lineage.from_bytes(written["lineage.json"].read_bytes()) == small.lineage
    small.save(tmp_path / "small")
    with pytest.raises(ConflictError):
        small.pruned(0.9).save(tmp_path / "small")


def test_a_record_is_read_strictly() -> None:
    """Every member, every step's members, and the sentences; anything else is no record."""
    small = derived(model_on(MIXED, MLP, COLUMNS, ILL)).pruned(0.5)
    written = small.lineage.to_bytes()
    assert Lineage.from_bytes(written) == small.lineage
    for old, new in (
        (b"privgate/lineage/v1", b"privgate/lineage/v9"),
        (b'"step":"prune"', b'"step":"melt"'),
        (b'"kept":', b'"kept_":'),
        (b"no row of anybody", b"some rows of somebody"),
        (b"rel_", b"job_"),
        (b"{", b" {"),
    ):
        assert old in written
        with pytest.raises(CorruptError):
            Lineage.from_bytes(written.replace(old, new, 1))


def test_rows_have_one_digest_however_they_are_held() -> None:
    """Numbers of a library and plain ones are the same rows; a changed cell is another."""
    one = PublicRows.of([{"a": 1.5, "b": [1, 2], "c": None}], "public")
    assert one == PublicRows.of([{"a": np.float64(1.5), "b": np.array([1, 2]), "c": None}], "public")
    assert one.digest != PublicRows.of([{"a": 1.5, "b": [1, 3], "c": None}], "public").digest


@pytest.fixture(scope="module")
def adult(tmp_path_factory: pytest.TempPathFactory) -> tuple[Derived, list[dict[str, str]]]:
    """A perceptron that learned Adult's labels, and rows of the published test split, which are public."""
    if not (DATA / "adult" / "adult.data.gz").exists():
        pytest.skip("needs the real data in PRIVGATE_TEST_DATA")
    table = declared("adult")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRIVGATE_TEST_DATA", str(DATA))
        path = tmp_path_factory.mktemp("adult") / "train.csv"
        write_table(table, path)
        test = own_rows(table)
    with path.open(newline="", encoding="utf-8") as file:
        train = list(csv.DictReader(file))[:6000]
    assert test is not None
    features = dict(table.training["features"])
    schema = TableSchema.from_json(table.schema)
    start = model_on(schema, MLP, features["columns"], features["label"])
    return derived(fitted(start, train)), test[:4000]


def fitted(model: Model, train: list[dict[str, str]]) -> Model:
    """The model with weights that learned the labels: certain teachers make a student of them."""
    from privgate.derive.distilling import Lessons, distilled

    target = model.spec.features.label.target
    known = [row for row, scored in zip(train, model.encoded(train), strict=True) if scored is not None]
    labels = np.array([[8.0 if t else -8.0] for t in model.targets(known)])
    read = model_rows(model.spec.features, model.schema, known)
    weights = distilled(model.graph, None, read, labels, target, Lessons(steps=600, learning_rate=0.005))
    return model.with_weights(model.spec, model.graph, weights)


def test_on_adult_smaller_models_know_nearly_as_much(
    adult: tuple[Derived, list[dict[str, str]]], tmp_path: Path
) -> None:
    """AUC on the published test split, before and after: eight bits (both ways), half the weights gone, a student."""
    whole, test = adult
    public, held = test[:2000], test[2000:]
    before = whole.evaluate(held)["auc"]
    assert before > 0.88
    student = whole.distilled(public, model={"template": "mlp", "hidden": [4], "activation": "tanh"}, steps=600)
    assert abs(whole.pruned("0.5").evaluate(held)["auc"] - before) < 0.02
    assert abs(student.evaluate(held)["auc"] - before) < 0.02
    size = whole.export_onnx(tmp_path / "whole.onnx").size
    for name, calibrate in (("row", None), ("calibrated", public[:500])):
        small = whole.export_onnx(tmp_path / f"{name}.onnx", int8=True, calibrate=calibrate)
        session = onnxruntime.InferenceSession(small.path)
        inputs = onnx_inputs(whole.model.spec.features, whole.model.schema, held)
        said = session.run(["probability"], inputs)[0]
        assert abs(area(said, np.array(whole.model.targets(held))) - before) < 0.004, name
        assert small.size < size


def area(scores: Any, targets: Any) -> float:
    """The chance of the right order; ties count half."""
    pairs = scores[targets == 1][:, None] - scores[targets == 0][None, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())
