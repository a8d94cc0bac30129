"""The rehearsal by name: the engine on made-up rows, and one whole step of the run on rows that are dead. Child only.

Rules
-----
1. Everything here happens before the child has a key. It may fail, and fail loudly.
2. The step on dead rows is the run's own: sampling, places, engine, noise, grid, average, update. Dead rows add
   nothing, so that what moved the weights is the noise alone, and must be the very noise that the witness was shown.
3. What passed is told by name; what failed is a `RehearsalError` whose sentence belongs to one name.
"""

from __future__ import annotations

import dataclasses
import os
from decimal import Context, Decimal
from typing import Final

import numpy as np

from kernel.events import Parameter
from kernel.ids import Entropy
from privacy.graph.check import CheckedGraph
from privacy.jobs.plan import Performance, TrainingPlan
from privacy.jobs.recipe import Averaging, Schedule
from privacy.schema import TableSchema
from privacy.selftest.canaries import Floats
from privacy.selftest.claims import Claims
from privacy.selftest.report import REHEARSED, Check
from privacy.selftest.witness import Witness
from privacy.training import preflight
from privacy.training.engine import Engine
from privacy.training.plan_runner import run_plan
from privacy.training.preflight import RehearsalError
from privacy.training.rows import RowEncoder, Rows
from privacy.training.state import RunState
from privacy.training.units import UnitTable

CHECK_OF: Final = {
    "noise does not reach the weights": Check.LIVE_NOISE,
    "the update is not the average": Check.LIVE_AVERAGE,
    "a unit's gradient is wrong": Check.CLIPPED_ALONE,
    "a unit exceeds the clip": Check.CLIP_BOUND,
    "rows are mixed": Check.ROWS_APART,
    "a broken row is felt by others": Check.ROWS_APART,
    "a hostile row makes the sum infinite": Check.HOSTILE_ROWS,
    "a hostile row exceeds the clip": Check.HOSTILE_ROWS,
}
"""Which check a failed rehearsal's sentence belongs to."""
DEAD_UNITS = 32
COORDINATES = 16
_EXACT = 1e-6
_SLOWEST, _FASTEST = Decimal("0.000001"), Decimal(10_000)
_DIGITS = Context(prec=4)


def rehearse(
    plan: TrainingPlan,
    performance: Performance,
    model: CheckedGraph,
    encoder: RowEncoder,
    schema: TableSchema,
    engine: Engine,
    entropy: Entropy = os.urandom,
) -> tuple[Check, ...]:
    """Rehearse, and name what passed.

    Raises:
        RehearsalError: Something did not; `CHECK_OF` has the name.
    """
    preflight.rehearse(plan, performance, model, encoder, schema, engine, entropy)
    check_live_noise(plan, performance, engine, encoder.width, entropy)
    return REHEARSED


def check_live_noise(
    plan: TrainingPlan, performance: Performance, engine: Engine, width: int, entropy: Entropy = os.urandom
) -> None:
    """Take one step on dead rows and hold the weights to the noise.

    Raises:
        RehearsalError: The noise is not in them, or not divided by the declared batch.
    """
    short = _one_step(plan)
    probe = _Probe(Claims.of(plan), COORDINATES, entropy)
    zeros = np.zeros(engine.size)
    start = RunState(step=0, weights=zeros, velocity=zeros.copy(), total=zeros.copy())
    small = Performance(units_at_once=performance.units_at_once, least_micro_batches=1)
    dead = _dead_units(width, plan.rows_per_unit)
    end = run_plan(short, small, engine, dead, _Alone(), start, probe, entropy)
    scale = float(plan.normaliser.number) / float(short.recipe.learning_rate.number * plan.recipe.clip.number)
    found, expected = -scale * end.weights, float(plan.gradient_noise) * probe.noise[: engine.size]
    lengths = float(np.linalg.norm(found) * np.linalg.norm(expected))
    if not lengths > 0 or float(found @ expected) < (1 - _EXACT) * lengths:
        raise RehearsalError("noise does not reach the weights")
    if float(np.linalg.norm(found - expected)) > _EXACT * float(np.linalg.norm(expected)):
        raise RehearsalError("the update is not the average")


class _Probe(Witness):
    """A witness that keeps the last step's noise: of made-up rows, so that nothing private is in it."""

    noise: Floats

    def hear(self, noise: Floats, start: int, size: int) -> None:
        """Keep a copy."""
        if start == 0:
            self.noise = np.zeros(size)
        self.noise[start : start + len(noise)] = noise
        super().hear(noise, start, size)


class _Alone:
    """A dialogue with nobody."""

    def may_start(self, upto: int) -> bool:  # noqa: ARG002 - a protocol's name
        """Nothing private is read: yes."""
        return True

    def save(self, state: RunState) -> None:
        """One step has no savepoint."""


def _one_step(plan: TrainingPlan) -> TrainingPlan:
    """The plan with one plain step, at a pace that moves the weights by about 1."""
    pace = _DIGITS.divide(plan.normaliser.number, plan.gradient_noise * plan.recipe.clip.number)
    recipe = dataclasses.replace(
        plan.recipe,
        steps=1,
        learning_rate=Parameter(min(max(pace, _SLOWEST), _FASTEST)),
        schedule=Schedule.CONSTANT,
        momentum=Parameter(0),
        weight_decay=Parameter(0),
        averaging=Averaging.NONE,
    )
    return dataclasses.replace(plan, recipe=recipe, savepoint_interval=1)


def _dead_units(width: int, rows_per_unit: int) -> UnitTable:
    count = DEAD_UNITS * rows_per_unit
    rows = Rows(
        features=np.ones((count, width), dtype=np.float32),
        targets=np.ones(count, dtype=np.float32),
        alive=np.zeros(count, dtype=np.bool_),
    )
    return UnitTable.by_unit(rows, np.arange(count) // rows_per_unit, rows_per_unit)
