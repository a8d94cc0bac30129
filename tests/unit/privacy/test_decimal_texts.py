"""Decimal text wherever a request, a schema or a graph holds it: one strict grammar, and the field is named."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import InvalidError
from privacy.graph.spec import ModelGraph
from privacy.jobs.features import FeatureSpec
from privacy.jobs.recipe import Recipe
from privacy.schema import TableSchema
from tests.support import graphs, jobs

LOOSE = ["1_0", " 1", "1 ", "+1", "01", "1.", "\u0661", "\uff11", "0x1", "NaN", ""]


def _schema(**changes: Any) -> TableSchema:
    column = {"name": "age", "kind": "numeric", "low": "0", "high": "120"} | changes
    return TableSchema.from_json({"columns": [column]})


def _features(column: dict[str, Any] | None = None, **changes: Any) -> FeatureSpec:
    label = {"column": "outcome", "encoding": "classes"}
    columns = [{"column": "age", "transform": "scale"} | (column or {})]
    return FeatureSpec.from_json({"v": 1, "columns": columns, "label": label} | changes)


def _bins(edge: str) -> FeatureSpec:
    return _features({"transform": "bins", "edges": ["-5", edge]})


def _above(value: str) -> FeatureSpec:
    return _features(label={"column": "dose", "encoding": "threshold", "above": value})


def _recipe(**changes: str) -> Recipe:
    return Recipe.from_fields(jobs.plan().recipe.to_fields() | changes)


def _graph(bound: str = "0.5", factor: str = "2") -> ModelGraph:
    weights = [graphs.weight("a.w", 2, 3, rule="uniform", bound=bound)]
    nodes = [graphs.node("a", "linear", ["x"], ["a.w"]), graphs.node("b", "scale", ["a"], factor=factor)]
    return ModelGraph.from_json(graphs.graph([3], weights, nodes, "b"))


PLACES: dict[str, tuple[Callable[[str], Any], str]] = {
    "schema low": (lambda text: _schema(low=text), "low"),
    "schema high": (lambda text: _schema(high=text), "high"),
    "schema fill": (lambda text: _schema(fill=text), "age"),
    "feature low": (lambda text: _features({"low": text, "high": "200"}), "low"),
    "feature edges": (_bins, "edges"),
    "row norm": (lambda text: _features(row_norm=text), "row_norm"),
    "label above": (_above, "above"),
    "clip": (lambda text: _recipe(clip=text), "clip"),
    "sampling rate": (lambda text: _recipe(sampling_rate=text), "sampling_rate"),
    "expected batch": (lambda text: jobs.plan(recipe={"expected_batch": text}), "expected_batch"),
    "initial bound": (lambda text: _graph(bound=text), "bound"),
    "attribute": (lambda text: _graph(factor=text), "attributes"),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_loose_writing_is_read_anywhere(place: str) -> None:
    """`1_0` is not 10, and no other script has a 1, wherever the number stands; the plain 1 is read there."""
    read, field = PLACES[place]
    read("1")
    for text in LOOSE:
        with pytest.raises(InvalidError) as caught:
            read(text)
        assert caught.value.field == field, text


@given(st.decimals(-(10**9), 10**9, places=3), st.sampled_from(["{}", "{}0", "{:E}"]))
def test_a_bound_has_one_canonical_form(low: Decimal, writing: str) -> None:
    """However it was written, and what is stored is read as itself: digests of schemas do not depend on it."""
    plain = _schema(low=f"{low:f}", high="9999999999")
    other = _schema(low=writing.format(low) if low else "0", high="9999999999")
    assert other.digest == plain.digest
    assert TableSchema.from_json(plain.to_json()).to_json() == plain.to_json()


@pytest.mark.parametrize("wrong", [True, 0.5, [0, [1], 0], {"v": "1"}])
def test_a_bound_of_another_type_is_refused(wrong: Any) -> None:
    """Python would make a number of the first three."""
    with pytest.raises(InvalidError) as caught:
        _schema(low=wrong)
    assert caught.value.field == "low"
