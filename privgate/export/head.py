"""The end of the file: scores to what people ask for. Needs onnx and numpy.

Rules
-----
1. A row without scores, because it could not be read or its scores are not finite, has `scorable` false, NaN for
   every number and an empty text.
2. What an output is called follows from the kind of target; where a column has that name, the output's gets a line
   below it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from privacy.graph.onnx_writer import OnnxWriter
from privacy.jobs.labels import Target
from privgate.export.columns import ROWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the scores say.

    Attributes:
        target: Of which kind.
        classes: The names of several classes, in the order of the scores.
        bounds: Of a target that is a number in [-1, 1].
    """

    target: Target
    classes: Sequence[str] = ()
    bounds: tuple[float, float] = (-1.0, 1.0)


def write_head(
    answer: Answer, scores: str, alive: str, writer: OnnxWriter, taken: Collection[str]
) -> list[ValueInfoProto]:
    """Write what follows the scores, [rows, outputs].

    Args:
        answer: What they say.
        scores: Their name.
        alive: Name of the flags of the rows that could be read.
        writer: Where to.
        taken: Names of the inputs.

    Returns:
        The file's outputs.
    """
    head = _Head(writer, taken)
    unfit = writer.add("Or", writer.add("IsNaN", scores), writer.add("IsInf", scores))
    broken = writer.add("ReduceMax", writer.cast(unfit, TensorProto.INT32), writer.wholes(1), keepdims=0)
    finite = writer.add("Equal", broken, writer.constant(np.int32(0)))
    sure = head.output("scorable", TensorProto.BOOL, (), "And", alive, finite)
    each = writer.add("Unsqueeze", sure, writer.wholes(1))
    nothing = writer.floats(math.nan)
    outputs = max(1, len(answer.classes))
    known = head.output("scores", TensorProto.FLOAT, (outputs,), "Where", each, scores, nothing)
    match answer.target:
        case Target.BINARY:
            head.output("probability", TensorProto.FLOAT, (), "Sigmoid", _only(known, writer))
        case Target.CLASSES:
            head.output("probabilities", TensorProto.FLOAT, (outputs,), "Softmax", known, axis=-1)
            names = writer.texts([*answer.classes, ""])
            likeliest = writer.add("ArgMax", writer.add("Where", each, scores, writer.floats(0)), axis=1, keepdims=0)
            place = writer.add("Where", sure, likeliest, writer.constant(np.int64(outputs)))
            head.output("prediction", TensorProto.STRING, (), "Gather", names, place)
        case Target.REAL:
            low, high = answer.bounds
            number = writer.cast(_only(known, writer), TensorProto.DOUBLE)
            half = writer.add("Div", writer.add("Add", number, writer.doubles(1)), writer.doubles(2))
            scaled = writer.add("Mul", half, writer.doubles(high - low))
            head.output("prediction", TensorProto.DOUBLE, (), "Add", writer.doubles(low), scaled)
    return head.outputs


def _only(scores: str, writer: OnnxWriter) -> str:
    """[rows, 1] as [rows]."""
    return writer.add("Squeeze", scores, writer.wholes(1))


class _Head:
    """Collects outputs under names that no column has."""

    def __init__(self, writer: OnnxWriter, taken: Collection[str]) -> None:
        self.outputs: list[ValueInfoProto] = []
        self._writer, self._taken = writer, set(taken)

    def output(self, wanted: str, kind: int, sides: tuple[int, ...], op: str, *inputs: str, **attributes: Any) -> str:
        """Add an output of shape [rows, ...sides]."""
        name = wanted
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        self.outputs.append(helper.make_tensor_value_info(name, kind, [ROWS, *sides]))
        return self._writer.add(op, *inputs, name=name, **attributes)
