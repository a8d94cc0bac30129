"""The production run: `run_plan` with the engine that a job would get, its noise, its sampler, its witness.

Rules
-----
1. End to end nothing is replaced: rows are sampled, placed and gathered from the table that jobs train from.
2. A step alone leaves the data path out, as it does for everybody: the batch is in memory. What is left of the run is
   the production code itself: `engine.set_weights`, `Mechanism` (clipped sum, canaries, noise over weights and dead
   coordinates, grid, average, witness) and `Descent`. The canaries that are drawn are as many as the rate expects.
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
from privacy.training.clipping import ClipRule
from privacy.training.engine import Engine, MicroBatch
from privacy.training.plan_runner import Mechanism, run_plan
from privacy.training.rows import Rows
from privacy.training.state import Descent, RunState, first_state
from privacy.training.stream import NoiseStream
from privacy.training.units import UnitTable


def private(case: Case) -> Steps:
    """Take production steps, each from where the last one ended."""
    model = model_of(case.network)
    plan = plan_of(case, model)
    engine = engine_of(plan, model)
    state = first_state(model.graph)
    if case.end_to_end:
        return _runs(plan, performance_of(plan, model), engine, units_of(rows_of(case)), state)
    return _steps(plan, engine, batch_of(rows_of(case)), state)


def _runs(plan: TrainingPlan, cut: Performance, engine: Engine, units: UnitTable, state: RunState) -> Steps:
    """Run plans of as many steps as asked for, one after the other."""

    def steps(count: int) -> None:
        nonlocal state
        whole = dataclasses.replace(
            plan, recipe=dataclasses.replace(plan.recipe, steps=count), savepoint_interval=count
        )
        ended = run_plan(whole, cut, engine, units, Consent(), state, Witness(Claims.of(whole)))
        state = dataclasses.replace(ended, step=0)

    return steps


def _steps(plan: TrainingPlan, engine: Engine, batch: MicroBatch, state: RunState) -> Steps:
    """What a run does in a step once its batch is in memory."""
    rule, witness, descent = ClipRule.of(plan), Witness(Claims.of(plan)), Descent(plan, state)
    mechanism = Mechanism(engine, witness, rule, NoiseStream())
    canaries = np.arange(round(witness.units * float(plan.recipe.sampling_rate.number)))
    clip = rule.start

    def steps(count: int) -> None:
        nonlocal clip
        for _ in range(count):
            engine.set_weights(descent.weights)
            mechanism.add(batch, clip)
            gradient, clip = mechanism.release(canaries, clip)
            descent.move(gradient)

    return steps


class Consent:
    """A parent that always says go and is never handed a savepoint: a run here is one chunk."""

    def may_start(self, upto: int) -> bool:  # noqa: ARG002 - whatever is asked
        """Go."""
        return True

    def save(self, state: RunState) -> None:  # noqa: ARG002 - nothing comes
        """Not reached."""
        raise AssertionError("a run of one chunk has no savepoint")


def model_of(network: Network) -> CheckedGraph:
    """The graph that a job with this model gets."""
    return check(ModelChoice.from_json(network.model).graph(int(np.prod(network.shape)), network.outputs))


def engine_of(plan: TrainingPlan, model: CheckedGraph) -> Engine:
    """The engine that a job with this plan gets."""
    return choose_engine(model, plan.loss, plan)


def plan_of(case: Case, model: CheckedGraph) -> TrainingPlan:
    """A plan with the case's batch; what it costs is not measured here."""
    recipe = Recipe(
        sampling_rate=_parameter(case.batch / POPULATION),
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
        engine=engine_for(recipe.engine, model),
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
