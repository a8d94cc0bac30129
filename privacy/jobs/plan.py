"""Plans: what will run, in one frozen value from which the price is derived, so that they cannot disagree.

Rules
-----
1. A plan derives from a request and declared facts. It holds everything that the price depends on and yields its own
   mechanism uses; nobody writes a mechanism use by hand.
2. Noise is calibrated so that the job alone, run once through, stays within the requested epsilon at the population's
   delta. What is held covers every replay that a resume or a repetition may need.
3. Every plan has `order`, `epsilon`, `delta`, `noise_multiplier`, `rows_per_unit`, `retries` and `digest`, and answers
   `uses`, `holds` and `with_noise`.
4. A kind's plan is a module of its own and a line in `_PLANS`; this one is where all of them are imported from.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from privacy.accounting.calibration import Shape
from privacy.budget.reservations import Block
from privacy.jobs.evaluation_plan import REPEATS, EvaluationPlan, plan_evaluation
from privacy.jobs.head import JobKind
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

Plan: TypeAlias = TrainingPlan | EvaluationPlan

__all__ = [
    "CLIP_MARGIN",
    "MOST_CHUNKS",
    "MOST_UNITS_AT_ONCE",
    "MOST_WORK",
    "REPEATS",
    "RESUMES",
    "EvaluationPlan",
    "Performance",
    "Plan",
    "TrainingPlan",
    "block_of",
    "held_shape",
    "performance_of",
    "plan_evaluation",
    "plan_training",
    "read_plan",
    "shape",
]

_PLANS: Final[Mapping[JobKind, type[Plan]]] = {
    JobKind.TRAINING: TrainingPlan,
    JobKind.EVALUATION: EvaluationPlan,
}


def read_plan(kind: str, fields: Mapping[str, Any]) -> Plan:
    """Read a stored plan of a job of that kind."""
    return _PLANS[JobKind(kind)].from_fields(fields)


def block_of(plan: Plan) -> Block:
    """Whose rows the job reads."""
    return plan.holds()[0].block


def shape(plan: Plan) -> Shape:
    """What the job composes once through, as a function of its noise alone: for calibration."""
    return lambda noise: plan.with_noise(noise).uses()


def held_shape(plan: Plan) -> Shape:
    """What is held for the job, as a function of its noise alone: for the largest job that fits."""
    return lambda noise: [use.mechanism for use in plan.with_noise(noise).holds()]
