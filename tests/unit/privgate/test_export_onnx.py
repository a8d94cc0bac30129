"""Files from raw columns to probabilities: an independent runtime predicts what the SDK predicts, row by row."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest

from kernel.canonical import Digest
from kernel.errors import InvalidError
from privacy.graph.to_onnx import StoredWeights
from privacy.graph.weights import NamedArrays
from privacy.schema import TableSchema
from privgate.export.rows import onnx_inputs
from privgate.export.writing import Scorer, graph_of, model_of
from privgate.models import Model
from privgate.scoring import arrays_of
from tests.support.graphs import PICTURES, SENTENCES, small_network
from tests.support.scored import COLUMNS, DAYS, ILL, KIND, MIXED, model_on, rows


def scorer_of(model: Model, weights: StoredWeights | None = None) -> Scorer:
    """What its file computes."""
    stored = weights or StoredWeights(values=arrays_of(model.graph, model.weights))
    return Scorer(features=model.spec.features, schema=model.schema, graph=model.graph, weights=stored)


def run(scorer: Scorer, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the runtime answers, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    content = model_of(graph_of(scorer), {}).SerializeToString()
    session = onnxruntime.InferenceSession(content, options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def answers(model: Model, given: list[dict[str, Any]]) -> dict[str, Any]:
    """The file's answers to rows."""
    return run(scorer_of(model), onnx_inputs(model.spec.features, model.schema, given))


MODELS = [{"template": "logistic"}, {"template": "mlp", "hidden": [7, 5], "activation": "gelu"}]


@pytest.mark.parametrize("template", MODELS, ids=lambda m: m["template"])
@pytest.mark.parametrize("more", [{}, {"row_norm": "0.75"}], ids=["free", "bounded"])
def test_a_binary_model_answers_as_the_sdk(template: dict[str, Any], more: dict[str, Any]) -> None:
    """Five thousand rows: missing, filled, unlisted, unreadable, clamped and out of range."""
    model, given = model_on(MIXED, template, COLUMNS, ILL, **more), rows(5000)
    expected = model.probabilities(given)
    found = answers(model, given)
    assert list(found["scorable"]) == [p is not None for p in expected]
    assert 1000 < sum(p is not None for p in expected) < 4500
    known = found["scorable"]
    np.testing.assert_allclose(
        found["probability_"][known], np.array([p for p in expected if p is not None]), rtol=1e-4, atol=1e-6
    )
    assert np.isnan(found["probability_"][~known]).all()
    assert np.isnan(found["scores"][~known]).all()


def test_an_output_that_is_named_as_a_column_gets_a_line() -> None:
    """`probability` is a column here; an output of that name could not be told from it."""
    model = model_on(MIXED, MODELS[0], COLUMNS, ILL)
    assert {"scorable", "scores", "probability_"} == set(answers(model, rows(3)))
    plain = model_on(MIXED, MODELS[0], COLUMNS[:-1], ILL)
    assert "probability" in answers(plain, rows(3))


def test_several_classes_are_named_and_shared() -> None:
    """The likeliest by name, and a share for each."""
    model, given = model_on(MIXED, {"template": "mlp", "hidden": [6], "activation": "relu"}, COLUMNS, KIND), rows(2000)
    found, expected = answers(model, given), model.probabilities(given)
    assert [name or None for name in found["prediction"]] == model.predict(given)
    for shares, wanted in zip(found["probabilities"], expected, strict=True):
        assert np.isnan(shares).all() if wanted is None else np.allclose(shares, list(wanted.values()), atol=1e-6)


def test_a_number_comes_in_its_own_unit() -> None:
    """Between the label's own bounds."""
    model, given = model_on(MIXED, {"template": "linear"}, COLUMNS, DAYS), rows(2000)
    expected = np.array([np.nan if p is None else p for p in model.predict(given)])
    np.testing.assert_allclose(answers(model, given)["prediction"], expected, rtol=1e-5, atol=1e-4)


def test_plain_arrays_are_enough() -> None:
    """No row of ours is needed: numbers, texts, NaN for a missing number, an empty text for a missing one."""
    model = model_on(MIXED, MODELS[0], COLUMNS[:9], ILL)
    found = run(
        scorer_of(model),
        {
            "age": np.array([30.0, np.nan, 30.0]),
            "gain": np.array([100.0, 100.0, np.nan]),
            "sex": np.array(["F", "", "F"], dtype=object),
            "grade": np.array(["low", "low", "low"], dtype=object),
            "smoker": np.array(["true", "", "false"], dtype=object),
        },
    )
    said = [{"age": 30, "gain": 100, "sex": "F", "grade": "low", "smoker": True}, {"gain": 100, "grade": "low"}]
    np.testing.assert_allclose(found["probability"][:2], model.probabilities(said), rtol=1e-5)
    assert list(found["scorable"]) == [True, True, False]


@pytest.mark.parametrize("int8", [False, True])
def test_a_network_on_pictures_answers_as_the_sdk(int8: bool) -> None:
    """Convolution and normalisation; eight bits change a probability by a hundredth or so."""
    label = {"column": "kind", "encoding": "classes"}
    model = model_on(PICTURES, {"graph": small_network()}, [{"column": "picture", "transform": "scale"}], label)
    draw = np.random.default_rng(2)
    given = [{"picture": draw.integers(-20, 300, 36).tolist()} for _ in range(300)]
    expected = np.array([list(shares.values()) for shares in model.probabilities(given)])
    arrays = arrays_of(model.graph, model.weights)
    stored = StoredWeights.quantised(model.graph, arrays) if int8 else None
    found = run(scorer_of(model, stored), onnx_inputs(model.spec.features, model.schema, given))["probabilities"]
    assert np.abs(found - expected).max() <= (0.15 if int8 else 1e-5)
    assert np.abs(found - expected).mean() <= (0.02 if int8 else 1e-6)


def test_tokens_are_looked_up_as_the_sdk_does() -> None:
    """Rounded, halves to even, and moved into the vocabulary."""
    template = {"template": "transformer", "vocabulary": 50, "length": 8, "dim": 8, "heads": 2, "layers": 1,
                "activation": "gelu"}  # fmt: skip
    label = {"column": "tone", "encoding": "classes"}
    model = model_on(SENTENCES, template, [{"column": "words", "transform": "tokens"}], label)
    draw = np.random.default_rng(2)
    given = [{"words": (draw.integers(-4, 120, 8) / 2).tolist()} for _ in range(200)]
    expected = np.array([list(shares.values()) for shares in model.probabilities(given)])
    np.testing.assert_allclose(answers(model, given)["probabilities"], expected, rtol=1e-3, atol=1e-5)


SCATTERINGS: list[dict[str, Any]] = [
    {"image": [16, 16], "scales": 2, "angles": 4, "order": 2, "norm": "group", "groups": 5},
    {"image": [17, 20], "scales": 3, "angles": 3, "order": 2, "norm": "none"},
    {"image": [2, 16, 16], "scales": 1, "angles": 2, "order": 1, "norm": "group", "groups": 2},
]


@pytest.mark.parametrize("scattering", SCATTERINGS, ids=lambda s: "x".join(map(str, s["image"])))
def test_a_scattering_transform_is_in_the_file(scattering: dict[str, Any]) -> None:
    """The extractor is part of the way from raw columns to probabilities."""
    side = scattering["image"]
    schema = TableSchema.from_json(
        {
            "columns": [
                {"name": "scan", "kind": "tensor", "low": "0", "high": "255", "shape": side},
                {"name": "ill", "kind": "boolean"},
            ]
        }
    )
    label = {"column": "ill", "encoding": "positive", "category": "true"}
    extractor = {"kind": "scattering", **scattering}
    columns = [{"column": "scan", "transform": "scale"}]
    model = model_on(schema, {"template": "logistic"}, columns, label, extractor=extractor, row_norm="5")
    draw = np.random.default_rng(4)
    given = [{"scan": draw.integers(0, 256, side)} for _ in range(40)]
    given[7]["scan"] = np.full(side, np.inf)
    expected = np.array([np.nan if p is None else p for p in model.probabilities(given)])
    assert np.isnan(expected).sum() == 1
    np.testing.assert_allclose(answers(model, given)["probability"], expected, rtol=1e-3, atol=1e-5)


def test_a_frozen_encoder_is_in_the_file() -> None:
    """A graph with its own weights before the model, and a bound on the row behind it."""
    own = small_network(outputs=5)
    for each in own["weights"]:
        each["init"] = {"rule": "given"}
    draw = np.random.default_rng(8)
    arrays = {w["name"]: draw.normal(size=w["shape"]).astype(np.float32) for w in own["weights"]}
    packed = base64.b64encode(NamedArrays(arrays=arrays).to_bytes()).decode()
    extractor = {"kind": "graph", "graph": own, "weights": packed}
    columns = [{"column": "picture", "transform": "scale"}]
    label = {"column": "kind", "encoding": "positive", "category": "top"}
    model = model_on(PICTURES, {"template": "logistic"}, columns, label, extractor=extractor, row_norm="2")
    given = [{"picture": draw.integers(0, 256, 36).tolist()} for _ in range(100)]
    np.testing.assert_allclose(answers(model, given)["probability"], model.probabilities(given), rtol=1e-4, atol=1e-5)


def test_the_bytes_of_a_format_version_do_not_change() -> None:
    """A reader writes a file again and compares: another way of writing is another version, beside this one."""
    model = model_on(MIXED, MODELS[1], COLUMNS, ILL, row_norm="2")
    sizes = {weight.name: weight.shape for weight in model.graph.graph.weights}
    plain = {
        name: (np.arange(int(np.prod(shape))).reshape(shape) % 13 - 6).astype(np.float32) / 8
        for name, shape in sizes.items()
    }
    golden = {
        "floats": (StoredWeights(values=plain), "3a50a1d4f17589566f3864e2a8ef660ab37075aa9344d1dd810206451e96f998"),
        "int8": (
            StoredWeights.quantised(model.graph, plain, {"layer2": 0.0078125}),
            "31fcd1d57fae3516744b3fe8824470f8d1e6da93558f935ad3e26e7c10feb27c",
        ),
    }
    for name, (stored, digest) in golden.items():
        content = model_of(graph_of(scorer_of(model, stored)), {"privgate.format": "x"}).SerializeToString(
            deterministic=True
        )
        assert Digest.of(content).hex == digest, name


def test_a_column_cannot_take_a_name_of_the_files_own() -> None:
    """Names inside a file begin with a mark of its own."""
    columns = [{"name": "privgate/x", "kind": "numeric", "low": "0", "high": "1"}, {"name": "y", "kind": "boolean"}]
    schema = TableSchema.from_json({"columns": columns})
    label = {"column": "y", "encoding": "positive", "category": "true"}
    model = model_on(schema, MODELS[0], [{"column": "privgate/x", "transform": "scale"}], label)
    with pytest.raises(InvalidError, match="input of a file"):
        graph_of(scorer_of(model))
