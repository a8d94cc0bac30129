"""A scattering extractor as ONNX nodes, in float32. Needs onnx and numpy.

Rules
-----
1. The same transform as `privacy.training.scattering`, from the same matrices and filters: pairs of real products
   stand for complex ones. A test holds the two together.
2. Dimension 0 is the batch and is never mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.graph.onnx_writer import OnnxWriter
from privacy.jobs.extractors import Norm, Scattering
from privacy.training.scattering import NORM_FLOOR, ScatteringTransform

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Complex:
    """Names of a value's real and imaginary parts."""

    real: str
    imaginary: str


def write_scattering(choice: Scattering, writer: OnnxWriter, rows: str) -> str:
    """Write the transform of rows of float32, [n, inputs]; return the name of its result, [n, width]."""
    return _Writing(choice, writer).run(rows)


class _Writing:
    def __init__(self, choice: Scattering, writer: OnnxWriter) -> None:
        self._choice, self._writer = choice, writer
        # In float64, so that float32 rounds each number of a matrix once.
        self._plan = ScatteringTransform(choice, np.float64)

    def run(self, rows: str) -> str:
        """All maps of all orders, in the transform's order."""
        choice, writer = self._choice, self._writer
        images = writer.add("Reshape", rows, writer.wholes(-1, choice.channels, *choice.image[-2:]))
        for axis, places in zip((2, 3), self._plan.margins, strict=True):
            images = writer.add("Gather", images, writer.constant(places.astype(np.int64)), axis=axis)
        spectrum = self._forward(images, 0)
        maps, later = [self._average(writer.add("Unsqueeze", images, writer.wholes(2)), 0)], list[str]()
        for scale in range(choice.scales):
            moduli = self._moduli(spectrum, 0, scale)
            maps.append(self._average(moduli, scale))
            if choice.order == 2 and scale + 1 < choice.scales:
                later.append(self._second(moduli, scale))
        joined = writer.add("Concat", *maps, *later, axis=2)
        return self._normalised(writer.add("Reshape", joined, writer.wholes(-1, choice.width)))

    def _second(self, moduli: str, scale: int) -> str:
        """[n, channels, angles * later scales * angles, ...]."""
        spectrum = self._forward(moduli, scale)
        found = [
            self._average(self._moduli(spectrum, scale, later), later)
            for later in range(scale + 1, self._choice.scales)
        ]
        joined = found[0] if len(found) == 1 else self._writer.add("Concat", *found, axis=3)
        sides = (side >> self._choice.scales for side in self._choice.image[-2:])
        return self._writer.add(
            "Reshape", joined, self._writer.wholes(-1, self._choice.channels, self._paths(scale), *sides)
        )

    def _paths(self, scale: int) -> int:
        return self._choice.angles**2 * (self._choice.scales - 1 - scale)

    def _moduli(self, spectrum: _Complex, grid: int, scale: int) -> str:
        """|x * wavelet| on the grid of `scale`, for each angle: a new axis before the last two."""
        writer = self._writer
        wavelets = self._float(self._plan.wavelets(grid, scale))
        axis = writer.wholes(-3)
        filtered = _Complex(
            *(
                self._folded(writer.add("Mul", writer.add("Unsqueeze", part, axis), wavelets), grid, scale)
                for part in (spectrum.real, spectrum.imaginary)
            )
        )
        signal = self._inverse(filtered, scale)
        squares = (writer.add("Mul", part, part) for part in (signal.real, signal.imaginary))
        return writer.add("Sqrt", writer.add("Add", *squares))

    def _folded(self, value: str, grid: int, scale: int) -> str:
        """The spectrum on a grid of half the sides, as often as the scales are apart: quarters are added."""
        writer = self._writer
        sides = [side >> grid for side in self._choice.padded]
        for _ in range(scale - grid):
            sides = [side // 2 for side in sides]
            for axis, side in zip((-2, -1), sides, strict=True):
                low, high = (
                    writer.add("Slice", value, *(writer.wholes(n) for n in (start, start + side, axis)))
                    for start in (0, side)
                )
                value = writer.add("Add", low, high)
            value = writer.add("Mul", value, writer.floats(0.25))
        return value

    def _forward(self, values: str, grid: int) -> _Complex:
        plan = self._plan.matrices(grid)
        rows = plan.rows.view(np.complex128)
        inner = _Complex(*(self._writer.add("MatMul", values, self._float(part)) for part in (rows.real, rows.imag)))
        return self._left(plan.columns, inner)

    def _inverse(self, spectrum: _Complex, grid: int) -> _Complex:
        plan = self._plan.matrices(grid)
        return self._right(self._left(plan.back_columns, spectrum), plan.back_rows)

    def _average(self, values: str, grid: int) -> str:
        plan = self._plan.matrices(grid)
        columns = self._writer.add("MatMul", self._float(plan.average_columns), values)
        return self._writer.add("MatMul", columns, self._float(plan.average_rows))

    def _left(self, matrix: Array, value: _Complex) -> _Complex:
        return self._product(value, lambda part, of: self._writer.add("MatMul", self._float(of), part), matrix)

    def _right(self, value: _Complex, matrix: Array) -> _Complex:
        return self._product(value, lambda part, of: self._writer.add("MatMul", part, self._float(of)), matrix)

    def _product(self, value: _Complex, times: Any, matrix: Array) -> _Complex:
        real, imaginary = np.ascontiguousarray(matrix.real), np.ascontiguousarray(matrix.imag)
        return _Complex(
            self._writer.add("Sub", times(value.real, real), times(value.imaginary, imaginary)),
            self._writer.add("Add", times(value.real, imaginary), times(value.imaginary, real)),
        )

    def _normalised(self, features: str) -> str:
        choice, writer = self._choice, self._writer
        if choice.norm is Norm.NONE or choice.groups is None:
            return features
        size = choice.width // choice.groups
        apart = writer.add("Reshape", features, writer.wholes(-1, choice.groups, size))
        ones = writer.constant(np.ones(size, dtype=np.float32))
        even = writer.add("LayerNormalization", apart, ones, axis=-1, epsilon=NORM_FLOOR)
        return writer.add("Reshape", even, writer.wholes(-1, choice.width))

    def _float(self, array: Array) -> str:
        return self._writer.constant(np.asarray(array, dtype=np.float32))
