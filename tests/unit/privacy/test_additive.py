"""Additive models: each column has a shape of its own, bins follow from bounds, and the band covers the noise."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.amounts import Delta, Epsilon, Share
from kernel.errors import ConflictError, InvalidError
from kernel.events import Parameter
from kernel.ids import DatasetId, Slug
from privacy.budget.populations import Budget
from privacy.budget.reservations import Block
from privacy.graph.templates import ModelChoice, Template
from privacy.graph.weights import pack_weights
from privacy.jobs.additive import BAND, BINS, additive_features, check_additive, noise_band, shapes_of
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec, Transform
from privacy.jobs.plan import TrainingPlan, plan_training
from privacy.jobs.spec import complete_training
from privacy.release.certificate import ChargedMechanism, EngineFacts, Predicate
from privacy.schema import TableSchema
from privacy.training.state import Descent, first_state, released_weights
from privgate.models import Model
from privgate.shapes import Shapes

SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "mrn", "kind": "identifier"},
            {"name": "age", "kind": "numeric", "low": "16", "high": "96"},
            {"name": "gain", "kind": "numeric", "low": "0", "high": "100000"},
            {"name": "grade", "kind": "ordinal", "categories": ["low", "mid", "high"]},
            {"name": "sex", "kind": "categorical", "categories": ["f", "m"]},
            {"name": "smoker", "kind": "boolean"},
            {"name": "ill", "kind": "boolean"},
        ]
    }
)
FACTS = DeclaredFacts(
    public_size=5000,
    holdout_share=Share.parse("0"),
    rows_per_unit=1,
    order=Budget.allot(Epsilon.parse("4"), Delta.parse("0.000001")).order,
    delta=Delta.parse("0.000001"),
)


def request(**changes: Any) -> dict[str, Any]:
    """A request that names the template and the label, and nothing else."""
    body = {
        "dataset": str(DatasetId("dst_" + "a" * 26)), "purpose": "research", "epsilon": "1",
        "model": {"template": "gam"}, "label": "ill",
    }  # fmt: skip
    return body | changes


def planned(**recipe: Any) -> TrainingPlan:
    """Its plan."""
    spec = complete_training(request(recipe=recipe), SCHEMA, FACTS)
    return plan_training(spec, SCHEMA, FACTS)


def banded(plan: TrainingPlan) -> float | None:
    """The band of a plan."""
    return noise_band(plan.recipe, plan.noise_multiplier.number, plan.normaliser.number)


def test_bins_follow_from_declared_bounds() -> None:
    """Equal ones, or equal in the logarithm where a column spans magnitudes; nothing of rows is asked for."""
    features = additive_features(SCHEMA, "ill")
    by_name = {feature.column: feature for feature in features.columns}
    assert list(by_name) == ["age", "gain", "grade", "sex", "smoker"]
    assert [str(edge) for edge in by_name["age"].edges] == [str(16 + 5 * at) for at in range(1, BINS)]
    gains = [edge.number for edge in by_name["gain"].edges]
    assert gains[0] < 2
    assert gains[-1] > 40_000
    assert by_name["grade"].transform is Transform.ONE_HOT
    assert complete_training(request(), SCHEMA, FACTS).features == features


@given(st.decimals(-(10**6), 10**6, places=3), st.decimals("0.001", 10**7, places=3))
@settings(max_examples=60)
def test_bins_of_any_bounds_rise_within_them(low: Decimal, span: Decimal) -> None:
    """However narrow or wide a column is declared."""
    high = low + span
    columns = [
        {"name": "x", "kind": "numeric", "low": format(low, "f"), "high": format(high, "f")},
        {"name": "y", "kind": "boolean"},
    ]
    try:
        features = additive_features(TableSchema.from_json({"columns": columns}), "y")
    except InvalidError:
        # So narrow, so far from zero, that four digits tell no two edges apart: its owner's trainer names them.
        assert abs(low) > span
        return
    edges = [edge.number for edge in features.columns[0].edges]
    assert edges == sorted(set(edges))
    assert all(low < edge < high for edge in edges)


def test_each_column_has_one_shape_and_classes_have_none() -> None:
    """What mixes columns is refused by name."""
    good = additive_features(SCHEMA, "ill")
    check_additive(good)
    twice = dataclasses.replace(
        good, columns=(*good.columns, dataclasses.replace(good.columns[0], transform=Transform.SCALE, edges=()))
    )
    for wrong in (twice, dataclasses.replace(good, row_norm=Parameter(1))):
        with pytest.raises(InvalidError):
            check_additive(wrong)
        body = request(features=wrong.to_json())
        del body["label"]
        with pytest.raises(InvalidError):
            complete_training(body, SCHEMA, FACTS)
    with pytest.raises(InvalidError, match="gam"):
        complete_training(request(label="grade"), SCHEMA, FACTS)
    assert ModelChoice(template=Template.GAM).graph(40) == ModelChoice(template=Template.LOGISTIC).graph(40)


def test_a_score_is_the_sum_of_its_shapes() -> None:
    """Picture and prediction are one model: a row's score is the points that it falls on, and the bias."""
    spec = complete_training(request(), SCHEMA, FACTS)
    width = spec.features.width(SCHEMA)
    draw = np.random.default_rng(3)
    weights = draw.normal(size=width)
    found = {shape.column: dict(zip(shape.points, shape.values, strict=True)) for shape in
             shapes_of(spec.features, SCHEMA, weights.tolist())}  # fmt: skip
    import pyarrow as pa

    from privacy.training.rows import RowEncoder

    row = {"mrn": "7", "age": 43.0, "gain": 0.0, "grade": "mid", "sex": "m", "smoker": True, "ill": False}
    encoded = RowEncoder(spec.features, SCHEMA).encode(pa.table({name: [value] for name, value in row.items()}))
    first = next(iter(found["gain"]))
    added = [
        found["age"]["41 to 46"],
        found["gain"][first],
        found["grade"]["mid"],
        found["sex"]["m"],
        found["smoker"]["true"],
    ]
    assert float(encoded.features[0] @ weights) == pytest.approx(sum(added), abs=1e-6)


def test_the_band_covers_what_noise_alone_does_to_a_weight() -> None:
    """Many runs on nobody: at no curvature the band is met almost exactly, with curvature it is an upper bound."""
    plan = planned(steps=60, learning_rate="0.8", momentum="0.7")
    band = banded(plan)
    assert band is not None
    sigma = float(plan.sigma) / float(plan.normaliser.number)
    draw = np.random.default_rng(11)
    graph = ModelChoice(template=Template.GAM).graph(4000)
    for curvature, least, most in ((0.0, 0.97, 1.03), (0.05, 0.0, 1.0), (1.0, 0.0, 1.0)):
        descent = Descent(plan, first_state(graph))
        for _ in range(plan.recipe.steps):
            descent.move(draw.normal(0, sigma, descent.weights.shape) + curvature * descent.weights)
        weights = released_weights(plan, graph, descent.state(1.0, 1, 60))
        deviation = np.concatenate([value.ravel() for value in weights.values()]).std()
        assert least <= deviation * BAND / band <= most


def test_no_band_is_stated_where_none_was_derived() -> None:
    """A moving rate or a moving clip."""
    assert banded(planned(schedule="cosine")) is None
    assert banded(planned(clipping="adaptive")) is None
    assert banded(planned(averaging="none", momentum="0")) is not None


def test_the_band_of_a_release_follows_from_its_certificate() -> None:
    """From the mechanism and the normaliser that are stated there, and the recipe; several mechanisms have none."""
    spec = complete_training(request(), SCHEMA, FACTS)
    graph, plan = spec.model_graph(SCHEMA).graph, plan_training(spec, SCHEMA, FACTS)
    weights = {w.name: np.zeros(w.shape, np.float32) for w in graph.weights}
    model = Model.open(pack_weights(graph, weights), spec.to_json(), SCHEMA)
    part = ChargedMechanism(block=Block.TRAIN, mechanism=plan.uses()[0])
    engine = EngineFacts(name=Slug("bookkeeping"), normaliser=plan.normaliser)
    stated = SimpleNamespace(mechanisms=(part,), engine=engine)
    assert Shapes.of(model, cast(Predicate, stated)).band == banded(plan)
    twice = SimpleNamespace(mechanisms=(part, part), engine=engine)
    assert Shapes.of(model, cast(Predicate, twice)).band is None
    assert Shapes.of(model).band is None


def test_shapes_are_drawn_from_a_released_model(tmp_path: Path) -> None:
    """As text and as a picture whose every point says its value; texts of the schema cannot break out of it."""
    import xml.etree.ElementTree as ET

    schema = TableSchema.from_json(
        {
            "columns": [
                {"name": "<a&b>", "kind": "categorical", "categories": ['x"y', "<z>"]},
                {"name": "ill", "kind": "boolean"},
            ]
        }
    )
    spec = complete_training(request(), schema, FACTS)
    graph = spec.model_graph(schema).graph
    weights = {w.name: np.full(w.shape, 0.5, np.float32) for w in graph.weights}
    model = Model.open(pack_weights(graph, weights), spec.to_json(), schema)
    found = dataclasses.replace(Shapes.of(model), band=0.1)
    assert [shape.values for shape in found.shapes] == [(0.5, 0.5)]
    drawn = ET.fromstring(found.svg())
    assert any("<z>: +0.500" in (element.text or "") for element in drawn.iter())
    assert "+0.500" in found.text()
    assert "0.10" in found.card("# Card\n")
    assert "![" in found.card("# Card\n")
    found.save(tmp_path / "shapes.svg")
    with pytest.raises(ConflictError):
        dataclasses.replace(found, band=None).save(tmp_path / "shapes.svg")
    other = complete_training(request(model={"template": "mlp", "hidden": [3]}), schema, FACTS)
    graph = other.model_graph(schema).graph
    network = Model.open(
        pack_weights(graph, {w.name: np.zeros(w.shape, np.float32) for w in graph.weights}), other.to_json(), schema
    )
    with pytest.raises(InvalidError):
        Shapes.of(network)


def test_features_are_read_as_they_were_written() -> None:
    """Defaults are written out in the final form, so that later ones change no digest."""
    spec = complete_training(request(), SCHEMA, FACTS)
    assert FeatureSpec.from_json(spec.to_json()["features"]) == spec.features
    assert spec.to_json()["model"] == {"template": "gam"}
