"""The run: a plan's steps in chunks, with a savepoint after each, from declared start to finite weights. Child only.

Rules
-----
1. Exactly the plan's steps are taken: no early stop, no retry of a step, no look at a loss. An empty sample gets its
   noise and counts as a step.
2. Before a chunk runs the parent has made durable that it starts; it may answer stop instead, then nothing leaves.
3. A step costs at least the declared number of micro-batches; a larger sample costs a whole multiple of them.
4. A resumed run continues from noisy state with fresh streams: fresh noise, fresh samples and fresh places.
5. The witness' canaries are the last units of the population and its dead coordinates the last of the gradient: one
   sampler and one noise vector serve all. They are cut off before the update.

Reference: Abadi et al. 2016, algorithm 1, with Poisson sampling and the declared batch as normaliser.
"""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from kernel.ids import Entropy
from privacy.jobs.plan import Performance, TrainingPlan
from privacy.training.clipping import MARGIN, ClipRule
from privacy.training.engine import Engine, Floats, MicroBatch
from privacy.training.noise import add_noise, average, grid_of, noise_vector
from privacy.training.sampling import Indices, poisson_sample
from privacy.training.slots import placed
from privacy.training.state import Descent, RunState, first_state, released_weights
from privacy.training.stream import PAIRS, NoiseStream, OnePlace

__all__ = ["Dialogue", "RunState", "Stopped", "Units", "Witness", "first_state", "released_weights", "run_plan"]

PIECE = 2 * PAIRS
"""Numbers of a vector that are noised at once: what is done to them happens in a core's own cache."""


class Dialogue(Protocol):
    """The parent's side of a run."""

    def may_start(self, upto: int) -> bool:
        """Ask to run the steps up to `upto`; true once the parent has recorded that they start."""
        ...

    def save(self, state: RunState) -> None:
        """Hand over a savepoint."""
        ...


class Units(Protocol):
    """The rows of a block, by unit."""

    def __len__(self) -> int:
        """How many units there are."""
        ...

    def gather(self, members: Indices, places: int, into: MicroBatch | None = None) -> MicroBatch:
        """The rows of some units, in the order of their places; negative numbers are empty places.

        A batch of the same shape that is no longer needed may be given, to be written over.
        """
        ...


class Witness(Protocol):
    """Who watches the mechanism (`privacy.selftest`)."""

    @property
    def units(self) -> int:
        """How many canary units stand at the end of the population."""
        ...

    @property
    def coordinates(self) -> int:
        """How many dead coordinates it needs."""
        ...

    def moves(self, canaries: Indices) -> Floats:
        """What the drawn canaries add to the dead coordinates, in units of the clip."""
        ...

    def hear(self, noise: Floats, start: int, size: int) -> None:
        """Take in a piece of a step's noise, over its deviation: from coordinate `start` on, of a vector of `size`.

        The array is used again: what is kept must be copied.
        """
        ...

    def observe(self, *, dead: Floats, canaries: Indices) -> None:
        """End a step whose noise was heard: the averaged dead coordinates over the clip, and who was drawn."""
        ...


class Stopped(Exception):  # noqa: N818 - not an error: the parent said stop
    """The parent answered stop; nothing of the run may leave."""


def run_plan(
    plan: TrainingPlan,
    performance: Performance,
    engine: Engine,
    units: Units,
    dialogue: Dialogue,
    start: RunState,
    witness: Witness,
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
        witness: Who watches.
        entropy: Where the streams' keys come from; nothing but tests passes another.

    Returns:
        The state after the last step.

    Raises:
        Stopped: The parent answered stop.
    """
    rule = ClipRule.of(plan)
    clip = rule.start if start.clip is None else start.clip
    descent, started, steps = Descent(plan, start), start.started, plan.recipe.steps
    mechanism = Mechanism(engine, witness, rule, NoiseStream(entropy))
    step = _Step(plan, performance, units, witness.units, mechanism, NoiseStream(entropy))
    while descent.step < steps:
        upto = min(descent.step + plan.savepoint_interval, steps)
        if not dialogue.may_start(upto):
            raise Stopped
        started += upto - descent.step
        while descent.step < upto:
            engine.set_weights(descent.weights)
            gradient, clip = step.take(clip)
            descent.move(gradient)
        if upto < steps:
            dialogue.save(descent.state(clip, start.attempt, started))
    return descent.state(clip, start.attempt, started)


class _Step:
    """Who takes part in a step, and in which places: sample, place, gather, hand to the mechanism."""

    def __init__(
        self,
        plan: TrainingPlan,
        performance: Performance,
        units: Units,
        canaries: int,
        mechanism: Mechanism,
        choices: NoiseStream,
    ) -> None:
        self._performance, self._units, self._canaries = performance, units, canaries
        self._mechanism, self._choices = mechanism, choices
        self._rate = float(plan.recipe.sampling_rate.number)
        self._batch: MicroBatch | None = None

    def take(self, clip: float) -> tuple[Floats, float]:
        """One step at this clip: the noisy gradient, good until the next step, and the next clip."""
        known = len(self._units)
        chosen = poisson_sample(known + self._canaries, self._rate, self._choices.draw)
        members, canaries = np.split(chosen, [np.searchsorted(chosen, known)])
        for places in placed(members, self._performance, self._choices):
            self._batch = self._units.gather(places, len(places), self._batch)
            self._mechanism.add(self._batch, clip)
        return self._mechanism.release(canaries - known, clip)


class Mechanism:
    """From micro-batches to what may leave: sum what is clipped, add noise, divide by the declared batch.

    Args:
        engine: Clipped sums.
        witness: Who watches.
        rule: The clip of each step, the noise and the declared batch.
        stream: Where noise comes from.
    """

    def __init__(self, engine: Engine, witness: Witness, rule: ClipRule, stream: NoiseStream) -> None:
        self._engine, self._witness, self._rule = engine, witness, rule
        self._vector = np.zeros(engine.size + witness.coordinates + rule.coordinates)
        self._source = OnePlace(stream, min(PIECE, len(self._vector)))
        self._live, self._dead = slice(engine.size), slice(engine.size, engine.size + witness.coordinates)
        self._sums = self._counted = self._within = 0

    def add(self, batch: MicroBatch, clip: float) -> None:
        """Add a micro-batch: its clipped gradients and, where it is paid for, the count of whom the clip left alone."""
        live = self._vector[self._live]
        if self._sums:
            found = self._engine.clipped_sum(batch, clip * MARGIN)
            np.add(live, found.total, out=live)
        else:
            found = self._engine.clipped_sum(batch, clip * MARGIN, into=live)
        self._sums += 1
        if self._rule.coordinates:
            self._counted += int(batch.counts.any(axis=1).sum())
            self._within += found.within

    def release(self, canaries: Indices, clip: float) -> tuple[Floats, float]:
        """End a step, of which at least one micro-batch was added.

        Args:
            canaries: The numbers of those that were drawn, from 0.
            clip: The step's.

        Returns:
            The noisy gradient, which the caller may use up before the next step, and the next clip.
        """
        vector, rule = self._vector, self._rule
        vector[self._dead] = self._witness.moves(canaries) * clip
        if rule.coordinates:
            vector[-1] = rule.mark(clip, self._counted, self._within)
        self._sums = self._counted = self._within = 0
        for start in range(0, len(vector), PIECE):
            self._noise(start, clip)
        self._witness.observe(dead=vector[self._dead] / clip, canaries=canaries)
        return vector[self._live], rule.following(clip, float(vector[-1]))

    def _noise(self, start: int, clip: float) -> None:
        """From sums to noisy averages, in place, for the piece that starts there."""
        piece, size = self._vector[start : start + PIECE], len(self._vector)
        sigma, grid = self._rule.noise * clip, grid_of(clip, size)
        noise = noise_vector(self._source, len(piece), sigma, grid)
        average(add_noise(piece, noise, grid), grid, self._rule.batch)
        self._witness.hear(np.multiply(noise, grid / sigma, out=noise), start, size)
