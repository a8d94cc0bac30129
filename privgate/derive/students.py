"""Teaching a student: from the words of `distilled` to its weights. Needs numpy; torch where it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kernel.errors import InvalidError
from privacy.jobs.model import complete_model, initial_of
from privacy.jobs.spec import TrainingSpec
from privgate.encoding import Row
from privgate.models import Model
from privgate.scoring import arrays_of, model_rows
from privgate.sdk.requests import written_model


def teach(
    teacher: Model, rows: Sequence[Row], student: Any, lessons: Mapping[str, Any]
) -> tuple[Model, dict[str, Any]]:
    """Let a student learn a teacher's answers.

    Returns:
        The student, and how it learned, in words for the record.

    Raises:
        InvalidError: An unknown choice, rows that cannot be scored, or a student that does not fit.
        ExtraMissingError: Without torch.
    """
    try:
        from privgate.derive.distilling import Lessons, distilled, teacher_scores
    except ImportError:
        from privgate.sdk.errors import ExtraMissingError

        raise ExtraMissingError("distillation", "train") from None
    try:
        chosen = Lessons(**lessons)
    except TypeError:
        raise InvalidError(
            "a student learns with `steps`, `batch`, `learning_rate` and `seed`", field="steps"
        ) from None
    spec = _spec(teacher, student)
    graph = spec.model_graph(teacher.schema)
    read = model_rows(spec.features, teacher.schema, rows)
    scores = teacher_scores(teacher.graph, arrays_of(teacher.graph, teacher.weights), read)
    sure = np.isfinite(scores).all(axis=1)
    if not sure.any():
        raise InvalidError("none of these rows can be scored: each lacks a column or a value", field="rows")
    weights = distilled(graph, initial_of(spec.model), read[sure], scores[sure], spec.features.label.target, chosen)
    said = {
        "steps": chosen.steps,
        "batch": chosen.batch,
        "learning_rate": str(chosen.learning_rate),
        "seed": chosen.seed,
    }
    return teacher.with_weights(spec, graph, weights), said


def _spec(teacher: Model, student: Any) -> TrainingSpec:
    """The teacher's request with another model."""
    written = None if student is None else written_model(student)
    return replace(teacher.spec, model=complete_model(written, teacher.spec.features, teacher.schema))
