"""Weights as whole numbers of 8 bits, each output with a scale of its own. Needs numpy; writing needs onnx.

Rules
-----
1. Symmetric: value = number times scale, numbers from -127 to 127, so that 0 stays 0 and a weight that was pruned stays
   pruned.
2. The scale of an output (dimension 0) follows from that output's largest weight alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from kernel.errors import CorruptError

if TYPE_CHECKING:
    from privacy.graph.onnx_writer import OnnxWriter

LARGEST: Final = 127


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """A quantised weight: `numbers` of int8 in the weight's shape, `scale` of float32, one for each of dimension 0."""

    numbers: NDArray[np.int8]
    scale: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.numbers.ndim < 2 or self.scale.shape != self.numbers.shape[:1] or not (self.scale > 0).all():
            raise CorruptError("a quantised weight has one scale above 0 for each output", field="weights")

    def floats(self) -> NDArray[np.float32]:
        """The numbers that it stands for."""
        scale = self.scale.reshape(-1, *(1,) * (self.numbers.ndim - 1))
        return self.numbers.astype(np.float32) * scale

    def written(self, writer: OnnxWriter, name: str) -> WrittenInt8:
        """Store numbers and scales."""
        return WrittenInt8(writer.named(f"{name}:int8", self.numbers), writer.named(f"{name}:scale", self.scale))


@dataclass(frozen=True, slots=True)
class WrittenInt8:
    """Where a file holds the numbers and the scales of a quantised weight."""

    numbers: str
    scale: str


def quantise(array: NDArray[Any]) -> Int8Weight:
    """Round a weight of two or more sides to whole numbers of 8 bits."""
    flat = np.asarray(array, dtype=np.float64).reshape(len(array), -1)
    largest = np.abs(flat).max(axis=1)
    scale = np.where(largest > 0, largest / LARGEST, 1.0).astype(np.float32)
    # A scale that float32 rounded to 0 would divide by it.
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    numbers = np.clip(np.round(flat / scale[:, None]), -LARGEST, LARGEST).astype(np.int8)
    return Int8Weight(numbers.reshape(array.shape), scale)
