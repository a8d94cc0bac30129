"""The evaluation that is released: noisy counts, their noise, and what follows from them. Pure.

Form: docs/formats/job-child.md, "Result of an evaluation".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any, Final

from kernel import canonical
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.evaluation.counts import CONFIDENCE, Estimate, estimate_accuracy, estimate_auc
from privacy.jobs.labels import Target
from privacy.jobs.plan import EvaluationPlan

FORMAT = "privgate/evaluation/v1"
LIMIT = 2**20
_ROUND_UP = Context(prec=34, rounding=ROUND_CEILING)
_FOUR_PLACES = Decimal("0.0001")
_HALVES: Final = {Target.BINARY: ("negative", "positive"), Target.CLASSES: ("wrong", "right")}
_AREA: Final = {Target.BINARY: "auc", Target.CLASSES: "confidence_auc"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyCounts:
    """What leaves the child: integers with noise, possibly negative.

    Attributes:
        correct, wrong: How many rows the model got right and wrong.
        negative, positive: Rows of either class by score; of several classes, wrong and right ones by confidence.
    """

    correct: int
    wrong: int
    negative: tuple[int, ...]
    positive: tuple[int, ...]


def deviation_of(noise: Parameter, rows_per_unit: int) -> Parameter:
    """Standard deviation of the noise on each count: multiplier x sensitivity."""
    return Parameter(_ROUND_UP.multiply(noise.number, Decimal(rows_per_unit)))


def variance_of(noise: Parameter, rows_per_unit: int) -> Fraction:
    """The exact variance that the sampler gets."""
    return Fraction(deviation_of(noise, rows_per_unit).number) ** 2


def evaluation_json(plan: EvaluationPlan, counts: NoisyCounts) -> dict[str, Any]:
    """The released statement."""
    outcome_noise = deviation_of(plan.accuracy_noise, plan.rows_per_unit)
    score_noise = deviation_of(plan.histogram_noise, plan.rows_per_unit)
    body: dict[str, Any] = {
        "v": 1,
        "format": FORMAT,
        "plan": str(plan.digest),
        "release": str(plan.release),
        "counts": {"correct": counts.correct, "wrong": counts.wrong},
        "histogram": dict(zip(_HALVES[plan.target], (list(counts.negative), list(counts.positive)), strict=True)),
        "noise": {"counts": str(outcome_noise), "histogram": str(score_noise)},
        "accuracy": _written(estimate_accuracy(counts.correct, counts.wrong, float(outcome_noise.number))),
    }
    auc = estimate_auc(counts.negative, counts.positive, float(score_noise.number))
    return body if auc is None else body | {_AREA[plan.target]: _written(auc.estimate) | {"clipped": auc.clipped}}


def evaluation_bytes(plan: EvaluationPlan, counts: NoisyCounts) -> bytes:
    """The released file."""
    return canonical.encode(evaluation_json(plan, counts))


def read_evaluation(plan: EvaluationPlan, data: bytes) -> dict[str, Any]:
    """Read a released file and recompute it from its own counts; raise `InvalidError` if it differs."""
    body = canonical.decode(data, limit=LIMIT, canonical=True)
    try:
        counts, histogram = body["counts"], body["histogram"]
        noisy = NoisyCounts(
            correct=_whole(counts["correct"]),
            wrong=_whole(counts["wrong"]),
            negative=_cells(histogram[_HALVES[plan.target][0]], plan.bins),
            positive=_cells(histogram[_HALVES[plan.target][1]], plan.bins),
        )
    except (KeyError, TypeError):
        raise InvalidError("not an evaluation: a member is missing or of the wrong kind") from None
    if evaluation_bytes(plan, noisy) != data:
        raise InvalidError("the evaluation does not follow from its counts and its plan")
    return dict(body)


def _written(estimate: Estimate) -> dict[str, str]:
    named = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "confidence": CONFIDENCE}
    return {name: str(Parameter(_rounded(value))) for name, value in named.items()}


def _rounded(value: float) -> Decimal:
    return Decimal(value).quantize(_FOUR_PLACES, rounding=ROUND_HALF_EVEN, context=Context(prec=34))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _cells(values: Any, bins: int) -> tuple[int, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != bins:
        raise TypeError
    return tuple(_whole(value) for value in values)
