"""What is trained blindly, and what that makes of ciphertexts: how many, how long, at which level and scale. Pure.

Rules
-----
1. Feature-major: slot = feature x rows + row, features padded to a power of two, so that the sum over features is a few
   cyclic rotations, after which every slot of a row holds its z. Each ciphertext has slots / features rows.
2. `rows` is declared, and padded to: whoever counts ciphertexts learns that number and not how many rows there are.
3. Levels and scales are those that the primes make: `Scales` repeats SEAL's own divisions.
4. No library is needed: the API process knows every length by this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel.checks import positive, whole, within
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.wire import Form, ciphertext_bytes, evaluation_forms, result_form

PROFILE: Final = profile_of("ckks-8192-blind")
RANGE: Final = 8.0
MOST_EPOCHS, MOST_ROWS = 200, 2**16
LEAST_FEATURES, MOST_FEATURES = 2, 512


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindShape:
    """What is trained.

    Attributes:
        rows: How many rows there are at most; the gateway learns this number.
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
        whole(LEAST_FEATURES, MOST_FEATURES, features=self.features)
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

    @property
    def key_bytes(self) -> int:
        """How long the evaluation keys are."""
        return sum(form.size for form in evaluation_forms(PROFILE, self.rotations, products=True))

    @property
    def data_bytes(self) -> int:
        """How long the encrypted rows and labels are."""
        return 2 * self.ciphertexts * self.weights_bytes

    @property
    def weights_bytes(self) -> int:
        """How long the encrypted weights are: one ciphertext."""
        return ciphertext_bytes(PROFILE, fresh=True)

    @property
    def gradient_form(self) -> Form:
        """What an encrypted gradient looks like."""
        scales = Scales.of(PROFILE)
        return result_form(PROFILE, scales.level, scales.gradient)


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
