"""The recipe: what a trainer may choose about a training run, within limits, and good choices for who knows nothing.

Rules
-----
1. No choice can weaken the guarantee: noise is calibrated to whatever was chosen.
2. The schedule is a function of the step's number. Nothing adapts to data: no early stop, no plateau, no best step.
3. There is no seed.
4. Defaults follow from declared sizes, epsilon and the model's shape, never from rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from typing import Final

from kernel.amounts import Epsilon
from kernel.checks import probability, whole, within
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from privacy.graph.templates import ModelChoice
from privacy.jobs.engines import EngineChoice
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.model import Model

MOST_STEPS = 100_000
_SMALL = Decimal("0.000001")
_LARGE = Decimal(10_000)
_FOUR_DIGITS = Context(prec=4, rounding=ROUND_FLOOR)


class Schedule(StrEnum):
    """Factor on the learning rate by the number of the step."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"

    def factor(self, step: int, steps: int) -> float:
        """The factor for step `step` of `steps`, counted from 0."""
        match self:
            case Schedule.CONSTANT:
                return 1.0
            case Schedule.LINEAR:
                return 1 - step / steps
            case Schedule.COSINE:
                return (1 + math.cos(math.pi * step / steps)) / 2


class Averaging(StrEnum):
    """Which weights are released: free, because it only uses what is noised already."""

    NONE = "none"
    SECOND_HALF = "second-half"


class Clipping(StrEnum):
    """How one unit's influence is limited; the limit on the whole of it is the same in each case.

    `per-layer` gives each layer an equal share of the clip; `adaptive` moves the limit from step to step by a noised
    count of the units that stayed below it, which is paid for out of the same noise multiplier.
    """

    FLAT = "flat"
    PER_LAYER = "per-layer"
    ADAPTIVE = "adaptive"


@dataclass(frozen=True, kw_only=True)
class Recipe(Record):
    """A trainer's choices about the run.

    Attributes:
        sampling_rate: The probability with which a unit enters a step.
        steps: How many steps.
        clip: Bound on the norm of one unit's summed gradient.
        learning_rate: Step size on the noisy sum over the expected batch.
        schedule: Factor on it.
        momentum: Share of the last update that is kept (heavy ball).
        weight_decay: Pull towards zero, per step, before the learning rate.
        averaging: Release the last weights or the mean over the second half.
        clipping: How the clip is applied; under `adaptive`, `clip` is the first step's.
        engine: Which engine to use; `auto` is the quickest that covers the model.
    """

    sampling_rate: Parameter
    steps: int
    clip: Parameter
    learning_rate: Parameter
    schedule: Schedule
    momentum: Parameter
    weight_decay: Parameter
    averaging: Averaging
    clipping: Clipping
    engine: EngineChoice

    def __post_init__(self) -> None:
        probability(sampling_rate=self.sampling_rate.number)
        whole(1, MOST_STEPS, steps=self.steps)
        within(_SMALL, _LARGE, clip=self.clip.number)
        within(_SMALL, _LARGE, learning_rate=self.learning_rate.number)
        within(Decimal(0), Decimal("0.999"), momentum=self.momentum.number)
        within(Decimal(0), Decimal(10), weight_decay=self.weight_decay.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Habit:
    """What works for a kind of model, found on simulated and public data (docs/formats/job-spec.md)."""

    learning_rate: str
    momentum: str
    clip: str = "1"


_OWN_GRAPH: Final = _Habit(learning_rate="0.5", momentum="0.9")
_HABITS: Final[dict[str, _Habit]] = {
    "linear": _Habit(learning_rate="0.5", momentum="0.9", clip="0.3"),
    "logistic": _Habit(learning_rate="1", momentum="0.9"),
    "softmax": _Habit(learning_rate="1", momentum="0.9"),
    "gam": _Habit(learning_rate="2", momentum="0.9"),
    "mlp": _Habit(learning_rate="0.7", momentum="0.9"),
    "cnn": _Habit(learning_rate="2", momentum="0.9", clip="0.1"),
    "transformer": _Habit(learning_rate="0.5", momentum="0.9"),
}
_LARGEST_DEFAULT_BATCH = Decimal(4096)
_HALF = Decimal("0.5")
_LEAST_STEPS, _USUAL_STEPS = 40, 160


def default_recipe(model: Model, epsilon: Epsilon, facts: DeclaredFacts) -> Recipe:
    """A recipe that follows from declared facts alone.

    Half of the units per step, up to 4096; more steps where more people and more epsilon make room for them; half-run
    averaging, which costs nothing and evens out the noise.
    """
    habit = _HABITS[model.template.value] if isinstance(model, ModelChoice) else _OWN_GRAPH
    return Recipe(
        sampling_rate=default_rate(facts),
        steps=_default_steps(epsilon, facts),
        clip=Parameter(habit.clip),
        learning_rate=Parameter(habit.learning_rate),
        schedule=Schedule.CONSTANT,
        momentum=Parameter(habit.momentum),
        weight_decay=Parameter(0),
        averaging=Averaging.SECOND_HALF,
        clipping=Clipping.FLAT,
        engine=EngineChoice.AUTO,
    )


def default_rate(facts: DeclaredFacts) -> Parameter:
    """Half of the units, up to a batch of 4096, to four digits."""
    return rate_for_batch(min(_LARGEST_DEFAULT_BATCH, _FOUR_DIGITS.multiply(facts.training_units, _HALF)), facts)


def rate_for_batch(batch: Decimal, facts: DeclaredFacts) -> Parameter:
    """The rate, to four digits, that samples about `batch` units; `InvalidError` if that is more than train."""
    if not 0 < batch <= facts.training_units:
        raise InvalidError(
            "`expected_batch` must be above 0 and at most public size x (1 - holdout share)", field="expected_batch"
        )
    return Parameter(_FOUR_DIGITS.divide(batch, facts.training_units))


def _default_steps(epsilon: Epsilon, facts: DeclaredFacts) -> int:
    """40 where epsilon x people is small, up to 160 where it is large: noise eats what more steps would gain."""
    room = float(epsilon.value * facts.training_units)
    return max(_LEAST_STEPS, min(_USUAL_STEPS, round(_LEAST_STEPS * math.sqrt(room / 1200) / 10) * 10))
