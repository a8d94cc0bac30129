"""Assignments: everything a child is told before it has a key. Pure: written by the worker, read in the child.

Rules
-----
1. An assignment is complete and consistent or it cannot be built: the graph and the features are those of the plan.
2. It holds no key, no row and no count.
3. A role's assignment is a module of its own; this one is where all of them are imported from.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from typing import TypeAlias

from privacy.jobs.assignment_head import LIMIT, MOST_PARTS, VERSION, PartFile, Role, Table, require_role
from privacy.jobs.evaluation_assignment import EvaluationAssignment
from privacy.jobs.glm_assignment import GlmAssignment
from privacy.jobs.statistics_assignment import StatisticsAssignment
from privacy.jobs.synthesis_assignment import SynthesisAssignment
from privacy.jobs.training_assignment import TrainingAssignment
from privacy.jobs.tuning_assignment import TuningAssignment

Assignment: TypeAlias = (
    TrainingAssignment
    | TuningAssignment
    | EvaluationAssignment
    | StatisticsAssignment
    | GlmAssignment
    | SynthesisAssignment
)

__all__ = [
    "LIMIT",
    "MOST_PARTS",
    "VERSION",
    "Assignment",
    "EvaluationAssignment",
    "GlmAssignment",
    "PartFile",
    "Role",
    "StatisticsAssignment",
    "SynthesisAssignment",
    "Table",
    "TrainingAssignment",
    "TuningAssignment",
    "require_role",
]
