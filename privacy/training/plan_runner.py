"""The run: a plan's steps in chunks, with a savepoint after each, from declared start to finite weights. Child only.

Rules
-----
1. Exactly the plan's steps are taken: no early stop, no retry of a step, no look at a loss. An empty sample gets its
   noise and counts as a step.
2. Before a chunk runs the parent has made durable that it starts; it may answer stop instead, then nothing leaves.
3. A step costs at least the declared number of micro-batches; a larger sample costs a whole multiple of them.
4. A resumed run continues from noisy state with fresh noise and fresh samples; there is nothing random to restore.
5. The run always ends with finite weights: after each step what is not finite becomes 0 and the rest is held within
   +-10^6. That only uses what is noised already.

Reference: Abadi et al. 2016, algorithm 1, with Poisson sampling and the declared batch as normaliser.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.ids import Entropy
from privacy.graph.spec import InitialRule, ModelGraph
from privacy.jobs.plan import Performance, TrainingPlan
from privacy.jobs.recipe import Averaging
from privacy.training.engine import Engine, unflatten
from privacy.training.noise import noisy_sum, uniforms
from privacy.training.sampling import Indices, poisson_sample
from privacy.training.units import UnitTable

Floats: TypeAlias = NDArray[np.float64]
LARGEST_WEIGHT = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run stands: noisy state only.

    Attributes:
        step: Steps done.
        weights: Flattened in the graph's order.
        velocity: Momentum.
        total: Running sum of the averaged weights.
    """

    step: int
    weights: Floats
    velocity: Floats
    total: Floats


class Dialogue(Protocol):
    """The parent's side of a run."""

    def may_start(self, upto: int) -> bool:
        """Ask to run the steps up to `upto`; true once the parent has recorded that they start."""
        ...

    def save(self, state: RunState) -> None:
        """Hand over a savepoint."""
        ...


class Stopped(Exception):  # noqa: N818 - not an error: the parent said stop
    """The parent answered stop; nothing of the run may leave."""


def run_plan(
    plan: TrainingPlan,
    performance: Performance,
    engine: Engine,
    units: UnitTable,
    dialogue: Dialogue,
    start: RunState,
    entropy: Entropy = os.urandom,
) -> RunState:
    """Take the plan's remaining steps.

    Args:
        plan: What to run.
        performance: How to cut it.
        engine: Clipped sums.
        units: The rows of the train block, by unit.
        dialogue: The parent's side.
        start: A first state (`first_state`) or an opened savepoint.
        entropy: Where random bytes come from; nothing but tests passes another.

    Returns:
        The state after the last step.

    Raises:
        Stopped: The parent answered stop.
    """
    state = start
    steps = plan.recipe.steps
    while state.step < steps:
        upto = min(state.step + plan.savepoint_interval, steps)
        if not dialogue.may_start(upto):
            raise Stopped
        while state.step < upto:
            engine.set_weights(state.weights)
            state = next_state(plan, state, _noisy_gradient(plan, performance, engine, units, entropy))
        if upto < steps:
            dialogue.save(state)
    return state


def first_state(graph: ModelGraph, entropy: Entropy = os.urandom) -> RunState:
    """The state before the first step, with weights drawn as the graph says."""
    parts = []
    for weight in graph.weights:
        bound = 0.0 if weight.init.bound is None else float(weight.init.bound.number)
        drawn = uniforms(weight.elements, entropy) if weight.init.rule is InitialRule.UNIFORM else 0.5
        parts.append(np.broadcast_to(bound * (2 * np.asarray(drawn) - 1), (weight.elements,)))
    weights = np.concatenate(parts)
    return RunState(step=0, weights=weights, velocity=np.zeros_like(weights), total=np.zeros_like(weights))


def next_state(plan: TrainingPlan, state: RunState, gradient: Floats) -> RunState:
    """One update from a noisy gradient; a function of noisy values and of the step's number only."""
    recipe = plan.recipe
    rate = float(recipe.learning_rate.number) * recipe.schedule.factor(state.step, recipe.steps)
    pull = float(recipe.weight_decay.number) * state.weights
    velocity = _bounded(float(recipe.momentum.number) * state.velocity + gradient + pull)
    weights = _bounded(state.weights - rate * velocity)
    averaged = recipe.averaging is Averaging.SECOND_HALF and state.step >= recipe.steps // 2
    return RunState(
        step=state.step + 1,
        weights=weights,
        velocity=velocity,
        total=state.total + weights if averaged else state.total,
    )


def released_weights(plan: TrainingPlan, graph: ModelGraph, state: RunState) -> dict[str, NDArray[np.float32]]:
    """What is released: the last weights or the mean over the second half, in float32, always finite."""
    steps = plan.recipe.steps
    flat = state.weights
    if plan.recipe.averaging is Averaging.SECOND_HALF:
        flat = state.total / (steps - steps // 2)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    return {name: value.astype(np.float32) for name, value in unflatten(flat, shapes).items()}


def _noisy_gradient(
    plan: TrainingPlan, performance: Performance, engine: Engine, units: UnitTable, entropy: Entropy
) -> Floats:
    """Sample, sum what is clipped, add noise, divide by the declared batch."""
    chosen = poisson_sample(len(units), float(plan.recipe.sampling_rate.number), entropy)
    total, clip = np.zeros(engine.size), float(plan.engine_clip)
    for members in micro_batches(chosen, performance):
        total += engine.clipped_sum(units.gather(members, performance.units_at_once), clip).total
    noisy = noisy_sum(total, float(plan.recipe.clip.number), float(plan.sigma), entropy)
    return noisy / float(plan.normaliser.number)


def micro_batches(chosen: Indices, performance: Performance) -> Iterator[Indices]:
    """Cut a sample; at least the declared number of micro-batches, and a whole multiple of it, the last ones empty."""
    size, least = performance.units_at_once, performance.least_micro_batches
    needed = -(-len(chosen) // size)
    for number in range(max(1, -(-needed // least)) * least):
        yield chosen[number * size : (number + 1) * size]


def _bounded(values: Floats) -> Floats:
    finite = np.nan_to_num(values, nan=0.0, posinf=LARGEST_WEIGHT, neginf=-LARGEST_WEIGHT)
    return np.clip(finite, -LARGEST_WEIGHT, LARGEST_WEIGHT)
