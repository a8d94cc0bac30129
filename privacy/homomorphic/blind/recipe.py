"""What is trained blindly, how rows lie in slots, and whether the polynomial holds. Needs numpy.

Rules
-----
1. Feature-major: slot = feature x rows + row, features padded to a power of two, so that the sum over features is a few
   cyclic rotations, after which every slot of a row holds its z. Each ciphertext has slots / features rows.
2. The chance is 1/2 + C1 z - C3 z^3. With weights stored as C3^(1/3) w the error of a row is
   (1/2 - y) + z' (K - z'^2), K = C1 / C3^(1/3): two products after z', and no product with a number in the clear.
3. Levels and scales are those that the primes make: `Scales` repeats SEAL's own divisions. Labels are brought to the
   scale of what they are added to by one product with 1.

Reference: Kim, Song, Wang, Xia and Jiang 2018 (JMIR Medical Informatics 6:e19) for the polynomial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.checks import positive, whole, within
from kernel.errors import InvalidError
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.registry import profile_of

Floats: TypeAlias = NDArray[np.float64]
PROFILE: Final = profile_of("ckks-8192-blind")
C1, C3 = 0.15012, 0.001593
FOLD: Final = C3 ** (1 / 3)
K: Final = C1 / FOLD
RANGE: Final = 8.0
MOST_EPOCHS, MOST_ROWS = 200, 2**16
_LEAST_FEATURES, _MOST_FEATURES = 2, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindRecipe:
    """What is trained.

    Attributes:
        rows: How many rows there are; the gateway learns this number.
        features: How many numbers a row has, a constant among them if there is to be an intercept.
        epochs: How many full steps.
        rate: Of learning.
        decay: The part of each weight that a step takes off, before the rate.
    """

    rows: int
    features: int
    epochs: int
    rate: float = 1.0
    decay: float = 0.05

    def __post_init__(self) -> None:
        whole(1, MOST_ROWS, rows=self.rows)
        whole(_LEAST_FEATURES, _MOST_FEATURES, features=self.features)
        whole(1, MOST_EPOCHS, epochs=self.epochs)
        positive(rate=self.rate)
        within(0, 1, decay=self.decay)

    @property
    def padded(self) -> int:
        """Features, padded to a power of two."""
        return 1 << (self.features - 1).bit_length()

    @property
    def rows_each(self) -> int:
        """How many rows a ciphertext holds."""
        return PROFILE.slots // self.padded

    @property
    def ciphertexts(self) -> int:
        """How many ciphertexts the rows take; the labels take as many."""
        return -(-self.rows // self.rows_each)

    @property
    def rotations(self) -> tuple[int, ...]:
        """By how many slots is rotated to add up features."""
        return tuple(self.rows_each << power for power in range(self.padded.bit_length() - 1))

    def slots_of_rows(self, rows: Floats) -> list[list[float]]:
        """The rows, feature-major, one list for each ciphertext."""
        if rows.shape != (self.rows, self.features) or not np.isfinite(rows).all() or np.abs(rows).max() > 1:
            raise InvalidError("rows are as many as announced, of numbers in [-1, 1]", field="rows")
        padded = np.zeros((self.ciphertexts * self.rows_each, self.padded))
        padded[: self.rows, : self.features] = rows
        blocks = padded.reshape(self.ciphertexts, self.rows_each, self.padded).transpose(0, 2, 1)
        slots: list[list[float]] = blocks.reshape(self.ciphertexts, -1).tolist()
        return slots

    def slots_of_labels(self, labels: Floats) -> list[list[float]]:
        """1/2 - y of each row, once for each feature."""
        if labels.shape != (self.rows,) or not np.isin(labels, (0.0, 1.0)).all():
            raise InvalidError("labels are as many as rows, each 0 or 1", field="labels")
        padded = np.zeros(self.ciphertexts * self.rows_each)
        padded[: self.rows] = 0.5 - labels
        blocks = np.repeat(padded.reshape(self.ciphertexts, 1, self.rows_each), self.padded, axis=1)
        slots: list[list[float]] = blocks.reshape(self.ciphertexts, -1).tolist()
        return slots

    def slots_of_weights(self, weights: Floats) -> list[float]:
        """Folded weights, each once for each row of a ciphertext."""
        padded = np.zeros(self.padded)
        padded[: self.features] = FOLD * weights
        slots: list[float] = np.repeat(padded, self.rows_each).tolist()
        return slots

    def gradient_of(self, slots: Sequence[float]) -> Floats:
        """The averaged gradient from the slots of the added products."""
        summed = np.asarray(slots, dtype=np.float64).reshape(self.padded, self.rows_each).sum(axis=1)
        return np.asarray(summed[: self.features] / self.rows)

    def stepped(self, weights: Floats, gradient: Floats) -> Floats:
        """The weights after a step."""
        return np.asarray(weights - self.rate * (gradient + self.decay * weights))


@dataclass(frozen=True, slots=True)
class Scales:
    """The scale of what is computed, step by step, as SEAL's divisions round it.

    Attributes:
        predictor: Of z'.
        label: At which the 1 is encoded that labels are multiplied with.
        gradient: Of the result.
        level: How many primes the result has left.
    """

    predictor: float
    label: float
    gradient: float
    level: int

    @classmethod
    def of(cls, profile: Profile) -> Scales:
        """By the profile's primes, from the last on."""
        fresh, primes = 2.0**profile.scale_bits, profile.data_primes
        predictor = fresh * fresh / primes[-1]
        squared = predictor * predictor / primes[-2]
        error = predictor * squared / primes[-3]
        return cls(
            predictor=predictor,
            label=predictor * squared / fresh,
            gradient=fresh * error / primes[-4],
            level=len(primes) - 4,
        )


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
    weights, largest = np.zeros(recipe.features), 0.0
    for _ in range(recipe.epochs):
        predictor = rows @ weights
        largest = max(largest, float(np.abs(predictor).max()))
        require_range(largest)
        weights = recipe.stepped(weights, rows.T @ (polynomial(predictor) - labels) / recipe.rows)
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
