"""Small symmetric matrices in plain Python: what the table needs, and nothing more.

Rules
-----
1. Sums are `math.fsum`: the plain sum rounds differently from one Python to the next, and tables are recomputed.
2. A symmetric matrix travels as its packed upper triangle whose off-diagonal numbers carry a factor of sqrt(2), so that
   the Euclidean norm of the packed numbers is the Frobenius norm of the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

Vector: TypeAlias = list[float]
Matrix: TypeAlias = list[list[float]]
_ROOT = math.sqrt(2)
_SWEEPS, _SMALL = 60, 1e-30


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Eigenvalues of a symmetric matrix and the eigenvectors as rows."""

    values: Vector
    vectors: Matrix

    def inverse(self, floor: float) -> Matrix:
        """The inverse, with every eigenvalue raised to at least `floor`, which must be above 0."""
        return self._rebuilt([1 / max(value, floor) for value in self.values])

    def damped(self, noise: float) -> Matrix:
        """The inverse, less so the less an eigenvalue is above the noise, which must be above 0."""
        return self._rebuilt([max(value, 0.0) / (value * value + noise * noise) for value in self.values])

    def positive(self) -> Matrix:
        """The nearest matrix without negative eigenvalues."""
        return self._rebuilt([max(value, 0.0) for value in self.values])

    def _rebuilt(self, values: Vector) -> Matrix:
        size = range(len(values))
        pairs = list(zip(values, self.vectors, strict=True))
        return [[math.fsum(value * row[i] * row[j] for value, row in pairs) for j in size] for i in size]


def packed_size(size: int) -> int:
    """How many numbers a packed symmetric matrix has."""
    return size * (size + 1) // 2


def unpacked(numbers: Sequence[float], size: int) -> Matrix:
    """The symmetric matrix of packed numbers, row by row of its upper triangle."""
    matrix, position = [[0.0] * size for _ in range(size)], 0
    for i in range(size):
        for j in range(i, size):
            matrix[i][j] = matrix[j][i] = numbers[position] if i == j else numbers[position] / _ROOT
            position += 1
    return matrix


def product(left: Matrix, right: Matrix) -> Matrix:
    """The matrix product."""
    columns = list(zip(*right, strict=True))
    return [[dot(row, column) for column in columns] for row in left]


def applied(matrix: Matrix, vector: Sequence[float]) -> Vector:
    """The matrix times the vector."""
    return [dot(row, vector) for row in matrix]


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """The scalar product."""
    return math.fsum(a * b for a, b in zip(left, right, strict=True))


def sandwich(outer: Matrix, inner: Matrix) -> Matrix:
    """Outer times inner times outer's transpose."""
    return product(product(outer, inner), [list(column) for column in zip(*outer, strict=True)])


def weighted(matrices: Sequence[Matrix], weights: Sequence[float]) -> Matrix:
    """The weighted sum of matrices."""
    size = range(len(matrices[0]))
    pairs = list(zip(weights, matrices, strict=True))
    return [[math.fsum(weight * matrix[i][j] for weight, matrix in pairs) for j in size] for i in size]


def spectrum(matrix: Matrix) -> Spectrum:
    """Eigenvalues and eigenvectors of a symmetric matrix, by cyclic Jacobi rotations.

    Reference: Golub and Van Loan 2013, section 8.5.
    """
    size = len(matrix)
    work = [list(row) for row in matrix]
    vectors = [[float(i == j) for j in range(size)] for i in range(size)]
    scale = math.fsum(number * number for row in work for number in row)
    for _ in range(_SWEEPS):
        off = math.fsum(work[i][j] * work[i][j] for i in range(size) for j in range(i))
        if off <= _SMALL * scale:
            break
        for i in range(size):
            for j in range(i + 1, size):
                _rotate(work, vectors, i, j)
    return Spectrum([work[i][i] for i in range(size)], vectors)


def _rotate(work: Matrix, vectors: Matrix, i: int, j: int) -> None:
    """Make entry (i, j) zero; the rows of `vectors` follow."""
    if work[i][j] == 0:
        return
    slope = (work[j][j] - work[i][i]) / (2 * work[i][j])
    tangent = math.copysign(1.0, slope) / (abs(slope) + math.hypot(slope, 1.0))
    cosine = 1 / math.hypot(tangent, 1.0)
    sine = tangent * cosine
    for row in work:
        row[i], row[j] = cosine * row[i] - sine * row[j], sine * row[i] + cosine * row[j]
    for rows in (work, vectors):
        first, second = rows[i], rows[j]
        rows[i] = [cosine * a - sine * b for a, b in zip(first, second, strict=True)]
        rows[j] = [sine * a + cosine * b for a, b in zip(first, second, strict=True)]
