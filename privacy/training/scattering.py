"""Scattering coefficients of images: a fixed, public feature extractor. Needs numpy, not torch.

Rules
-----
1. Row by row, bit for bit: no product, sum or transform runs over two rows, and each row meets matrices of the same
   shapes, so neither how many rows there are nor where a row stands changes its numbers.
2. Filters follow from the value `Scattering` alone and are computed once, in float64.
3. Nothing is raised because of a value: a row that is not finite stays so by itself, and the caller decides.
4. Fourier transforms are matrix products. At these sizes that is faster than a fast transform, and rounds the same way
   everywhere a row may stand.

Form: docs/formats/features.md, "Extractors". Reference: Bruna and Mallat 2013, sections 2 and 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from privacy.jobs.extractors import Norm, Scattering

Array: TypeAlias = NDArray[Any]

_BYTES_AT_ONCE: Final = 2**21
"""What the largest intermediate result may take: about a core's second cache."""
_PERIODS: Final = 2
NORM_FLOOR: Final = 1e-5


class ScatteringTransform:
    """Computes what a `Scattering` describes.

    Args:
        choice: What to compute.
        dtype: float32, or float64 for references.
    """

    def __init__(self, choice: Scattering, dtype: DTypeLike = np.float32) -> None:
        self.choice = choice
        self._real = np.dtype(dtype)
        self._complex = np.result_type(self._real, np.complex64)
        height, width = choice.padded
        self._grids = [(height >> scale, width >> scale) for scale in range(choice.scales)]
        self.margins = tuple(
            _reflected(side, whole) for side, whole in zip(choice.image[-2:], choice.padded, strict=True)
        )
        wavelets = [_wavelets(choice, scale) for scale in range(choice.scales)]
        self._wavelets = {
            (grid, scale): np.repeat(_low(wavelets[scale], self._grids[grid]), 2, axis=2).astype(self._real)
            for grid in range(choice.scales)
            for scale in range(grid, choice.scales)
        }
        self._transforms = [self._transform(*grid) for grid in self._grids]

    def __call__(self, rows: Array) -> Array:
        """Compute features.

        Args:
            rows: Shape [n, height * width * channels], finite or not.

        Returns:
            Shape [n, width of the choice].
        """
        result = np.empty((len(rows), self.choice.width), dtype=self._real)
        with np.errstate(all="ignore"):
            for start in range(0, len(rows), self.rows_at_once):
                block = slice(start, start + self.rows_at_once)
                result[block] = self._features(np.asarray(rows[block], dtype=self._real))
        return result

    @property
    def rows_at_once(self) -> int:
        """How many rows are computed together: for speed alone, no result depends on it."""
        choice = self.choice
        height, width = choice.padded
        largest = choice.channels * choice.angles * height * width * self._complex.itemsize
        return max(1, _BYTES_AT_ONCE // (largest * (choice.angles if choice.order == 2 else 1)))

    def wavelets(self, grid: int, scale: int) -> Array:
        """The wavelets of a scale on a grid, [angles, height, width]: real in the frequencies."""
        return self._wavelets[grid, scale][..., 0::2]

    def matrices(self, grid: int) -> Matrices:
        """What values on a grid are multiplied with."""
        return self._transforms[grid]

    def _features(self, rows: Array) -> Array:
        choice = self.choice
        images = rows.reshape(len(rows), choice.channels, *choice.image[-2:])
        padded = images[..., self.margins[0][:, None], self.margins[1]]
        spectrum = self._forward(padded, 0)
        maps = [self._average(padded[:, :, None], 0)]
        later: list[Array] = []
        for scale in range(choice.scales):
            moduli = self._moduli(spectrum, 0, scale)
            maps.append(self._average(moduli, scale))
            if choice.order == 2 and scale + 1 < choice.scales:
                later.append(self._second(moduli, scale))
        joined = np.concatenate(maps + later, axis=2)
        return self._normalised(joined.reshape(len(rows), -1))

    def _second(self, moduli: Array, scale: int) -> Array:
        """Moduli of moduli at every later scale: [n, channels, angles * later scales * angles, ...], averaged."""
        spectrum = self._forward(moduli, scale)
        found = [
            self._average(self._moduli(spectrum, scale, later), later) for later in range(scale + 1, self.choice.scales)
        ]
        joined = np.concatenate(found, axis=3)
        return joined.reshape(*joined.shape[:2], -1, *joined.shape[4:])

    def _moduli(self, spectrum: Array, grid: int, scale: int) -> Array:
        """|x * wavelet| on the grid of `scale`, for each angle: a new axis before the last two."""
        # Real and imaginary numbers stand in turn, and each wavelet number twice: a long plain product.
        parts: Array = spectrum.view(self._real)[..., None, :, :]
        product = _folded(parts * self._wavelets[grid, scale], scale - grid)
        signal = self._inverse(product.view(self._complex), scale)
        parts = signal.view(self._real)
        np.square(parts, out=parts)
        squares: Array = parts[..., 0::2] + parts[..., 1::2]
        np.sqrt(squares, out=squares)
        return squares

    def _forward(self, values: Array, grid: int) -> Array:
        matrices = self._transforms[grid]
        inner = np.matmul(values, matrices.rows).view(self._complex)
        found: Array = np.matmul(matrices.columns, inner)
        return found

    def _inverse(self, spectrum: Array, grid: int) -> Array:
        matrices = self._transforms[grid]
        found: Array = np.matmul(np.matmul(matrices.back_columns, spectrum), matrices.back_rows)
        return found

    def _average(self, values: Array, grid: int) -> Array:
        matrices = self._transforms[grid]
        found: Array = np.matmul(np.matmul(matrices.average_columns, values), matrices.average_rows)
        return found

    def _normalised(self, features: Array) -> Array:
        if self.choice.norm is Norm.NONE or self.choice.groups is None:
            return features
        # The sums run over the last axis of contiguous rows, so their order is the same for every row.
        grouped = features.reshape(len(features), self.choice.groups, -1)
        centred = grouped - grouped.mean(axis=2, keepdims=True)
        variance = np.square(centred).mean(axis=2, keepdims=True)
        floor: Any = np.asarray(NORM_FLOOR, dtype=self._real)
        scaled: Array = centred / np.sqrt(variance + floor)
        return scaled.reshape(len(features), -1)

    def _transform(self, height: int, width: int) -> Matrices:
        rows, columns = _fourier(width), _fourier(height)
        step = (self.choice.padded[0] // height).bit_length() - 1
        average = [
            _averages(side, image, self.choice.scales, step)
            for side, image in zip((height, width), self.choice.image[-2:], strict=True)
        ]
        pairs = np.ascontiguousarray(rows).view(np.float64)
        return Matrices(
            rows=pairs.astype(self._real),
            columns=columns.astype(self._complex),
            back_rows=(rows.conj() / width).astype(self._complex),
            back_columns=(columns.conj() / height).astype(self._complex),
            average_rows=np.ascontiguousarray(average[1].T).astype(self._real),
            average_columns=average[0].astype(self._real),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrices:
    """What a grid is multiplied with: Fourier matrices (`rows` as pairs of real numbers), their inverses, averages."""

    rows: Array
    columns: Array
    back_rows: Array
    back_columns: Array
    average_rows: Array
    average_columns: Array


def _fourier(side: int) -> Array:
    places = np.arange(side)
    # The product is reduced first: a cosine of a large angle would lose digits.
    turned: Array = np.exp(-2j * math.pi / side * (places[:, None] * places % side))
    return turned


def _reflected(side: int, whole: int) -> NDArray[np.int64]:
    """Which pixel stands at each place of the padded side."""
    places = np.arange(whole) - (whole - side) // 2
    places = np.abs(places)
    return np.where(places < side, places, 2 * (side - 1) - places)


def _wavelets(choice: Scattering, scale: int) -> Array:
    """Fourier transforms of the Morlet wavelets of one scale, one per angle; they are real."""
    sigma, frequency = 0.8 * 2**scale, 0.75 * math.pi / 2**scale
    turns = [((choice.angles + 1) // 2 - 1 - number) * math.pi / choice.angles for number in range(choice.angles)]
    return np.stack([_morlet(choice.padded, sigma, frequency, turn, 4 / choice.angles) for turn in turns])


def _morlet(sides: tuple[int, int], sigma: float, frequency: float, turn: float, slant: float) -> Array:
    """A wave under a Gaussian envelope, less the share of the envelope that makes its sum zero."""
    wave, envelope = np.zeros(sides, dtype=np.complex128), np.zeros(sides)
    for down in range(-_PERIODS, _PERIODS + 1):
        for right in range(-_PERIODS, _PERIODS + 1):
            y, x = np.meshgrid(
                np.arange(sides[0]) + down * sides[0], np.arange(sides[1]) + right * sides[1], indexing="ij"
            )
            along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
            bell = np.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2))
            envelope += bell
            wave += bell * np.exp(1j * frequency * along)
    wave -= wave.sum() / envelope.sum() * envelope
    wave *= slant / (2 * math.pi * sigma**2)
    return np.ascontiguousarray(np.fft.fft2(wave).real)


def _low(filters: Array, grid: tuple[int, int]) -> Array:
    """The low frequencies of filters, in the order of a smaller grid."""
    for axis, side in ((1, grid[0]), (2, grid[1])):
        full = filters.shape[axis]
        places = np.arange(side)
        filters = filters.take(np.where(places < side // 2, places, places + full - side), axis=axis)
    return filters


def _averages(side: int, image: int, scales: int, step: int) -> Array:
    """[image >> scales, side]: Gaussian averages around every 2^scales-th pixel, on the grid of every 2^step-th."""
    sigma = 0.8 * 2 ** (scales - 1) / 2**step
    places = np.arange(side)
    centres = (1 + np.arange(image >> scales)) * 2 ** (scales - step)
    distances = places - centres[:, None]
    bells = sum(
        np.exp(-((distances + period * side) ** 2) / (2 * sigma**2)) for period in range(-_PERIODS, _PERIODS + 1)
    )
    return np.asarray(bells / (math.sqrt(2 * math.pi) * sigma))


def _folded(product: Array, halvings: int) -> Array:
    """The spectrum on a grid of half the sides, as often as said: [..., height, 2 * width]."""
    for _ in range(halvings):
        height, width = product.shape[-2] // 2, product.shape[-1] // 2
        product = product[..., :height, :] + product[..., height:, :]
        product = (product[..., :width] + product[..., width:]) * product.dtype.type(0.25)
    return product
