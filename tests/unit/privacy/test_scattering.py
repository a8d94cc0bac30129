"""Scattering: the written definition, invariances, and rows that never meet."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privacy.jobs.extractors import Norm, Scattering
from privacy.training.scattering import ScatteringTransform

SIDE = 16
PLAIN = Scattering(image=(SIDE, SIDE), scales=2, angles=4, norm=Norm.NONE, groups=None)
DIGITS = Scattering(image=(28, 28), groups=27)


def images(count: int, pixels: int, seed: int = 1) -> NDArray[np.float32]:
    """Rows of uniform noise."""
    return np.random.default_rng(seed).uniform(-1, 1, (count, pixels)).astype(np.float32)


# --- The definition, as slowly as it reads ---------------------------------------------------------------------------


def wavelet(sides: tuple[int, int], scale: int, angle: int, angles: int) -> NDArray[np.complex128]:
    """One Morlet wavelet on a torus, summed over far more periods than it reaches."""
    sigma, frequency, slant = 0.8 * 2**scale, 0.75 * math.pi / 2**scale, 4 / angles
    turn = (math.ceil(angles / 2) - 1 - angle) * math.pi / angles
    wave, bell = np.zeros(sides, dtype=np.complex128), np.zeros(sides)
    for y in range(-4 * sides[0], 4 * sides[0]):
        for x in range(-4 * sides[1], 4 * sides[1]):
            along, across = x * math.cos(turn) + y * math.sin(turn), -x * math.sin(turn) + y * math.cos(turn)
            height = math.exp(-(along**2 + (slant * across) ** 2) / (2 * sigma**2))
            bell[y % sides[0], x % sides[1]] += height
            wave[y % sides[0], x % sides[1]] += height * np.exp(1j * frequency * along)
    return slant / (2 * math.pi * sigma**2) * (wave - wave.sum() / bell.sum() * bell)


def average(sides: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    """A Gaussian on a torus."""
    result = np.zeros(sides)
    for y in range(-4 * sides[0], 4 * sides[0]):
        for x in range(-4 * sides[1], 4 * sides[1]):
            result[y % sides[0], x % sides[1]] += math.exp(-(y**2 + x**2) / (2 * sigma**2))
    return result / (2 * math.pi * sigma**2)


def convolved(signal: NDArray[Any], kernel: NDArray[Any]) -> NDArray[Any]:
    """Circular convolution, one shift at a time."""
    result = np.zeros(signal.shape, dtype=np.result_type(signal, kernel))
    for y, x in np.ndindex(*kernel.shape):
        result += kernel[y, x] * np.roll(signal, (y, x), axis=(0, 1))
    return result


def averaged(signal: NDArray[np.float64], scale: int, choice: Scattering) -> NDArray[np.float64]:
    """A signal on every 2^scale-th pixel, averaged around every 2^J-th pixel of the image."""
    coarse = signal[:: 2**scale, :: 2**scale]
    smooth = convolved(coarse, average(coarse.shape, 0.8 * 2 ** (choice.scales - 1 - scale)))
    step = 2 ** (choice.scales - scale)
    height, width = (side >> choice.scales for side in choice.image)
    return smooth[step::step, step::step][:height, :width]


def direct(row: NDArray[np.float32], choice: Scattering) -> NDArray[np.float64]:
    """Coefficients of one image at two scales, in the order of the form."""
    height, width = choice.image
    margins = [(whole - side) // 2 for side, whole in zip(choice.image, choice.padded, strict=True)]
    ends = [whole - side - margin for side, whole, margin in zip(choice.image, choice.padded, margins, strict=True)]
    padded = np.pad(
        row.reshape(height, width).astype(np.float64), list(zip(margins, ends, strict=True)), mode="reflect"
    )
    fine, coarse = (
        [wavelet(choice.padded, scale, angle, choice.angles) for angle in range(choice.angles)] for scale in (0, 1)
    )
    first = [np.abs(convolved(padded, wave)) for wave in fine]
    maps = [averaged(padded, 0, choice)] + [averaged(modulus, 0, choice) for modulus in first]
    maps += [averaged(np.abs(convolved(padded, wave)), 1, choice) for wave in coarse]
    maps += [averaged(np.abs(convolved(modulus, wave)), 1, choice) for modulus in first for wave in coarse]
    return np.stack(maps)


def test_coefficients_are_what_a_direct_convolution_gives() -> None:
    """Fourier transforms as products give what sums over pixels give."""
    row = images(1, SIDE * SIDE)
    found = ScatteringTransform(PLAIN, np.float64)(row)[0]
    assert np.abs(found - direct(row[0], PLAIN).reshape(-1)).max() < 1e-6
    uneven = Scattering(image=(13, 10), scales=2, angles=3, norm=Norm.NONE, groups=None)
    row = images(1, 130)
    found = ScatteringTransform(uneven, np.float64)(row)[0]
    assert np.abs(found - direct(row[0], uneven).reshape(-1)).max() < 1e-6


def test_float32_differs_from_float64_by_rounding_alone() -> None:
    """The product's float32 is the float64 reference to four digits."""
    rows = images(3, 784)
    single, double = ScatteringTransform(DIGITS)(rows), ScatteringTransform(DIGITS, np.float64)(rows)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert np.abs(single - double).max() < 2e-4


@pytest.mark.parametrize(
    ("choice", "width"),
    [
        (DIGITS, 3969),
        (Scattering(image=(28, 28), order=1, groups=17), 17 * 49),
        (Scattering(image=(3, 32, 32), groups=3), 3 * 81 * 64),
        (Scattering(image=(19, 30), scales=1, angles=3), 4 * 9 * 15),
        (Scattering(image=(40, 32), scales=3, angles=2, groups=1), (1 + 6 + 12) * 5 * 4),
    ],
)
def test_the_width_is_the_declared_one(choice: Scattering, width: int) -> None:
    """The value says how many numbers come out."""
    assert choice.width == width
    found = ScatteringTransform(choice)(images(2, choice.inputs))
    assert found.shape == (2, width)
    assert np.isfinite(found).all()


# --- Rows never meet -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [DIGITS, Scattering(image=(2, 20, 18), scales=2, angles=3, groups=2)])
def test_a_row_is_the_same_bit_for_bit_whatever_stands_beside_it(choice: Scattering) -> None:
    """Number, order, place and memory layout of other rows change no bit."""
    transform = ScatteringTransform(choice)
    rows = images(11, choice.inputs)
    alone = np.concatenate([transform(rows[i : i + 1]) for i in range(len(rows))])
    order = np.random.default_rng(2).permutation(len(rows))
    assert transform(rows).tobytes() == alone.tobytes()
    assert transform(rows[order]).tobytes() == alone[order].tobytes()
    assert transform(np.asfortranarray(rows)[3:8]).tobytes() == alone[3:8].tobytes()


def test_hostile_rows_disturb_nobody_else() -> None:
    """NaN, infinity and overflow stay in their own row."""
    transform = ScatteringTransform(DIGITS)
    rows = images(8, 784)
    alone = transform(rows)
    for place, value in ((1, np.nan), (3, np.inf), (4, 3e38), (6, 1e-40)):
        rows[place, 100] = value
    found = transform(rows)
    honest = [0, 2, 5, 7]
    assert found[honest].tobytes() == alone[honest].tobytes()
    assert not np.isfinite(found[[1, 3, 4]]).all(axis=1).any()
    assert np.isfinite(found[6]).all()


# --- What it ignores -------------------------------------------------------------------------------------------------


def test_group_norm_brings_every_group_to_mean_zero_and_variance_one() -> None:
    """What `group` promises."""
    found = ScatteringTransform(DIGITS, np.float64)(images(4, 784) * 100).reshape(4, 27, -1)
    assert np.abs(found.mean(axis=2)).max() < 1e-9
    assert np.all(np.abs(found.var(axis=2) - 1) < 0.01)


def test_brightness_moves_the_average_alone() -> None:
    """Wavelets have mean zero."""
    row = images(1, SIDE * SIDE)
    transform = ScatteringTransform(PLAIN, np.float64)
    before, after = (transform(rows).reshape(PLAIN.maps, -1) for rows in (row, row + np.float32(0.5)))
    assert np.allclose(after[0] - before[0], 0.5, atol=1e-6)
    assert np.allclose(after[1:], before[1:], atol=1e-6)


def test_contrast_scales_every_coefficient() -> None:
    """Coefficients are homogeneous."""
    row = images(1, SIDE * SIDE)
    transform = ScatteringTransform(PLAIN, np.float64)
    assert np.allclose(transform(row * np.float32(0.25)), 0.25 * transform(row), atol=1e-12)


def test_a_small_shift_changes_the_coefficients_less_than_the_pixels() -> None:
    """Averaged moduli are stable."""
    stroke = np.zeros((28, 28), dtype=np.float32)
    stroke[6:22, 10:13] = 1
    moved = np.roll(stroke, 1, axis=1)
    plain = Scattering(image=(28, 28), norm=Norm.NONE, groups=None)
    found = ScatteringTransform(plain, np.float64)(np.stack([stroke, moved]).reshape(2, -1))
    change = np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[0])
    pixels = np.linalg.norm(moved - stroke) / np.linalg.norm(stroke)
    assert change < pixels / 2


def test_a_transposed_image_transposes_the_maps_and_mirrors_the_angles() -> None:
    """Angles lie where the form says."""
    choice = Scattering(image=(16, 16), scales=1, angles=4, order=1, norm=Norm.NONE, groups=None)
    picture = images(1, 256).reshape(16, 16)
    transform = ScatteringTransform(choice, np.float64)
    first, other = (transform(rows.reshape(1, -1)).reshape(5, 8, 8) for rows in (picture, picture.T))
    # Angle t becomes 90 degrees - t: of 45, 0, -45 and -90 the first and third stay, the others change places.
    for number, mirrored in enumerate([0, 1, 4, 3, 2]):
        assert np.allclose(other[number], first[mirrored].T, atol=1e-9)
