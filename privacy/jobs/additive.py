"""Additive models: features in which each column has a shape of its own, and how far noise may have moved a shape.

Rules
-----
1. Bins follow from declared bounds alone, so that they cost nothing and say nothing about rows.
2. A model is additive if one layer reads features of single columns, without an extractor: then what a column adds to
   the score is a function of that column, and a curve of it is the model itself, not an explanation.
3. A band says how far the noise of privacy alone may have moved a point of a shape. It is derived for a constant rate
   and a constant clip, and is not stated otherwise. It is no confidence interval: which people were in the table, and
   what clipping does, is not in it.

The band. Let g be the noise's deviation in a coordinate of the averaged gradient, r the rate and m the momentum. Where
the loss is flat, a draw moves a weight by r (1 + m + m^2 + ...), in all r (1 - m^(k+1)) / (1 - m) after k further
steps. In a direction in which the loss curves by a constant amount c, the two roots of z^2 - (1 + m - r c) z + m have
product m and magnitude at most 1 wherever descent is stable; the same sum is then sum_i p^i q^(k-i) of both roots, of
which the magnitude is largest at p = 1, q = m: at no curvature. So every direction's noise, averaged weights included,
has at most the deviation of the flat case, and so has every coordinate. In truth the curvature is not constant: the
band is exact for a quadratic loss and an approximation for the logistic one.

Form: docs/formats/features.md, "Bins by default"; docs/MODELS.md, "Additive models".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import pairwise
from typing import Final

from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.jobs.features import LOG_FROM, Feature, FeatureSpec, Transform
from privacy.jobs.labels import default_label
from privacy.jobs.recipe import Averaging, Clipping, Recipe, Schedule
from privacy.schema import Column, ColumnKind, TableSchema

BINS: Final = 16
BAND: Final = 1.96
_DIGITS = Context(prec=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What one column adds to the score.

    Attributes:
        column: Its name.
        points: Where the score is told, in order: a bin, a category, or the ends of a line.
        values: What each point adds.
        line: Whether the points are ends of a straight line; else they are steps.
    """

    column: str
    points: tuple[str, ...]
    values: tuple[float, ...]
    line: bool = False


def additive_features(schema: TableSchema, label: str) -> FeatureSpec:
    """Features for an additive model of a trainer who names only the label.

    Raises:
        InvalidError: The label's encoding does not follow from its kind, or no usable column is left.
    """
    kinds = (ColumnKind.IDENTIFIER, ColumnKind.TENSOR)
    usable = [c for c in schema.columns if c.kind not in kinds and c.name != label]
    spec = FeatureSpec(
        columns=tuple(_feature(column) for column in usable), label=default_label(schema.column(label, "label"))
    )
    spec.check(schema)
    return spec


def check_additive(features: FeatureSpec) -> None:
    """Raise `InvalidError` unless each column has one shape of its own."""
    if features.extractor is not None:
        raise InvalidError("an additive model has no extractor: each column has a shape of its own", field="extractor")
    if features.row_norm is not None:
        raise InvalidError("an additive model has no `row_norm`: it would mix the columns of a row", field="row_norm")
    if len({feature.column for feature in features.columns}) != len(features.columns):
        raise InvalidError("an additive model names each column once", field="columns")


def shapes_of(features: FeatureSpec, schema: TableSchema, weights: Sequence[float]) -> tuple[Shape, ...]:
    """The shapes of an additive model with one score.

    Args:
        features: As it was trained.
        schema: The declared schema.
        weights: Of its one layer, in the order of the features, without the bias.

    Raises:
        InvalidError: The features are not additive.
    """
    check_additive(features)
    found, first = [], 0
    for feature in features.columns:
        column = schema.column(feature.column)
        width = feature.width(column)
        found.append(_shape(feature, column, tuple(weights[first : first + width])))
        first += width
    return tuple(found)


def noise_band(recipe: Recipe, noise_multiplier: Decimal, normaliser: Decimal) -> float | None:
    """How far the noise of privacy may have moved a point of a shape, 95 times in 100; nothing if it cannot be said.

    Args:
        recipe: Of the run.
        noise_multiplier: Of its plan, in units of the recipe's clip.
        normaliser: What its noisy sums were divided by.
    """
    if recipe.schedule is not Schedule.CONSTANT or recipe.clipping is Clipping.ADAPTIVE:
        return None
    averaged = recipe.steps - recipe.steps // 2 if recipe.averaging is Averaging.SECOND_HALF else 1
    rate, momentum = float(recipe.learning_rate.number), float(recipe.momentum.number)
    moves = [rate * (1 - momentum ** (k + 1)) / (1 - momentum) for k in range(recipe.steps)]
    # A draw of step t is in every averaged state from t on: the mean of the moves that it has made by then.
    total = 0.0
    for step in range(recipe.steps):
        left = recipe.steps - step
        total += (sum(moves[max(0, left - averaged) : left]) / averaged) ** 2
    deviation = float(noise_multiplier) * float(recipe.clip.number) / float(normaliser)
    return BAND * deviation * math.sqrt(total)


def _feature(column: Column) -> Feature:
    match column.kind:
        case ColumnKind.NUMERIC:
            return Feature(column=column.name, transform=Transform.BINS, edges=_edges(column))
        case ColumnKind.BOOLEAN:
            return Feature(column=column.name, transform=Transform.BOOLEAN)
        case _:
            return Feature(column=column.name, transform=Transform.ONE_HOT)


def _edges(column: Column) -> tuple[Parameter, ...]:
    """The inner edges of equal bins between the bounds, in the logarithm where a column spans magnitudes from 0 up."""
    if column.low is None or column.high is None:
        raise InvalidError(f"column `{column.name}` has no bounds: name its `edges`", field=column.name)
    low, span = column.low.number, column.high.number - column.low.number
    parts = [Decimal(number) / BINS for number in range(1, BINS)]
    if low >= 0 and span >= LOG_FROM:
        grown = [Decimal(math.expm1(float(part) * math.log1p(float(span)))) for part in parts]
    else:
        grown = [part * span for part in parts]
    edges = dict.fromkeys(Parameter(_DIGITS.plus(low + step)) for step in grown)
    return tuple(edge for edge in edges if low < edge.number < column.high.number)


def _shape(feature: Feature, column: Column, values: tuple[float, ...]) -> Shape:
    match feature.transform:
        case Transform.BINS:
            edges = [str(edge) for edge in feature.edges]
            inner = [f"{a} to {b}" for a, b in pairwise(edges)]
            return Shape(column=column.name, points=(f"below {edges[0]}", *inner, f"from {edges[-1]}"), values=values)
        case Transform.ONE_HOT:
            return Shape(column=column.name, points=tuple(column.categories), values=values)
        case Transform.BOOLEAN:
            return Shape(column=column.name, points=("false", "true"), values=(-values[0], values[0]))
        case Transform.SCALE | Transform.LOG | Transform.ORDINAL if len(values) == 1:
            # Each of these goes from -1 to 1.
            ends = (column.categories[0], column.categories[-1]) if column.categories else _ends(feature, column)
            return Shape(column=column.name, points=ends, values=(-values[0], values[0]), line=True)
        case _:
            raise InvalidError(f"column `{column.name}` has no shape that could be drawn", field=column.name)


def _ends(feature: Feature, column: Column) -> tuple[str, str]:
    return str(feature.low or column.low), str(feature.high or column.high)
