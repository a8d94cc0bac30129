"""The production run: `run_plan` with the engine that a job would get, its noise, its sampler, its witness.

A step's batch is the whole population at sampling rate 1, so that it has exactly the case's size, and is handed over as
the one micro-batch that it is, as ordinary training is handed its tensors. Everything else of a step is the run's own:
sampling, slots, clipped sums, noise over weights and dead coordinates, grid, update, witness. End to end nothing is
replaced: rows are gathered from the table that jobs train from.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from benchmarks.dp_cases import CLIP, LEARNING_RATE, NOISE_MULTIPLIER, POPULATION, Case, Network, Table, rows_of
from benchmarks.dp_timing import Steps
from kernel.amounts import Delta, Epsilon
from kernel.canonical import digest_of
from kernel.events import Parameter
from privacy.graph.check import CheckedGraph, check
from privacy.graph.templates import ModelChoice
from privacy.jobs.engines import EngineChoice, engine_for
from privacy.jobs.plan import Performance, TrainingPlan, performance_of
from privacy.jobs.recipe import Averaging, Clipping, Recipe, Schedule
from privacy.jobs.size import ModelSize
from privacy.jobs.spec import Loss
from privacy.selftest.claims import Claims
from privacy.selftest.witness import Witness
from privacy.training.choosing import choose_engine
from privacy.training.engine import Engine, MicroBatch
from privacy.training.plan_runner import run_plan
from privacy.training.rows import Rows
from privacy.training.sampling import Indices
from privacy.training.state import RunState, first_state
from privacy.training.units import UnitTable


def private(case: Case) -> Steps:
    """Run plans of as many steps as asked for, one after the other, each from where the last one ended."""
    model = model_of(case.network)
    table = rows_of(case)
    plan = plan_of(case, model)
    units = units_of(table) if case.end_to_end else InMemory.of(table)
    cut = (
        performance_of(plan, model) if case.end_to_end else Performance(units_at_once=case.batch, least_micro_batches=1)
    )
    engine = engine_of(plan, model)
    state = first_state(model.graph)

    def steps(count: int) -> None:
        nonlocal state
        whole = dataclasses.replace(
            plan, recipe=dataclasses.replace(plan.recipe, steps=count), savepoint_interval=count
        )
        ended = run_plan(whole, cut, engine, units, Consent(), state, Witness(Claims.of(whole)))
        state = dataclasses.replace(ended, step=0)

    return steps


class Consent:
    """A parent that always says go and is never handed a savepoint: a run here is one chunk."""

    def may_start(self, upto: int) -> bool:  # noqa: ARG002 - whatever is asked
        """Go."""
        return True

    def save(self, state: RunState) -> None:  # noqa: ARG002 - nothing comes
        """Not reached."""
        raise AssertionError("a run of one chunk has no savepoint")


class InMemory:
    """A batch that is in memory already, in place of the table of rows."""

    def __init__(self, batch: MicroBatch) -> None:
        self._batch = batch

    @classmethod
    def of(cls, table: Table) -> InMemory:
        """All rows, one to a unit."""
        return cls(batch_of(table))

    def __len__(self) -> int:
        return len(self._batch.counts)

    def gather(self, members: Indices, places: int | None = None) -> MicroBatch:
        """The batch; every unit is in it."""
        if len(members) != len(self) or places not in (None, len(self)):
            raise AssertionError("a step takes the whole batch")
        return self._batch


def model_of(network: Network) -> CheckedGraph:
    """The graph that a job with this model gets."""
    return check(ModelChoice.from_json(network.model).graph(int(np.prod(network.shape)), network.outputs))


def engine_of(plan: TrainingPlan, model: CheckedGraph) -> Engine:
    """The engine that a job with this plan gets."""
    return choose_engine(model, plan.loss, plan)


def plan_of(case: Case, model: CheckedGraph) -> TrainingPlan:
    """A plan with the case's batch; what it costs is not measured here."""
    rate = case.batch / POPULATION if case.end_to_end else 1.0
    recipe = Recipe(
        sampling_rate=_parameter(rate),
        steps=1,
        clip=_parameter(CLIP),
        learning_rate=_parameter(LEARNING_RATE),
        schedule=Schedule.CONSTANT,
        momentum=Parameter(0),
        weight_decay=Parameter(0),
        averaging=Averaging.NONE,
        clipping=Clipping.FLAT,
        engine=EngineChoice.AUTO,
    )
    return TrainingPlan(
        request=digest_of("benchmark/v1", {}),
        graph=model.graph.digest,
        features=digest_of("benchmark/v1", {}),
        loss=Loss.LOGISTIC if case.network.outputs == 1 else Loss.SOFTMAX,
        recipe=recipe,
        engine=engine_for(recipe.engine, model, rows_per_unit=1),
        size=ModelSize.of(model),
        noise_multiplier=_parameter(NOISE_MULTIPLIER),
        normaliser=Parameter(case.batch),
        rows_per_unit=1,
        savepoint_interval=1,
        resumes=0,
        order=8,
        epsilon=Epsilon(Decimal(1)),
        delta=Delta(Decimal("0.000001")),
    )


def units_of(table: Table) -> UnitTable:
    """The rows as a job holds them."""
    return UnitTable.of_records(
        Rows(features=_flat(table), targets=table.labels.astype(np.float32), alive=np.ones(len(table.labels), np.bool_))
    )


def batch_of(table: Table) -> MicroBatch:
    """The rows as one micro-batch."""
    rows = len(table.labels)
    return MicroBatch(
        features=_flat(table)[:, None, :],
        targets=table.labels.astype(np.float32)[:, None],
        counts=np.ones((rows, 1), np.bool_),
    )


def _parameter(value: float) -> Parameter:
    return Parameter(Decimal(value))


def _flat(table: Table) -> NDArray[np.float32]:
    return table.features.reshape(len(table.labels), -1)
