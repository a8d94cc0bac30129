"""Whether a job can succeed, in a word, from declared facts alone.

Rules
-----
1. It looks at the plan and at declared sizes: no row is read and nothing is spent, so it may be wrong. No model learns
   what is not there to be learned; the word is about the noise.
2. It is said of what it was measured for (docs/MODELS.md, "What a quote's word means"); of everything else nothing is.

Training: in the sum of all steps the signal grows with steps x batch, the noise in one direction with sqrt(steps) x
noise, and noise in directions that do not matter does harm, too, as the root of the number of weights:

    clarity = expected batch x sqrt(steps) / (noise multiplier x sqrt(weights)).

At a given epsilon that is about people x epsilon / sqrt(weights), whatever rate and steps are. Evaluations and
statistics are as good as their counts: two deviations of the noise, over the declared number of those who are counted.
A tuning is as good as one try, or as the counts that choose between tries if they are worse.

A generalised linear model has a table where the curvature stands out from its noise, and one that is worth its price
where noise does not widen intervals much. With n units, z the noise multiplier of all sums, R^2 = 1/4 + 2/5 for each
term, and the shares s of the scores and the curvature of the steps that count:

    clarity = n sqrt(s_curvature) / (z R^2 sqrt(2 coefficients) / 3),
    widening = sqrt(1 + k z^2 R^2 / (n s_scores)), k by family and rows per unit, as measured.

Noise is that of a unit that has all of its rows at their worst. Rows that err each for itself add up to less, those of
a hazard to much less: of all periods of a person one has the event at most. So k grows with the root of the declared
rows where each unit counts once (of yes and no with their power of 3/4), with half of them where rows count, and with
their square in a logistic model in which rows count: a plan does not say whether it is a hazard, and is taken for one.
"""

from __future__ import annotations

import math
from enum import StrEnum
from functools import partial
from statistics import median
from typing import Final, Protocol

from kernel.amounts import Share
from kernel.events import Parameter
from privacy.glm.families import Family
from privacy.glm.schedule import Statistic, used_share
from privacy.jobs.glm_spec import Counted
from privacy.jobs.measurements import MeasurementSize
from privacy.jobs.plan import EvaluationPlan, GlmPlan, Plan, StatisticsPlan, SynthesisPlan, TrainingPlan, TuningPlan
from privacy.jobs.queries import Side


class Feasibility(StrEnum):
    """What to expect of a job, by its noise."""

    LIKELY = "likely"
    DOUBTFUL = "doubtful"
    HOPELESS = "hopeless"


class GlmNoise(Protocol):
    """What the word for a generalised linear model hangs on."""

    @property
    def family(self) -> Family:
        """Which model."""
        ...

    @property
    def terms(self) -> int:
        """How many coefficients beside the intercept."""
        ...

    @property
    def counted(self) -> Counted:
        """Whether every unit counts the same, or every row."""
        ...

    @property
    def rows_per_unit(self) -> int:
        """The most rows of a unit."""
        ...

    @property
    def noise_multiplier(self) -> Parameter:
        """Of all measurements together."""
        ...


LIKELY_CLARITY: Final = {"linear": 30.0, "network": 20.0}
HOPELESS_CLARITY: Final = {"linear": 5.0, "network": 3.0}
LIKELY_ERROR, HOPELESS_ERROR = 0.05, 0.2
LIKELY_TABLE, HOPELESS_TABLE = 90.0, 22.0
LIKELY_WIDENING, HOPELESS_WIDENING = 1.5, 4.0
_NOISE: Final = {Family.LINEAR: 30.0, Family.LOGISTIC: 30.0, Family.POISSON: 200.0}
_CONSTANT_SQUARE, _TERM_SQUARE = 0.25, 0.4


def feasibility(plan: Plan, public_size: int, holdout_share: Share) -> Feasibility:
    """The word for a job on so many units, as declared."""
    held_out = float(holdout_share.value) * public_size
    match plan:
        case TrainingPlan():
            return training_word(plan)
        case TuningPlan():
            scored = scoring_word(plan, public_size, holdout_share)
            return max(training_word(plan.training), scored, key=list(Feasibility).index)
        case EvaluationPlan():
            return counting_word(2 * float(plan.noise_of(0).number) * plan.rows_per_unit, held_out)
        case StatisticsPlan():
            units = held_out if plan.block is Side.HOLDOUT else public_size - held_out
            return counting_word(max(map(partial(_swing, plan), plan.measurements)), units)
        case SynthesisPlan():
            units = held_out if plan.block is Side.HOLDOUT else public_size - held_out
            return counting_word(2 * float(plan.pair_deviation.number) * math.sqrt(_pair_cells(plan)), units)
        case GlmPlan():
            return glm_word(plan, public_size - held_out)


def _pair_cells(plan: SynthesisPlan) -> float:
    """How many cells a pair of columns of middling size has, in all slices."""
    return plan.slices * float(median(plan.cells)) ** 2


def scoring_word(plan: TuningPlan, public_size: int, holdout_share: Share) -> Feasibility:
    """The word for the counts that choose between a tuning's tries."""
    scored = 2 * float(plan.score_noise.number) * plan.rows_per_unit
    return counting_word(scored, float(holdout_share.value) * public_size)


def training_word(plan: TrainingPlan) -> Feasibility:
    """The word for a training. Of the weights of several layers fewer matter than of one, so that less will do."""
    family = "linear" if plan.size.nodes == 1 else "network"
    return word_of(clarity(plan), LIKELY_CLARITY[family], HOPELESS_CLARITY[family])


def clarity(plan: TrainingPlan) -> float:
    """How far the sum of all steps stands out from its noise, by declared numbers."""
    signal = float(plan.normaliser.number) * math.sqrt(plan.recipe.steps)
    return signal / (float(plan.noise_multiplier.number) * math.sqrt(plan.size.parameters))


def glm_word(plan: GlmNoise, units: float) -> Feasibility:
    """The word for a generalised linear model of about so many units: the worse of clarity and widening."""
    table = word_of(glm_clarity(plan, units), LIKELY_TABLE, HOPELESS_TABLE)
    width = word_of(1 / glm_widening(plan, units), 1 / LIKELY_WIDENING, 1 / HOPELESS_WIDENING)
    return max(table, width, key=list(Feasibility).index)


def glm_clarity(plan: GlmNoise, units: float) -> float:
    """How far the curvature stands out from what is taken for noise, by declared numbers."""
    share = math.sqrt(used_share(plan.family, Statistic.CURVATURE))
    noise = float(plan.noise_multiplier.number) * _square(plan) * math.sqrt(2 * (plan.terms + 1)) / 3
    return _full(plan, units) * share / noise


def glm_widening(plan: GlmNoise, units: float) -> float:
    """How many times as long noise makes an interval, about, by declared numbers."""
    share = float(used_share(plan.family, Statistic.SCORES))
    noise = float(plan.noise_multiplier.number) ** 2 * _square(plan) / share
    return math.sqrt(1 + _NOISE[plan.family] * _cancelling(plan) * noise / max(_full(plan, units), 1.0))


def _cancelling(plan: GlmNoise) -> float:
    """How much less than one row's a unit's scores are, squared, by its declared rows, as measured."""
    rows, logistic = float(plan.rows_per_unit), plan.family is Family.LOGISTIC
    if plan.counted is Counted.UNIT:
        return float(rows ** (0.75 if logistic else 0.5))
    return rows**2 if logistic else (1 + rows) / 2


def _square(plan: GlmNoise) -> float:
    """The squared length from which on a row weighs less, as for numbers."""
    return _CONSTANT_SQUARE + _TERM_SQUARE * plan.terms


def _full(plan: GlmNoise, units: float) -> float:
    """Units of full weight: where rows count, a unit has half of the declared most, as far as is known."""
    return units * (1 + 1 / plan.rows_per_unit) / 2 if plan.counted is Counted.ROW else units


def counting_word(noise: float, units: float) -> Feasibility:
    """The word for counts that two deviations of their noise move by so much, of about so many units."""
    return word_of(units / noise, 1 / LIKELY_ERROR, 1 / HOPELESS_ERROR)


def _swing(plan: StatisticsPlan, measurement: MeasurementSize) -> float:
    """Two deviations of a measurement's noise, as if everybody who is counted counted by one."""
    return 2 * float(plan.deviation(measurement).number) / measurement.row_bound


def word_of(value: float, likely: float, hopeless: float) -> Feasibility:
    """The word for a value that should be large, between its two thresholds."""
    if value >= likely:
        return Feasibility.LIKELY
    return Feasibility.HOPELESS if value < hopeless else Feasibility.DOUBTFUL
