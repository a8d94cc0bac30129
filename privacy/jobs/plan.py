"""Plans: what will run, in one frozen value from which the price is derived, so that they cannot disagree.

Rules
-----
1. A plan derives from a request and declared facts. It holds everything that the price depends on and yields its own
   mechanism uses; nobody writes a mechanism use by hand.
2. Noise is calibrated so that the job alone, run once through, stays within the requested epsilon at the population's
   delta. What is held covers every replay that a resume or a repetition may need.
3. What every plan has and answers is `privacy.jobs.plan_head`; every one has `noise_multiplier` and `rows_per_unit`.
4. A kind's plan is a module of its own and a line in `_PLANS`; this one is where all of them are imported from.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from kernel.canonical import Digest
from privacy.accounting.calibration import Shape
from privacy.budget.reservations import Block
from privacy.jobs.evaluation_plan import EvaluationPlan, plan_evaluation
from privacy.jobs.glm_plan import GlmPlan, plan_glm
from privacy.jobs.head import JobKind
from privacy.jobs.plan_head import REPEATS
from privacy.jobs.statistics_plan import StatisticsPlan, plan_statistics
from privacy.jobs.synthesis_plan import SynthesisPlan, plan_synthesis
from privacy.jobs.training_plan import (
    CLIP_MARGIN,
    MOST_CHUNKS,
    MOST_UNITS_AT_ONCE,
    MOST_WORK,
    RESUMES,
    Performance,
    TrainingPlan,
    performance_of,
    plan_training,
)
from privacy.jobs.tuning_plan import TuningPlan, plan_tuning

Plan: TypeAlias = TrainingPlan | TuningPlan | EvaluationPlan | StatisticsPlan | GlmPlan | SynthesisPlan

__all__ = [
    "CLIP_MARGIN",
    "MOST_CHUNKS",
    "MOST_UNITS_AT_ONCE",
    "MOST_WORK",
    "REPEATS",
    "RESUMES",
    "EvaluationPlan",
    "GlmPlan",
    "Performance",
    "Plan",
    "StatisticsPlan",
    "SynthesisPlan",
    "TrainingPlan",
    "TuningPlan",
    "block_of",
    "graph_of",
    "held_shape",
    "performance_of",
    "plan_evaluation",
    "plan_glm",
    "plan_statistics",
    "plan_synthesis",
    "plan_training",
    "plan_tuning",
    "read_plan",
    "shape",
]

_PLANS: Final[Mapping[JobKind, type[Plan]]] = {
    JobKind.TRAINING: TrainingPlan,
    JobKind.EVALUATION: EvaluationPlan,
    JobKind.TUNING: TuningPlan,
    JobKind.STATISTICS: StatisticsPlan,
    JobKind.GLM: GlmPlan,
    JobKind.SYNTHESIS: SynthesisPlan,
}


def read_plan(kind: str, fields: Mapping[str, Any]) -> Plan:
    """Read a stored plan of a job of that kind."""
    return _PLANS[JobKind(kind)].from_fields(fields)


def block_of(plan: Plan) -> Block:
    """Whose rows the job reads."""
    return plan.holds()[0].block


def graph_of(plan: Plan) -> Digest | None:
    """The digest of the model graph that would be trained, if one is."""
    trained = plan.training if isinstance(plan, TuningPlan) else plan
    return trained.graph if isinstance(trained, TrainingPlan) else None


def shape(plan: Plan) -> Shape:
    """What the job composes once through in its block, as a function of its noise alone: for calibration."""
    return lambda noise: plan.with_noise(noise).blocks_apart()[0]


def held_shape(plan: Plan) -> Shape:
    """What is held for the job in its block, as a function of its noise alone: for the largest job that fits."""
    block = block_of(plan)
    return lambda noise: [use.mechanism for use in plan.with_noise(noise).holds() if use.block is block]
