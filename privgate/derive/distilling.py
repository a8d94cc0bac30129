"""Distillation: a smaller model learns the answers of a released one, on rows that are public. Needs torch.

Rules
-----
1. The student sees the teacher's scores, never a label; rows that the teacher cannot score are left out.
2. The same arguments give the same student: starts and batches are drawn from the caller's seed.
3. The student reads what the teacher reads (columns, transforms, extractor); its graph may be any that fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward
from privacy.graph.spec import InitialRule, Weight
from privacy.graph.torch_module import GraphModule
from privacy.graph.weights import unpack_initial
from privacy.jobs.labels import Target

MOST_STEPS = 100_000
_FIRST: Final = 0.9
_SECOND: Final = 0.999
_FLOOR: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """How a student learns: steps of Adam on batches drawn from the rows."""

    steps: int = 1000
    batch: int = 128
    learning_rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        whole(1, MOST_STEPS, steps=self.steps)
        whole(1, MOST_STEPS, batch=self.batch)
        whole(0, 2**32, seed=self.seed)
        if not 0 < self.learning_rate <= 1:
            raise InvalidError("`learning_rate` lies above 0 and is at most 1", field="learning_rate")


def distilled(
    student: CheckedGraph,
    initial: bytes | None,
    rows: NDArray[Any],
    teacher: NDArray[Any],
    target: Target,
    lessons: Lessons,
) -> dict[str, NDArray[np.float32]]:
    """Train a student.

    Args:
        student: What learns.
        initial: The values it starts from where its graph says `given`.
        rows: The numbers that both models read, [n, width].
        teacher: The teacher's scores, [n, outputs].
        target: What the scores say.
        lessons: How.

    Returns:
        The student's weights.
    """
    draw = np.random.default_rng(lessons.seed)
    module = GraphModule(student, _start(student, initial, draw), torch.float32)
    learn = _Adam(list(module.parameters()), lessons.learning_rate)
    inputs = torch.from_numpy(np.asarray(rows, np.float32).reshape(-1, *student.graph.inputs[0].shape))
    wanted = torch.from_numpy(_softened(teacher, target).astype(np.float32))
    for _ in range(lessons.steps):
        chosen = torch.from_numpy(draw.integers(0, len(rows), lessons.batch))
        learn(_loss(module(inputs[chosen]).reshape(len(chosen), -1), wanted[chosen], target))
    return {name: value.detach().numpy().copy() for name, value in module.by_name().items()}


class _Adam:
    """Kingma and Ba's steps, in a few lines: torch's own optimiser loads a compiler first."""

    def __init__(self, weights: list[torch.nn.Parameter], rate: float) -> None:
        self._weights, self._rate, self._count = weights, rate, 0
        self._means = [torch.zeros_like(weight) for weight in weights]
        self._squares = [torch.zeros_like(weight) for weight in weights]

    def __call__(self, loss: torch.Tensor) -> None:
        """One step down the loss."""
        self._count += 1
        scale = self._rate * (1 - _SECOND**self._count) ** 0.5 / (1 - _FIRST**self._count)
        slopes = torch.autograd.grad(loss, self._weights)
        with torch.no_grad():
            for weight, slope, mean, square in zip(self._weights, slopes, self._means, self._squares, strict=True):
                mean.mul_(_FIRST).add_(slope, alpha=1 - _FIRST)
                square.mul_(_SECOND).addcmul_(slope, slope, value=1 - _SECOND)
                weight.addcdiv_(mean, square.sqrt().add_(_FLOOR), value=-scale)


def teacher_scores(teacher: CheckedGraph, weights: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> NDArray[Any]:
    """The teacher's scores of rows as the graph reads them."""
    return forward(teacher, weights, rows)


def _softened(scores: NDArray[Any], target: Target) -> NDArray[Any]:
    """What the student is held to: probabilities, or the number itself."""
    match target:
        case Target.BINARY:
            return np.asarray(1 / (1 + np.exp(-np.clip(scores, -60, 60))))
        case Target.CLASSES:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        case Target.REAL:
            return scores


def _loss(found: torch.Tensor, wanted: torch.Tensor, target: Target) -> torch.Tensor:
    match target:
        case Target.BINARY:
            return torch.nn.functional.binary_cross_entropy_with_logits(found, wanted)
        case Target.CLASSES:
            return torch.nn.functional.cross_entropy(found, wanted)
        case Target.REAL:
            return torch.nn.functional.mse_loss(found, wanted)


def _start(student: CheckedGraph, initial: bytes | None, draw: np.random.Generator) -> dict[str, NDArray[Any]]:
    given = {} if initial is None else unpack_initial(student.graph, initial)
    return {weight.name: _first(weight, given, draw) for weight in student.graph.weights}


def _first(weight: Weight, given: Mapping[str, NDArray[Any]], draw: np.random.Generator) -> NDArray[Any]:
    match weight.init.rule:
        case InitialRule.UNIFORM if weight.init.bound is not None:
            bound = float(weight.init.bound.number)
            return draw.uniform(-bound, bound, weight.shape).astype(np.float32)
        case InitialRule.CONSTANT if weight.init.value is not None:
            return np.full(weight.shape, float(weight.init.value.number), dtype=np.float32)
        case InitialRule.GIVEN:
            return given[weight.name]
        case _:
            return np.zeros(weight.shape, dtype=np.float32)
