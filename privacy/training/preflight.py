"""The rehearsal: the same kernels on made-up rows, before the child has a key. Child only.

Rules
-----
1. Rows are made up from the schema with random numbers of our own, and made hostile: huge, infinite, not a number. No
   real row is looked at here, so this may fail, and fail loudly.
2. Checked, at random weights of usual size: each unit's clipped gradient equals one that is computed alone, in float64
   and without a batch; it does not depend on the company it is in; hostile rows change nothing beyond the clip; a row
   that is not a number leaves the sum bit for bit as without it; the sum is finite.
3. A rehearsal that fails ends the job before its envelope opens.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from kernel.errors import CorruptError
from kernel.ids import Entropy
from privacy.graph.check import CheckedGraph
from privacy.graph.torch_module import GraphModule
from privacy.jobs.plan import Performance, TrainingPlan
from privacy.jobs.recipe import Clipping
from privacy.schema import Column, ColumnKind, TableSchema
from privacy.training.engine import Engine, MicroBatch, flatten, unflatten
from privacy.training.losses import LOSSES
from privacy.training.noise import uniforms
from privacy.training.rows import RowEncoder, Rows
from privacy.training.units import UnitTable

Floats: TypeAlias = NDArray[np.float64]
UNITS = 6
TOLERANCE = 1e-9
SINGLE_TOLERANCE = 1e-4
"""In float32, of the clip: gradients are that exact on models that are not made to amplify rounding."""
SINGLE_EXCESS = 2.0**-14
"""In float32, over the clip: twice what `bookkeeping.bounds` lets a norm's rounding leave to the plan's margin."""
_HOSTILE = (1e30, -3e38, float("inf"), float("nan"))


class RehearsalError(CorruptError):
    """The engine does not compute what it must on this model."""


def rehearse(
    plan: TrainingPlan,
    performance: Performance,
    model: CheckedGraph,
    encoder: RowEncoder,
    schema: TableSchema,
    engine: Engine,
    entropy: Entropy = os.urandom,
) -> None:
    """Hold the engine to a slow and obvious computation on made-up rows.

    Raises:
        RehearsalError: It differs, mixes rows, or exceeds the clip.
    """
    single = engine.name == "bookkeeping"
    clip, tolerance = float(plan.engine_clip), SINGLE_TOLERANCE if single else TOLERANCE
    most = clip * (1 + (SINGLE_EXCESS if single else TOLERANCE))
    weights = _made_up_weights(model, entropy)
    engine.set_weights(weights)
    units = min(UNITS, performance.units_at_once)
    table = _made_up_units(encoder, schema, units * plan.rows_per_unit, plan.rows_per_unit, entropy)
    alone = [
        engine.clipped_sum(table.gather(np.array([unit]), performance.units_at_once), clip).total
        for unit in range(units)
    ]
    wrong = 0
    for unit, found in enumerate(alone):
        expected = clipped_alone(plan, model, weights, table.gather(np.array([unit]), 1))
        wrong += int(np.linalg.norm(found - expected) > tolerance * clip)
        _demand(np.linalg.norm(found) <= most, "a unit exceeds the clip")
    # In float32 a value within rounding of a kink (relu, max) may fall on its other side: of one unit, not of two.
    _demand(wrong <= (single and units > 1), "a unit's gradient is wrong")
    together = engine.clipped_sum(table.gather(np.arange(units), performance.units_at_once), clip).total
    _demand(np.linalg.norm(together - np.sum(alone, axis=0)) <= tolerance * clip * units, "rows are mixed")
    _check_hostile(engine, table, performance, together, clip, most)
    _check_company(engine, table, performance, clip)


def _made_up_weights(model: CheckedGraph, entropy: Entropy) -> Floats:
    """Random weights that are float32 numbers, of the size that keeps activations near 1."""
    parts = []
    for weight in model.graph.weights:
        size = (weight.shape[0] / weight.elements) ** 0.5 if len(weight.shape) > 1 else 1.0
        parts.append(size * (2 * uniforms(weight.elements, entropy) - 1))
    return np.concatenate(parts).astype(np.float32).astype(np.float64)


def clipped_alone(plan: TrainingPlan, model: CheckedGraph, weights: Floats, batch: MicroBatch) -> Floats:
    """The clipped gradient of one unit, row by row with plain autograd: slow, obvious, the reference of the tests."""
    shapes = {weight.name: weight.shape for weight in model.graph.weights}
    module = GraphModule(model, unflatten(weights, shapes), torch.float64)
    total = np.zeros(len(weights))
    for features, target, counts in zip(batch.features[0], batch.targets[0], batch.counts[0], strict=True):
        if not counts:
            continue
        row = torch.from_numpy(features).to(torch.float64).reshape(1, *model.graph.inputs[0].shape)
        loss = LOSSES[plan.loss](module(row).reshape(1, -1), torch.tensor([float(target)], dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(loss, list(module.by_name().values()))
        total += flatten(dict(zip(shapes, (g.numpy() for g in gradients), strict=True)), shapes)
    return _clipped(plan, model, total)


def _clipped(plan: TrainingPlan, model: CheckedGraph, gradient: Floats) -> Floats:
    """Shorten a unit's gradient: as a whole, or under `per-layer` each weighted node's part to its share."""
    shapes = {weight.name: weight.shape for weight in model.graph.weights}
    parts = {name: part.copy() for name, part in unflatten(gradient, shapes).items()}
    groups = [list(shapes)]
    if plan.recipe.clipping is Clipping.PER_LAYER:
        groups = [list(node.weights) for node in model.graph.nodes if node.weights]
    for group in groups:
        norm = float(np.sqrt(sum((parts[name] ** 2).sum() for name in group)))
        for name in group:
            parts[name] *= min(1.0, float(plan.engine_clip) / len(groups) ** 0.5 / max(norm, 1e-300))
    return flatten(parts, shapes)


def _check_hostile(
    engine: Engine, table: UnitTable, performance: Performance, honest: Floats, clip: float, most: float
) -> None:
    """Replace the last unit's rows: the sum may move by that unit's two contributions and must stay finite."""
    last = len(table) - 1
    for value in _HOSTILE:
        batch = table.gather(np.arange(len(table)), performance.units_at_once)
        batch.features[last] = value
        changed = engine.clipped_sum(batch, clip).total
        _demand(bool(np.isfinite(changed).all()), "a hostile row makes the sum infinite")
        _demand(np.linalg.norm(changed - honest) <= 2 * most, "a hostile row exceeds the clip")


def _check_company(engine: Engine, table: UnitTable, performance: Performance, clip: float) -> None:
    """A unit that is not a number leaves the sum bit for bit as if its place were empty, whatever its place."""
    for unit in range(len(table)):
        members = np.arange(len(table))
        empty, broken = (table.gather(members, performance.units_at_once) for _ in range(2))
        empty.features[unit], empty.targets[unit], empty.counts[unit] = 0, 0, False
        broken.features[unit] = np.nan
        same = engine.clipped_sum(empty, clip).total == engine.clipped_sum(broken, clip).total
        _demand(bool(same.all()), "a broken row is felt by others")


def _made_up_units(
    encoder: RowEncoder, schema: TableSchema, rows: int, rows_per_unit: int, entropy: Entropy
) -> UnitTable:
    table = schema_rows(schema, encoder.needs, rows, entropy)
    encoded: Rows = encoder.encode(table)
    return UnitTable.by_unit(encoded, np.arange(rows) // rows_per_unit, rows_per_unit)


def schema_rows(schema: TableSchema, names: list[str], count: int, entropy: Entropy = os.urandom) -> pa.Table:
    """Rows that the schema allows, drawn uniformly from its bounds and lists."""
    return pa.table({name: _MADE[schema.column(name).kind](schema.column(name), count, entropy) for name in names})


def _numeric(column: Column, count: int, entropy: Entropy) -> Any:
    low, high = _bounds(column)
    return pa.array(low + (high - low) * uniforms(count, entropy))


def _tensor(column: Column, count: int, entropy: Entropy) -> Any:
    low, high = _bounds(column)
    flat = pa.array(low + (high - low) * uniforms(count * column.elements, entropy))
    return pa.FixedSizeListArray.from_arrays(flat, column.elements)


def _listed(column: Column, count: int, entropy: Entropy) -> Any:
    places = np.minimum(uniforms(count, entropy) * len(column.categories), len(column.categories) - 1).astype(int)
    return pa.array([column.categories[place] for place in places], type=pa.string())


def _boolean(_: Column, count: int, entropy: Entropy) -> Any:
    return pa.array(uniforms(count, entropy) < 0.5)


def _bounds(column: Column) -> tuple[float, float]:
    return (
        float(column.low.number if column.low is not None else 0),
        float(column.high.number if column.high is not None else 0),
    )


_MADE: dict[ColumnKind, Callable[[Column, int, Entropy], Any]] = {
    ColumnKind.NUMERIC: _numeric,
    ColumnKind.TENSOR: _tensor,
    ColumnKind.CATEGORICAL: _listed,
    ColumnKind.ORDINAL: _listed,
    ColumnKind.BOOLEAN: _boolean,
}


def _demand(condition: bool | np.bool_, sentence: str) -> None:
    if not condition:
        raise RehearsalError(sentence)
