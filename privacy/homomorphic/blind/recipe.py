"""How rows lie in slots, what a step is, and whether the polynomial holds. Needs numpy.

Rules
-----
1. The chance is 1/2 + C1 z - C3 z^3. With weights stored as C3^(1/3) w the error of a row is
   (1/2 - y) + z' (K - z'^2), K = C1 / C3^(1/3): two products after z', and no product with a number in the clear.
2. Labels are brought to the scale of what they are added to by one product with 1.
3. Rows that are missing up to the declared number are zeros: they add nothing. Who has the rows divides by how many
   there are; nobody else needs to know.

Reference: Kim, Song, Wang, Xia and Jiang 2018 (JMIR Medical Informatics 6:e19) for the polynomial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.homomorphic.blind.shape import PROFILE, RANGE, BlindShape, Scales

__all__ = ["PROFILE", "RANGE", "BlindRecipe", "DryRun", "Scales", "dry_run", "polynomial", "require_range"]

Floats: TypeAlias = NDArray[np.float64]
C1, C3 = 0.15012, 0.001593
FOLD: Final = C3 ** (1 / 3)
K: Final = C1 / FOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindRecipe(BlindShape):
    """What is trained, with the arithmetic of whoever has the rows."""

    def slots_of_rows(self, rows: Floats) -> list[list[float]]:
        """The rows, feature-major, one list for each ciphertext."""
        fits = rows.ndim == 2 and 1 <= len(rows) <= self.rows and rows.shape[1] == self.features
        if not fits or not np.isfinite(rows).all() or np.abs(rows).max() > 1:
            raise InvalidError("rows are at most as many as announced, of numbers in [-1, 1]", field="rows")
        padded = np.zeros((self.ciphertexts * self.rows_each, self.padded))
        padded[: len(rows), : self.features] = rows
        blocks = padded.reshape(self.ciphertexts, self.rows_each, self.padded).transpose(0, 2, 1)
        slots: list[list[float]] = blocks.reshape(self.ciphertexts, -1).tolist()
        return slots

    def slots_of_labels(self, labels: Floats) -> list[list[float]]:
        """1/2 - y of each row, once for each feature."""
        if labels.ndim != 1 or not 1 <= len(labels) <= self.rows or not np.isin(labels, (0.0, 1.0)).all():
            raise InvalidError("labels are as many as rows, each 0 or 1", field="labels")
        padded = np.zeros(self.ciphertexts * self.rows_each)
        padded[: len(labels)] = 0.5 - labels
        blocks = np.repeat(padded.reshape(self.ciphertexts, 1, self.rows_each), self.padded, axis=1)
        slots: list[list[float]] = blocks.reshape(self.ciphertexts, -1).tolist()
        return slots

    def slots_of_weights(self, weights: Floats) -> list[float]:
        """Folded weights, each once for each row of a ciphertext."""
        padded = np.zeros(self.padded)
        padded[: self.features] = FOLD * weights
        slots: list[float] = np.repeat(padded, self.rows_each).tolist()
        return slots

    def gradient_of(self, slots: Sequence[float], rows: int | None = None) -> Floats:
        """The gradient from the slots of the added products, averaged over so many rows; as many as announced."""
        summed = np.asarray(slots, dtype=np.float64).reshape(self.padded, self.rows_each).sum(axis=1)
        return np.asarray(summed[: self.features] / (self.rows if rows is None else rows))

    def stepped(self, weights: Floats, gradient: Floats) -> Floats:
        """The weights after a step."""
        return np.asarray(weights - self.rate * (gradient + self.decay * weights))


@dataclass(frozen=True, slots=True)
class DryRun:
    """A training in the clear: how large z became, and the weights that the blind one should come to."""

    largest: float
    weights: Floats


def polynomial(values: Floats) -> Floats:
    """The chance that stands in for the logistic function."""
    return np.asarray(0.5 + C1 * values - C3 * values**3)


def dry_run(recipe: BlindRecipe, rows: Floats, labels: Floats) -> DryRun:
    """Train in the clear, at the owner; raise `InvalidError` if z leaves the polynomial's range on the way."""
    recipe.slots_of_rows(rows)
    recipe.slots_of_labels(labels)
    if len(rows) != len(labels):
        raise InvalidError("labels are as many as rows, each 0 or 1", field="labels")
    weights, largest = np.zeros(recipe.features), 0.0
    for _ in range(recipe.epochs):
        predictor = rows @ weights
        largest = max(largest, float(np.abs(predictor).max()))
        require_range(largest)
        weights = recipe.stepped(weights, rows.T @ (polynomial(predictor) - labels) / len(rows))
    largest = max(largest, float(np.abs(rows @ weights).max()))
    require_range(largest)
    return DryRun(largest, weights)


def require_range(largest: float) -> None:
    """Return if a predictor of this size is within the polynomial's range; raise `InvalidError` otherwise."""
    if not largest < RANGE:
        raise InvalidError(
            f"the linear predictor leaves ({-RANGE:g}, {RANGE:g}), where the polynomial holds: lower `rate` "
            "or `epochs`, or raise `decay`",
            field="rate",
        )
