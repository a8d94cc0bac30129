"""Several classes and tokens: encoded alike in the child and at the trainer's, counted row by row, reported anew."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel import canonical
from kernel.errors import InvalidError
from privacy.evaluation.design import Design
from privacy.evaluation.report import evaluation_bytes, evaluation_json, read_evaluation
from privacy.evaluation.runner import wanted_of
from privacy.evaluation.scoring import Wanted, count_rows
from privacy.graph.forward import forward
from privacy.jobs.features import FeatureSpec
from privacy.training.extract import Extraction
from privacy.training.rows import RowEncoder, Rows
from privgate.encoding import RowEncoder as OwnEncoder
from tests.support import graphs, jobs

TOKENS = FeatureSpec.from_json(
    {
        "v": 1,
        "columns": [{"column": "words", "transform": "tokens"}],
        "label": {"column": "tone", "encoding": "classes"},
    }
)
TRAINED = jobs.spec(None, graphs.PICTURES, label="kind", model={"graph": graphs.small_network()})
MODEL = TRAINED.model_graph(graphs.PICTURES)


def _wanted(bins: int) -> Wanted:
    return wanted_of(jobs.evaluation_plan(TRAINED.features, graphs.PICTURES, bins=bins))


def test_tokens_are_whole_numbers_in_range_and_a_class_is_its_place() -> None:
    """Rounded to even, moved into range; a missing word or an unlisted tone makes the row dead."""
    words = [[0, 49, 2.5, 3.5, 7, 7.4, 60, -3], [1] * 8, [1] * 7, None, [1] * 8, [float("nan")] + [1] * 7]
    tones = ["cross", "calm", "glad", "glad", "loud", "calm"]
    table = pa.table({"words": pa.array(words, pa.list_(pa.float64())), "tone": pa.array(tones)})
    rows = RowEncoder(TOKENS, graphs.SENTENCES).encode(table)
    assert rows.alive.tolist() == [True, True, False, False, False, False]
    assert rows.features[0].tolist() == [0, 49, 2, 4, 7, 7, 49, 0]
    assert rows.targets.tolist() == [2, 0, 0, 0, 0, 0]


def test_the_trainers_own_encoder_gives_the_same_numbers() -> None:
    """Tokens and class places, and nothing for what the gateway would not read."""
    own = OwnEncoder(TOKENS, graphs.SENTENCES)
    draw = np.random.default_rng(2)
    words = (draw.integers(0, 99, size=(50, 8)) / 2).tolist()
    tones = draw.choice(["calm", "glad", "cross"], 50).tolist()
    table = pa.table({"words": pa.array(words, pa.list_(pa.float64())), "tone": pa.array(tones)})
    theirs = RowEncoder(TOKENS, graphs.SENTENCES).encode(table)
    raw = [{"words": w, "tone": t} for w, t in zip(words, tones, strict=True)]
    assert [own.encode(row) for row in raw] == theirs.features.tolist()
    assert [own.target(row) for row in raw] == theirs.targets.tolist()
    assert own.encode({"words": [1] * 7}) is None
    assert own.target({"tone": "loud"}) is None


@pytest.mark.parametrize(("low", "high"), [("1", "49"), ("0", "49.5"), ("0", "2000000"), ("-1", "3")])
def test_tokens_need_whole_bounds_from_zero(low: str, high: str) -> None:
    """The declared bounds say how many tokens there are."""
    schema = graphs.SENTENCES.to_json()
    schema["columns"][0] |= {"low": low, "high": high}
    with pytest.raises(InvalidError, match="tokens") as refused:
        TOKENS.check(type(graphs.SENTENCES).from_json(schema))
    assert refused.value.field == "words"


SCATTERED = {
    "v": 1,
    "columns": [{"column": "picture", "transform": "scale"}],
    "label": {"column": "kind", "encoding": "classes"},
    "extractor": {
        "kind": "scattering", "image": [8, 8], "scales": 1, "angles": 4, "order": 1, "norm": "none",
    },
}  # fmt: skip


def test_an_extractor_stands_between_the_columns_and_the_model() -> None:
    """Width and digest are its own; rows become what it gives, dead rows stay dead, and a row never sees another."""
    schema = graphs.PICTURES.to_json()
    schema["columns"][0]["shape"] = [8, 8]
    square = type(graphs.PICTURES).from_json(schema)
    spec = FeatureSpec.from_json(SCATTERED)
    plain = FeatureSpec.from_json({name: value for name, value in SCATTERED.items() if name != "extractor"})
    assert spec.extractor is not None
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.digest != plain.digest
    assert (spec.width(square), spec.encoded_width(square)) == (spec.extractor.width, 64)
    draw = np.random.default_rng(3)
    pixels = [*draw.uniform(0, 255, size=(9, 64)).tolist(), None]
    table = pa.table({"picture": pa.array(pixels, pa.list_(pa.float64())), "kind": pa.array(["top"] * 10)})
    rows, before = (RowEncoder(s, square).encode(table) for s in (spec, plain))
    expected, alive = Extraction(spec.extractor).apply(before.features, before.alive)
    np.testing.assert_array_equal(rows.features, expected)
    assert rows.alive.tolist() == alive.tolist() == [True] * 9 + [False]
    alone = RowEncoder(spec, square).encode(table.slice(4, 1))
    np.testing.assert_array_equal(alone.features[0], rows.features[4])
    with pytest.raises(InvalidError, match="extractor"):
        spec.check(graphs.PICTURES)


def _weights(seed: int = 1) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {w.name: draw.normal(size=w.shape).astype(np.float32) for w in MODEL.graph.weights}


def _rows(count: int, seed: int = 4) -> Rows:
    draw = np.random.default_rng(seed)
    return Rows(
        features=draw.normal(size=(count, 36)).astype(np.float32),
        targets=draw.integers(0, 3, count).astype(np.float32),
        alive=draw.random(count) < 0.9,
    )


def test_class_counts_are_those_of_a_loop_over_rows() -> None:
    """Right or wrong by the likeliest class, and its probability's cell; dead and unscorable rows count nowhere."""
    rows, weights, bins = _rows(300), _weights(), 5
    rows.features[7] = np.inf
    expected, cells = np.zeros(2, int), np.zeros(2 * bins, int)
    for place in range(300):
        scores = forward(MODEL, weights, rows.features[place : place + 1].reshape(1, 1, 6, 6))[0]
        if not rows.alive[place] or not np.isfinite(scores).all():
            continue
        chances = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        right = int(chances.argmax() == rows.targets[place])
        expected[1 - right] += 1
        cells[right * bins + min(int(chances.max() * bins), bins - 1)] += 1
    outcomes, histogram = count_rows(MODEL, weights, rows, _wanted(bins))
    assert outcomes.tolist() == expected.tolist()
    assert histogram.tolist() == cells.tolist()


def test_one_row_moves_each_vector_by_at_most_one_and_no_other_row() -> None:
    """Whatever the row becomes: the counts of the others do not change, bit for bit."""
    rows, weights = _rows(64), _weights(2)
    for place, value in ((0, 1e30), (31, np.nan), (63, -2.5)):
        features = rows.features.copy()
        features[place] = value
        changed = Rows(features=features, targets=rows.targets, alive=rows.alive)
        rest = np.delete(np.arange(64), place)
        without = Rows(features=features[rest], targets=rows.targets[rest], alive=rows.alive[rest])
        alone = count_rows(MODEL, weights, without, _wanted(4))
        for table in (rows, changed):
            for after, before in zip(count_rows(MODEL, weights, table, _wanted(4)), alone, strict=True):
                moved = after - before
                assert moved.sum() in (0, 1)
                assert set(moved.tolist()) <= {0, 1}


def test_a_report_on_several_classes_says_wrong_and_right() -> None:
    """It follows from its own counts; that of two classes is another form, and neither is read as the other."""
    plan = jobs.evaluation_plan(TRAINED.features, graphs.PICTURES, bins=4)
    design = Design.of(plan, TRAINED.features, graphs.PICTURES)
    two = Design.of(jobs.evaluation_plan(bins=4), jobs.spec().features, jobs.SCHEMA)
    numbers = ((80, 20), (9, 7, 3, 1, 5, 15, 25, 35))
    body = evaluation_json(design, numbers)
    assert body["classes"] == ["top", "middle", "bottom"]
    assert 0.5 < float(body["confidence_auc"]["value"]) < 1
    assert "auc" not in body
    assert "brier" not in body["calibration"]
    data = evaluation_bytes(design, numbers)
    assert read_evaluation(data, design) == (design, body)
    with pytest.raises(InvalidError):
        read_evaluation(data, two)
    forged = canonical.encode(body | {"accuracy": body["accuracy"] | {"value": "0.99"}})
    with pytest.raises(InvalidError):
        read_evaluation(forged, design)
