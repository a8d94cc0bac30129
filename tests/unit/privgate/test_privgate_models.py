"""Models on the trainer's machine: the same figures as the gateway's, from the base install alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest

from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, PrivgateError
from privacy.graph.forward import forward, sigmoid
from privacy.graph.weights import NamedArrays, pack_weights, unpack_weights
from privacy.ingest.findings import Findings
from privacy.ingest.formats import Rule
from privacy.ingest.records import RawBatch
from privacy.ingest.validate import Validator
from privacy.jobs.features import FeatureSpec
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder as GatewayEncoder
from privgate.cells import out_of_bounds, read_cell
from privgate.encoding import RowEncoder
from privgate.models import Model

SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {
                "name": "age",
                "kind": "numeric",
                "low": "0",
                "high": "100",
                "clamp": True,
                "missing": ["n/a"],
                "fill": "40",
            },
            {"name": "gain", "kind": "numeric", "low": "0", "high": "5000"},
            {
                "name": "sex",
                "kind": "categorical",
                "categories": ["F", "M", "not-listed"],
                "missing": ["?"],
                "fill": "M",
            },
            {"name": "grade", "kind": "ordinal", "categories": ["low", "mid", "high"]},
            {"name": "smoker", "kind": "boolean", "missing": ["-"], "fill": "false"},
            {"name": "ill", "kind": "categorical", "categories": ["no", "yes"]},
        ]
    }
)
FEATURES: dict[str, Any] = {
    "v": 1,
    "columns": [
        {"column": "age", "transform": "scale"},
        {"column": "age", "transform": "bins", "edges": ["18", "65"]},
        {"column": "gain", "transform": "log"},
        {"column": "gain", "transform": "scale", "low": "10", "high": "200.5"},
        {"column": "sex", "transform": "one-hot"},
        {"column": "grade", "transform": "ordinal"},
        {"column": "grade", "transform": "one-hot"},
        {"column": "smoker", "transform": "boolean"},
    ],
    "label": {"column": "ill", "encoding": "positive", "category": "yes"},
}
RECIPE = {
    "sampling_rate": "0.5", "steps": 4, "clip": "1", "learning_rate": "1", "schedule": "constant", "momentum": "0",
    "weight_decay": "0", "averaging": "none", "clipping": "flat", "engine": "auto",
}  # fmt: skip
CELLS: Mapping[str, Sequence[str]] = {
    "age": ["0", "18", " 64.9 ", "65", "100", "n/a", "", "1e1", "-3", "250", ".5", "+7."],
    "gain": ["0", "10", "200.5", "5000", "12.25", "3e3"],
    "sex": ["F", "M", " F", "?", "", "not-listed"],
    "grade": ["low", "mid", "high"],
    "smoker": ["true", "False", "1", "0", "yes", "NO", "-", ""],
    "ill": ["yes", "no"],
}
BROKEN: Mapping[str, Sequence[str]] = {
    "age": ["x", "nan", "inf", "1_0", "0x10", "1e999", "--1"],
    "gain": ["", "-1", "5001", "NaN", "12,5"],
    "sex": ["f", "W"],
    "grade": ["", "Low", "LOW", "highest"],
    "smoker": ["maybe", "2", "tRUE"],
    "ill": ["", "maybe"],
}


def rows(count: int) -> list[dict[str, str]]:
    """Rows."""
    draw = np.random.default_rng(7)
    return [{name: str(draw.choice(cells)) for name, cells in CELLS.items()} for _ in range(count)]


def request_of(model: Mapping[str, Any], features: Mapping[str, Any] = FEATURES) -> dict[str, Any]:
    """Request of."""
    scaled = features["label"]["encoding"] == "scaled"
    return {
        "v": 1, "kind": "training", "dataset": "dst_" + "a" * 26, "purpose": "research", "epsilon": "1",
        "model": dict(model), "features": dict(features), "loss": "squared" if scaled else "logistic", "recipe": RECIPE,
    }  # fmt: skip


def weights_for(request: Mapping[str, Any]) -> bytes:
    """Weights for."""
    from privacy.jobs.spec import TrainingSpec

    graph = TrainingSpec.from_json(request).model_graph(SCHEMA).graph
    draw = np.random.default_rng(11)
    return pack_weights(graph, {weight.name: draw.normal(size=weight.shape) for weight in graph.weights})


def sealed(raw: Sequence[Mapping[str, str]]) -> Any:
    """The rows as the gateway seals them."""
    columns = {column.name: pa.array([row[column.name] for row in raw]) for column in SCHEMA.columns}
    batch = Validator(SCHEMA, Findings()).check(RawBatch(1, columns, len(raw)))
    assert batch is not None
    return batch


def test_rows_are_encoded_as_the_gateway_encodes_them() -> None:
    """Value by value, for every transform, with missing, clamped and padded cells among them."""
    raw, spec = rows(400), FeatureSpec.from_json(FEATURES)
    ours = RowEncoder(spec, SCHEMA)
    theirs = GatewayEncoder(spec, SCHEMA).encode(sealed(raw))
    assert theirs.alive.all()
    np.testing.assert_allclose([ours.encode(row) for row in raw], theirs.features, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal([ours.target(row) for row in raw], theirs.targets)


def test_a_limit_on_a_rows_norm_is_the_gateways() -> None:
    """A limit on a rows norm is the gateways."""
    raw, spec = rows(50), FeatureSpec.from_json(FEATURES | {"row_norm": "0.75"})
    theirs = GatewayEncoder(spec, SCHEMA).encode(sealed(raw)).features
    np.testing.assert_allclose([RowEncoder(spec, SCHEMA).encode(row) for row in raw], theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("column", "cell"), [(name, cell) for name, cells in BROKEN.items() for cell in cells])
def test_a_cell_that_the_gateway_refuses_breaks_the_same_rule_here(column: str, cell: str) -> None:
    """A cell that the gateway refuses breaks the same rule here."""
    good = dict(zip(CELLS, (cells[0] for cells in CELLS.values()), strict=True))
    findings = Findings()
    columns = {name: pa.array([cell if name == column else value]) for name, value in good.items()}
    assert Validator(SCHEMA, findings).check(RawBatch(1, columns, 1)) is None
    declared = SCHEMA.column(column)
    read = read_cell(declared, cell)
    ours = read if isinstance(read, Rule) else Rule.OUT_OF_BOUNDS if out_of_bounds(declared, read) else None
    assert [problem.rule for problem in findings._problems] == [ours]


def test_a_data_frame_is_read_as_its_rows() -> None:
    """Of pandas, with whatever it means by missing, and of Arrow; integers stay what they are."""
    request = request_of({"template": "logistic"})
    model = Model.open(weights_for(request), request, SCHEMA)
    given: dict[str, list[Any]] = {
        "age": [18, 64, None], "gain": [10.0, 200.5, 3.0], "sex": ["F", None, "M"], "grade": ["low", "mid", "high"],
        "smoker": [True, None, False],
    }  # fmt: skip
    expected = model.scores([dict(zip(given, values, strict=True)) for values in zip(*given.values(), strict=True)])
    assert None not in expected
    frame = pandas.DataFrame(given)
    assert model.scores(frame) == model.scores(frame.convert_dtypes()) == model.scores(pa.table(given)) == expected
    assert model.predict(frame.assign(gain=[1, 2, float("nan")]))[2] is None


@pytest.mark.parametrize("column", ["gain", "grade"])
def test_a_row_without_a_needed_value_gets_no_prediction(column: str) -> None:
    """`None` stands for it, and the rows around it keep their places."""
    request = request_of({"template": "logistic"})
    raw = rows(3)
    raw[1][column] = ""
    scores = Model.open(weights_for(request), request, SCHEMA).scores(raw)
    assert [score is None for score in scores] == [False, True, False]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "list of rows"),
        ({"gain": 1}, "list of rows"),
        ("secretvalue", "list of rows"),
        (7, "list of rows"),
        (["secretvalue"], "row 0"),
        ([{}, [1, 2]], "row 1"),
    ],
    ids=["nothing", "a row", "a text", "a number", "names", "a list"],
)
def test_what_are_no_rows_is_refused_in_words(given: Any, told: str) -> None:
    """By whatever reads rows; the sentence says what to give and repeats no value."""
    request = request_of({"template": "logistic"})
    model = Model.open(weights_for(request), request, SCHEMA)
    for read in (model.predict, model.probabilities, model.scores, model.outputs, model.targets, model.evaluate):
        with pytest.raises(InvalidError, match=told) as refused:
            read(given)
        assert refused.value.field == "rows"
        assert "secretvalue" not in refused.value.message


MODELS = [
    {"template": "logistic"},
    {"template": "mlp", "hidden": [5], "activation": "relu"},
    {"template": "mlp", "hidden": [4, 3], "activation": "tanh"},
    {"template": "mlp", "hidden": [6], "activation": "gelu"},
]


@pytest.mark.parametrize("template", MODELS, ids=lambda m: f"{m['template']}-{m.get('activation')}")
def test_scores_are_those_of_the_gateways_forward_pass(template: dict[str, Any]) -> None:
    """Scores are those of the gateways forward pass."""
    raw, request = rows(60), request_of(template)
    artifact = weights_for(request)
    model = Model.open(artifact, request, SCHEMA)
    encoded = GatewayEncoder(model.spec.features, SCHEMA).encode(sealed(raw)).features
    theirs = forward(model.graph, unpack_weights(model.graph.graph, artifact), encoded)[:, 0]
    np.testing.assert_allclose(np.array(model.scores(raw), float), theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.array(model.probabilities(raw), float), sigmoid(theirs), rtol=1e-5, atol=1e-5)
    assert model.predict(raw) == [bool(score >= 0) for score in theirs]


def test_a_scaled_target_is_predicted_in_its_own_unit() -> None:
    """A scaled target is predicted in its own unit."""
    label = {"column": "age", "encoding": "scaled", "low": "20", "high": "60"}
    features = {"v": 1, "columns": [{"column": "gain", "transform": "scale"}], "label": label}
    request = request_of({"template": "linear"}, features)
    from privacy.jobs.spec import TrainingSpec

    graph = TrainingSpec.from_json(request).model_graph(SCHEMA).graph
    artifact = pack_weights(graph, {"score.weight": np.ones((1, 1)), "score.bias": np.zeros(1)})
    model = Model.open(artifact, request, SCHEMA)
    assert model.predict([{"gain": "0"}, {"gain": "2500"}, {"gain": "5000"}, {"gain": ""}]) == [20.0, 40.0, 60.0, None]
    with pytest.raises(InvalidError):
        model.probabilities([{"gain": "0"}])


def test_the_area_under_the_curve_is_the_chance_of_the_right_order() -> None:
    """Compared with all pairs, one by one; ties count half."""
    request = request_of({"template": "logistic"})
    model, raw = Model.open(weights_for(request), request, SCHEMA), rows(120)
    found = model.evaluate(raw)
    scores, targets = np.array(model.scores(raw), float), np.array(model.targets(raw), float)
    pairs = scores[targets == 1][:, None] - scores[targets == 0][None, :]
    assert found["auc"] == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert found["accuracy"] == pytest.approx(((scores >= 0) == (targets == 1)).mean())
    assert found["rows"] == found["scored"] == 120
    with pytest.raises(InvalidError, match="both classes"):
        model.evaluate([row for row in raw if row["ill"] == "yes"])


def test_a_row_that_cannot_be_scored_counts_as_wrong() -> None:
    """A row that cannot be scored counts as wrong."""
    request = request_of({"template": "logistic"})
    model, raw = Model.open(weights_for(request), request, SCHEMA), rows(20)
    before = model.evaluate(raw)
    after = model.evaluate([*raw, raw[0] | {"gain": ""}])
    assert (after["rows"], after["scored"]) == (21, 20)
    assert after["accuracy"] == pytest.approx(before["accuracy"] * 20 / 21)


def test_only_the_graph_and_features_of_the_certificate_are_opened() -> None:
    """Only the graph and features of the certificate are opened."""
    request = request_of({"template": "logistic"})
    artifact, other = weights_for(request), Digest.of(b"other")
    model = Model.open(artifact, request, SCHEMA)
    known = {"graph": model.graph.graph.digest, "features": model.spec.features.digest}
    assert Model.open(artifact, request, SCHEMA, **known).weights == model.weights
    for name in known:
        with pytest.raises(InvalidError, match="certificate"):
            Model.open(artifact, request, SCHEMA, **{**known, name: other})


def test_weights_of_another_graph_are_refused() -> None:
    """Weights of another graph are refused."""
    request = request_of({"template": "logistic"})
    with pytest.raises(InvalidError, match="another model graph"):
        Model.open(weights_for(request_of(MODELS[1])), request, SCHEMA)


def test_damaged_weights_are_refused() -> None:
    """Every cut, every longer file, and every flipped bit of the header."""
    request = request_of({"template": "logistic"})
    artifact = weights_for(request)
    header = 8 + int.from_bytes(artifact[:8], "little")
    damaged = [artifact[:n] for n in (0, 7, 8, header - 1, header, len(artifact) - 1)] + [artifact + b"\0"]
    for place in range(header):
        # White space in the padding may become other white space: the same JSON, and so the same weights.
        damaged.append(artifact[:place] + bytes([artifact[place] ^ 0x40]) + artifact[place + 1 :])
    for data in damaged:
        with pytest.raises(PrivgateError):
            Model.open(data, request, SCHEMA)


def test_weights_that_are_not_finite_or_of_another_type_are_refused() -> None:
    """Weights that are not finite or of another type are refused."""
    request = request_of({"template": "logistic"})
    artifact = weights_for(request)
    graph = Model.open(artifact, request, SCHEMA).graph.graph
    arrays = unpack_weights(graph, artifact)
    texts = {"format": "privgate/weights/v1", "graph": str(graph.digest)}
    infinite = {name: np.full_like(array, np.inf) for name, array in arrays.items()}
    with pytest.raises(InvalidError, match="finite"):
        Model.open(NamedArrays(arrays=infinite, texts=texts).to_bytes(), request, SCHEMA)
    doubles = {name: array.astype(np.float64) for name, array in arrays.items()}
    with pytest.raises(CorruptError):
        Model.open(NamedArrays(arrays=doubles, texts=texts).to_bytes(), request, SCHEMA)


def test_in_torch_the_model_gives_the_same_scores() -> None:
    """In torch the model gives the same scores."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    request = request_of(MODELS[2])
    model, raw = Model.open(weights_for(request), request, SCHEMA), rows(20)
    encoded = GatewayEncoder(model.spec.features, SCHEMA).encode(sealed(raw)).features
    with torch.no_grad():
        theirs = model.to_torch()(torch.from_numpy(encoded))[:, 0].numpy()
    np.testing.assert_allclose(np.array(model.scores(raw), float), theirs, rtol=1e-4, atol=1e-4)
