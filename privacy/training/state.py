"""Where a run stands, and how a noisy gradient moves it. Child only.

Rules
-----
1. A state is noisy state only, and the number of steps: there is nothing random in it and nothing counted.
2. An update is a function of noisy values and of the step's number: the schedule knows nothing else.
3. Weights are always finite: what is not becomes 0 and the rest is held within +-10^6.
4. An update passes over the vector a few times and in place; whether anything must be held is seen from one sum of
   squares.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.ids import Entropy
from privacy.graph.spec import InitialRule, ModelGraph, Weight
from privacy.jobs.plan import TrainingPlan
from privacy.jobs.recipe import Averaging
from privacy.training.engine import unflatten
from privacy.training.noise import uniforms

Floats: TypeAlias = NDArray[np.float64]
LARGEST_WEIGHT = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run stands: noisy state only.

    Attributes:
        step: Steps done.
        weights: Flattened in the graph's order.
        velocity: Momentum; zeros in a run without.
        total: Running sum of the averaged weights.
        clip: The next step's; nothing before the first step, where it is the recipe's.
        attempt: Which attempt at the job this is, from 1.
        started: Steps that were started up to here, those that an earlier attempt lost included.
    """

    step: int
    weights: Floats
    velocity: Floats
    total: Floats
    clip: float | None = None
    attempt: int = 1
    started: int = 0


def first_state(
    graph: ModelGraph, entropy: Entropy = os.urandom, given: Mapping[str, NDArray[np.float32]] | None = None
) -> RunState:
    """The state before the first step, with weights as the graph says.

    Args:
        graph: The model.
        entropy: Where random bytes come from; nothing but tests passes another.
        given: Values of the weights that start `given`.
    """
    weights = np.concatenate([_first(weight, entropy, given or {}) for weight in graph.weights])
    return RunState(step=0, weights=weights, velocity=np.zeros_like(weights), total=np.zeros_like(weights))


def _first(weight: Weight, entropy: Entropy, given: Mapping[str, NDArray[np.float32]]) -> Floats:
    start = weight.init
    match start.rule:
        case InitialRule.UNIFORM if start.bound is not None:
            return float(start.bound.number) * (2 * uniforms(weight.elements, entropy) - 1)
        case InitialRule.CONSTANT if start.value is not None:
            return np.full(weight.elements, float(start.value.number))
        case InitialRule.GIVEN:
            return given[weight.name].astype(np.float64).reshape(-1)
        case _:
            return np.zeros(weight.elements)


class Descent:
    """Gradient descent with momentum, in place, from one state on.

    Args:
        plan: Whose recipe it follows.
        start: Where it begins; its arrays are copied.
    """

    def __init__(self, plan: TrainingPlan, start: RunState) -> None:
        recipe = plan.recipe
        self._recipe, self.step = recipe, start.step
        self._rate, self._momentum = float(recipe.learning_rate.number), float(recipe.momentum.number)
        self._decay = float(recipe.weight_decay.number)
        self._averaged_from = recipe.steps // 2 if recipe.averaging is Averaging.SECOND_HALF else recipe.steps
        self.weights, self._velocity, self._total = start.weights.copy(), start.velocity.copy(), start.total.copy()

    def move(self, gradient: Floats) -> None:
        """One update from a noisy gradient, which is used up."""
        rate = self._rate * self._recipe.schedule.factor(self.step, self._recipe.steps)
        with np.errstate(all="ignore"):
            if self._decay:
                gradient += self._decay * self.weights
            if self._momentum:
                self._velocity *= self._momentum
                self._velocity += gradient
                hold(self._velocity)
                np.copyto(gradient, self._velocity)
            gradient *= rate
            self.weights -= gradient
            hold(self.weights)
        if self.step >= self._averaged_from:
            self._total += self.weights
        self.step += 1

    def state(self, clip: float, attempt: int, started: int) -> RunState:
        """Where it stands, in arrays of its own."""
        return RunState(
            step=self.step,
            weights=self.weights.copy(),
            velocity=self._velocity.copy(),
            total=self._total.copy(),
            clip=clip,
            attempt=attempt,
            started=started,
        )


def hold(values: Floats) -> None:
    """Make finite and hold within the largest weight, in place."""
    # A sum of squares below the bound's square bounds each of them; NaN compares false.
    if not float(values @ values) <= LARGEST_WEIGHT**2:
        np.nan_to_num(values, copy=False, nan=0.0, posinf=LARGEST_WEIGHT, neginf=-LARGEST_WEIGHT)
        np.clip(values, -LARGEST_WEIGHT, LARGEST_WEIGHT, out=values)


def released_weights(plan: TrainingPlan, graph: ModelGraph, state: RunState) -> dict[str, NDArray[np.float32]]:
    """What is released: the last weights or the mean over the second half, in float32, always finite."""
    steps = plan.recipe.steps
    flat = state.weights
    if plan.recipe.averaging is Averaging.SECOND_HALF:
        flat = state.total / (steps - steps // 2)
    shapes = {weight.name: weight.shape for weight in graph.weights}
    return {name: value.astype(np.float32) for name, value in unflatten(flat, shapes).items()}
