"""Explanations: shares that add up, that agree with what is known in closed form, and pictures anybody can look at."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel.errors import ConflictError, InvalidError
from privacy.schema import TableSchema
from privgate.explain import Explanation, explain
from privgate.explain.players import Players
from privgate.explain.shapley import by_walks, exactly
from privgate.models import Model
from tests.support.graphs import PICTURES, SENTENCES, pictures, small_network
from tests.support.scored import COLUMNS, DAYS, ILL, KIND, MIXED, model_on, rows

PLAIN = [{"column": name, "transform": "scale"} for name in ("age", "gain", "probability")]
LINE = {"template": "logistic"}
TANH = {"template": "mlp", "hidden": [6, 4], "activation": "tanh"}
RELU = {"template": "mlp", "hidden": [8], "activation": "relu"}


def known(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Rows that can be scored."""
    draw = np.random.default_rng(seed)
    cells: dict[str, Sequence[Any]] = {
        "age": range(101), "gain": range(0, 5001, 50), "sex": ["F", "M"], "grade": ["low", "mid", "high"],
        "smoker": [True, False], "probability": [0, 0.2, 0.9],
    }  # fmt: skip
    made = [{name: list(some)[draw.integers(len(some))] for name, some in cells.items()} for _ in range(count)]
    return [row | {"trace": draw.uniform(-1, 3, 4).round(2).tolist()} for row in made]


def adds_up(found: Explanation, tolerance: float) -> None:
    """The axiom of completeness, computed here again."""
    reached = found.scores - found.bases
    np.testing.assert_allclose(found.values.sum(axis=1), reached, atol=tolerance * max(1.0, np.abs(reached).max()))
    assert found.gap <= tolerance * max(1.0, np.abs(reached).max())


def test_exact_values_are_the_mean_over_all_orders() -> None:
    """Shapley's own definition, on a function of four players with products between them."""

    def score(numbers: Any) -> Any:
        return numbers[:, 0] * numbers[:, 1] + np.sin(numbers[:, 2]) * numbers[:, 4] - numbers[:, 3] ** 2

    draw = np.random.default_rng(1)
    row, background = draw.normal(size=5), draw.normal(size=(6, 5))
    players = Players(("a", "b", "c", "d"), np.array([0, 1, 2, 2, 3]))
    wanted = np.zeros(4)
    orders = list(permutations(range(4)))
    for order in orders:
        inside = np.zeros(5, dtype=bool)
        for player in order:
            before = score(np.where(inside, row, background)).mean()
            inside |= players.owner == player
            wanted[player] += (score(np.where(inside, row, background)).mean() - before) / len(orders)
    np.testing.assert_allclose(exactly(score, row, background, players), wanted, atol=1e-12)
    values, error = by_walks(score, row, background, players, 400, np.random.default_rng(2))
    assert (np.abs(values - wanted) <= 5 * error + 1e-12).all()
    np.testing.assert_allclose(values.sum(), wanted.sum(), atol=1e-12)


@pytest.mark.parametrize("method", ["shap", "exact-shap", "integrated-gradients"])
def test_of_a_linear_model_every_method_gives_weight_times_distance(method: str) -> None:
    """Without interactions there is one answer: the weight times what the column is away from the background's mean."""
    model = model_on(MIXED, LINE, PLAIN, ILL)
    background, given = known(9), known(12, seed=8)
    found = explain(model, background, given, method=method)
    weights = np.array(model.weights["score.weight"])
    encoded, behind = (np.array([r for r in model.encoded(some) if r is not None]) for some in (given, background))
    np.testing.assert_allclose(found.values, weights * (encoded - behind.mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(found.scores, model.scores(given), rtol=1e-6)
    adds_up(found, 1e-6)


@pytest.mark.parametrize(("method", "tolerance"), [("shap", 1e-9), ("integrated-gradients", 1e-3)])
@pytest.mark.parametrize("template", [LINE, TANH, RELU], ids=lambda t: t.get("activation", "line"))
@pytest.mark.parametrize("more", [{}, {"row_norm": "1.5"}], ids=["free", "bounded"])
def test_shares_add_up_to_the_score_less_the_backgrounds(
    template: dict[str, Any], more: dict[str, Any], method: str, tolerance: float
) -> None:
    """Completeness, for every kind of column, with and without a bound on the row."""
    model = model_on(MIXED, template, COLUMNS, ILL, **more)
    found = explain(model, known(8), known(5, seed=9), method=method)
    assert found.players == ("age", "gain", "sex", "grade", "smoker", "trace", "probability")
    adds_up(found, tolerance)
    np.testing.assert_allclose(found.scores, model.scores(known(5, seed=9)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.bases, np.mean(model.scores(known(8))), rtol=1e-5, atol=1e-6)


def test_both_methods_find_the_same_columns() -> None:
    """They share scores out differently where columns interact, and agree on what matters."""
    model = model_on(MIXED, TANH, COLUMNS, ILL)
    shap, slopes = (explain(model, known(8), known(20, seed=3), method=m) for m in ("shap", "integrated-gradients"))
    assert np.corrcoef(shap.values.ravel(), slopes.values.ravel())[0, 1] > 0.9


def test_a_column_that_does_nothing_has_no_share() -> None:
    """Its weights are zero, so its share is exactly zero, by either method."""
    model = model_on(MIXED, TANH, PLAIN, ILL)
    weights = {name: np.array(values, dtype=np.float32) for name, values in model.weights.items()}
    first = weights["layer1.weight"].reshape(6, 3)
    first[:, 1] = 0
    idle = model.with_weights(model.spec, model.graph, {**weights, "layer1.weight": first})
    for method in ("shap", "integrated-gradients"):
        found = explain(idle, known(6), known(4, seed=4), method=method)
        assert not found.values[:, 1].any()
        assert found.values[:, 0].any()


@pytest.mark.parametrize("method", ["shap", "integrated-gradients"])
def test_of_several_classes_one_is_explained(method: str) -> None:
    """The one that was named, or each row's likeliest."""
    model = model_on(MIXED, RELU, COLUMNS, KIND)
    given = known(6, seed=6)
    outputs = np.array(model.outputs(given))
    named = explain(model, known(5), given, of="b", method=method)
    np.testing.assert_allclose(named.scores, outputs[:, 1], rtol=1e-5, atol=1e-6)
    likeliest = explain(model, known(5), given, method=method)
    np.testing.assert_allclose(likeliest.scores, outputs.max(axis=1), rtol=1e-5, atol=1e-6)
    for found in (named, likeliest):
        adds_up(found, 1e-3)


def test_a_number_is_explained_in_its_scaled_form() -> None:
    """And says so."""
    found = explain(model_on(MIXED, {"template": "linear"}, PLAIN, DAYS), known(5))
    assert found.target == "scaled days"
    adds_up(found, 1e-9)


def test_of_a_picture_its_points_share_the_score(tmp_path: Path) -> None:
    """Convolution and normalisation; the drawing is the picture itself."""
    label = {"column": "kind", "encoding": "classes"}
    model = model_on(PICTURES, {"graph": small_network()}, [{"column": "picture", "transform": "scale"}], label)
    given = [{"picture": row["picture"]} for row in pictures(4)]
    for method in ("shap", "integrated-gradients"):
        found = explain(model, given, given[:2], method=method, origin="dummy")
        assert len(found.players) == 36
        assert found.players[7] == "picture[1, 1]"
        adds_up(found, 2e-3)
        drawn = ET.parse(found.save(tmp_path / f"{method}.svg")).getroot()
        assert len([e for e in drawn.iter() if e.tag.endswith("rect")]) == 37


def test_tokens_are_explained_without_gradients() -> None:
    """A place in a list has no slope."""
    template = {"template": "transformer", "vocabulary": 50, "length": 8, "dim": 8, "heads": 2, "layers": 1,
                "activation": "gelu"}  # fmt: skip
    label = {"column": "tone", "encoding": "classes"}
    model = model_on(SENTENCES, template, [{"column": "words", "transform": "tokens"}], label)
    given = [{"words": list(range(start, start + 8))} for start in range(5)]
    found = explain(model, given, given[:2])
    assert found.players[0] == "words[0]"
    adds_up(found, 1e-9)
    with pytest.raises(InvalidError, match="no gradient"):
        explain(model, given, method="integrated-gradients")


def test_the_picture_is_whole_and_says_what_it_shows(tmp_path: Path) -> None:
    """SVG with a title and a description, texts of other people escaped, nothing loaded; a file is not written over."""
    columns = [
        {"name": "<script>alert(1)</script> & \"more\"", "kind": "numeric", "low": "0", "high": "1"},
        {"name": "ill", "kind": "boolean"},
    ]  # fmt: skip
    schema = TableSchema.from_json({"columns": columns})
    name = columns[0]["name"]
    label = {"column": "ill", "encoding": "positive", "category": "true"}
    model = model_on(schema, LINE, [{"column": name, "transform": "scale"}], label)
    found = explain(model, [{name: 0.1}, {name: 0.9}], about="rel_x")
    path = found.save(tmp_path / "explained.svg")
    tree = ET.parse(path).getroot()
    names = [element.tag.rpartition("}")[2] for element in tree.iter()]
    assert not {"image", "script", "use", "foreignObject"} & set(names)
    assert names.count("circle") == 2
    texts = {element.tag.rpartition("}")[2]: element.text for element in tree.iter()}
    assert "not why things are as they are" in str(texts["desc"])
    assert found.save(path) == path
    path.write_text("mine")
    with pytest.raises(ConflictError):
        found.save(path)
    card = found.card("# Card\nas it was", "explained.svg")
    assert card.startswith("# Card\nas it was\n\n## Explanation\nAdded by whoever holds the release; no part of")
    assert "](explained.svg)" in card


def test_only_the_strongest_are_drawn_and_the_rest_is_counted() -> None:
    """A table of forty columns still fits a page."""
    columns = [{"name": f"c{n}", "kind": "numeric", "low": "0", "high": "1"} for n in range(40)]
    schema = TableSchema.from_json({"columns": [*columns, {"name": "ill", "kind": "boolean"}]})
    label = {"column": "ill", "encoding": "positive", "category": "true"}
    model = model_on(schema, LINE, [{"column": c["name"], "transform": "scale"} for c in columns], label)
    draw = np.random.default_rng(1)
    found = explain(model, [{f"c{n}": draw.random() for n in range(40)} for _ in range(5)])
    assert list(found.importance.values()) == sorted(found.importance.values(), reverse=True)
    assert "25 more move it less" in found.to_svg()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"method": "lime"}, "method"),
        ({"origin": "the ward"}, "origin"),
        ({"of": "b"}, "of"),
        ({"pairs": 1}, "pairs"),
        ({"rows": []}, "rows"),
        ({"rows": [{"age": "x"}]}, "rows"),
        ({"background": []}, "background"),
        ({"background": [{"age": 1}] * 600}, "background"),
        ({"background": {"age": 1}}, "rows"),
        ({"method": "exact-shap", "columns": 20}, "method"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_explained_is_said(wrong: dict[str, Any], field: str) -> None:
    """The field is named, and no value is."""
    columns = [{"name": f"c{n}", "kind": "numeric", "low": "0", "high": "1", "fill": "0"} for n in range(20)]
    schema = TableSchema.from_json({"columns": [*MIXED.to_json()["columns"], *columns]})
    more = [{"column": f"c{n}", "transform": "scale"} for n in range(wrong.pop("columns", 0))]
    model = model_on(schema, LINE, [*PLAIN, *more], ILL)
    background = wrong.pop("background", known(3))
    with pytest.raises(InvalidError) as refused:
        explain(model, background, **wrong)
    assert refused.value.field == field


def test_a_row_that_cannot_be_scored_is_left_out() -> None:
    """The others are explained."""
    model = model_on(MIXED, LINE, COLUMNS, ILL)
    assert len(explain(model, rows(40)).scores) == sum(s is not None for s in model.scores(rows(40)))


def test_an_explanation_of_rows_is_the_same_every_time() -> None:
    """Walks are drawn from the caller's seed."""
    model: Model = model_on(MIXED, TANH, COLUMNS, ILL)
    one, two, other = (explain(model, known(4), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.values, two.values)
    assert (one.values != other.values).any()
    assert replace(one, error=0.0).sentence != one.sentence
