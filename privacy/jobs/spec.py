"""Job requests in their final form: one of the kinds, with one canonical form and one digest.

Rules
-----
1. A request is data of closed kinds. It has no seed, no code, no path; an unknown member is refused.
2. The digest of the final form is what decision, approval and reservation bind.
3. A kind's request is a module of its own and a line in `_SPECS`; this one is where all of them are imported from.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kernel import canonical
from privacy.jobs.evaluation_spec import EvaluationSpec, complete_evaluation
from privacy.jobs.glm_spec import GlmSpec, complete_glm
from privacy.jobs.head import LARGEST_EPSILON, LIMIT, VERSION, JobKind
from privacy.jobs.statistics_spec import StatisticsSpec, complete_statistics
from privacy.jobs.strict import one_of
from privacy.jobs.synthesis_spec import SynthesisSpec, complete_synthesis
from privacy.jobs.training_spec import Loss, TrainingSpec, complete_training
from privacy.jobs.tuning_spec import TuningSpec, complete_tuning

JobSpec: TypeAlias = TrainingSpec | TuningSpec | EvaluationSpec | StatisticsSpec | GlmSpec | SynthesisSpec

__all__ = [
    "LARGEST_EPSILON",
    "LIMIT",
    "VERSION",
    "EvaluationSpec",
    "GlmSpec",
    "JobKind",
    "JobSpec",
    "Loss",
    "StatisticsSpec",
    "SynthesisSpec",
    "TrainingSpec",
    "TuningSpec",
    "complete_evaluation",
    "complete_glm",
    "complete_statistics",
    "complete_synthesis",
    "complete_training",
    "complete_tuning",
    "kind_of_request",
    "read_spec",
    "read_spec_bytes",
]

_SPECS: Final[Mapping[JobKind, Callable[[Any], JobSpec]]] = {
    JobKind.TRAINING: TrainingSpec.from_json,
    JobKind.EVALUATION: EvaluationSpec.from_json,
    JobKind.TUNING: TuningSpec.from_json,
    JobKind.STATISTICS: StatisticsSpec.from_json,
    JobKind.GLM: GlmSpec.from_json,
    JobKind.SYNTHESIS: SynthesisSpec.from_json,
}


def read_spec(body: Any) -> JobSpec:
    """Read a request of any kind in its final form; raise `InvalidError` otherwise."""
    kind = body.get("kind") if isinstance(body, Mapping) else None
    return _SPECS[one_of(JobKind, kind, "kind")](body)


def read_spec_bytes(data: bytes) -> JobSpec:
    """Read JSON; raise `InvalidError` or `TooLargeError`."""
    return read_spec(canonical.decode(data, limit=LIMIT))


def kind_of_request(body: Mapping[str, Any]) -> JobKind:
    """The kind of a request in any form; one that names none is a training."""
    kind: JobKind = one_of(JobKind, body.get("kind", JobKind.TRAINING.value), "kind")
    return kind
