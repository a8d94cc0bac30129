"""Streams: fresh keys, numbers that are used once, Gaussian to the tails."""

from __future__ import annotations

import copy
import math
import os
import pickle
from typing import Any

import numpy as np
import pytest
from scipy import stats

from kernel.errors import CorruptError
from privacy.training.stream import PAIRS, NoiseStream, OnePlace

ALARM = 1e-6
SIZE = 2_000_000


@pytest.fixture(scope="module")
def numbers() -> Any:
    """Two million, from one stream."""
    return NoiseStream().gaussians(SIZE)


def test_moments_are_those_of_the_normal_distribution(numbers: Any) -> None:
    """Mean 0, variance 1, third moment 0, fourth 3, sixth 15: each within what chance allows."""
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10_170)):
        z = float((numbers**power).mean() - expected) / math.sqrt(variance / SIZE)
        assert abs(z) < stats.norm.isf(ALARM / 2), (power, z)


def test_the_shape_is_the_normal_ones(numbers: Any) -> None:
    """Kolmogorov and Smirnov, and chi-square over 200 cells of equal probability."""
    assert stats.kstest(numbers, "norm").pvalue > ALARM
    cells = np.histogram(stats.norm.cdf(numbers), bins=200, range=(0, 1))[0]
    assert stats.chisquare(cells).pvalue > ALARM
    assert stats.kstest(numbers * 1.01, "norm").pvalue < ALARM


def test_the_tails_are_as_heavy_as_they_must_be(numbers: Any) -> None:
    """Beyond 3, 4 and 4.5 deviations there are as many as there should be, on either side."""
    for bound in (3.0, 4.0, 4.5):
        for side in (numbers, -numbers):
            found = int((side > bound).sum())
            assert stats.binomtest(found, SIZE, stats.norm.sf(bound)).pvalue > ALARM, bound


def test_a_pair_lies_in_every_direction_at_every_radius(numbers: Any) -> None:
    """Angles are uniform and independent of the radius, over the eight octants and finely within."""
    block = NoiseStream().gaussians(2 * PAIRS * 8).reshape(8, 2, PAIRS)
    x, y = block[:, 0].ravel(), block[:, 1].ravel()
    angles = np.arctan2(y, x) / (2 * math.pi) + 0.5
    assert stats.kstest(angles, "uniform").pvalue > ALARM
    assert stats.chisquare(np.histogram(angles, bins=64, range=(0, 1))[0]).pvalue > ALARM
    assert stats.kstest((x**2 + y**2) / 2, "expon").pvalue > ALARM
    far = x**2 + y**2 > 2
    assert stats.kstest(angles[far], "uniform").pvalue > ALARM


def test_numbers_are_independent_of_their_neighbours_and_partners(numbers: Any) -> None:
    """No correlation at the lags where a block could show: 1, the partner's, the block's; nor between squares."""
    for lag in (1, 2, 8, PAIRS, 2 * PAIRS):
        for values in (numbers, numbers**2 - 1):
            a, b = values[:-lag], values[lag:]
            z = float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) * math.sqrt(len(a))
            assert abs(z) < stats.norm.isf(ALARM / 2), lag


def test_the_arithmetic_is_box_and_mullers() -> None:
    """From known bits: each number against radius and angle computed with the library's functions."""
    stream = NoiseStream(lambda size: b"k" * size)
    words = np.frombuffer(NoiseStream(lambda size: b"k" * size).draw(16 * PAIRS), dtype=np.int64)
    radii, angles = words[:PAIRS], words[PAIRS:]
    radius = np.sqrt(-2 * np.log(np.abs((radii | 1).astype(np.float64)) * 2.0**-63))
    angle = angles.astype(np.float64) * 2.0**-63 * math.pi / 2
    found = stream.gaussians(2 * PAIRS)
    sign = np.where(radii < 0, -1.0, 1.0)
    assert np.abs(found[:PAIRS] - sign * radius * np.cos(angle)).max() < 1e-13
    assert np.abs(found[PAIRS:] - radius * np.sin(angle)).max() < 1e-13
    assert np.abs(np.hypot(found[:PAIRS], found[PAIRS:]) / radius - 1).max() < 1e-14


def test_the_extreme_words_are_finite() -> None:
    """Whatever the bits are: the smallest radius word reaches beyond 9.3 deviations, the largest gives 0."""
    from privacy.training.stream import _Maker

    maker, x, y = _Maker(), np.empty(PAIRS), np.empty(PAIRS)
    words = np.frombuffer(maker.bits, dtype=np.int64, count=2 * PAIRS)
    extremes = np.array([0, 1, -1, 2**63 - 1, -(2**63), -(2**63) + 1], dtype=np.int64)
    words[:PAIRS] = np.resize(np.repeat(extremes, 6), PAIRS)
    words[PAIRS:] = np.resize(extremes, PAIRS)
    maker.make(x, y, 1.0)
    assert np.isfinite(x).all()
    assert np.isfinite(y).all()
    assert 9.3 < np.hypot(x, y).max() < 9.4
    assert np.hypot(x, y).min() < 1e-7


def test_a_stream_hands_out_each_number_once() -> None:
    """Requests of any sizes, one after the other, are disjoint pieces: no number comes twice."""
    stream = NoiseStream()
    parts = [stream.gaussians(size) for size in (1, 7, 3000, 2 * PAIRS, 5, 70_000, 0, 1, 40_000)]
    values = np.concatenate(parts)
    assert len(np.unique(values)) == len(values)
    drawn = [stream.draw(16) for _ in range(100)]
    assert len(set(drawn)) == 100


def test_streams_have_nothing_in_common() -> None:
    """Every stream has a key of its own, so two never give a common number, bit string or word."""
    streams = [NoiseStream() for _ in range(6)]
    values = np.concatenate([stream.gaussians(10_000) for stream in streams])
    assert len(np.unique(values)) == len(values)
    words = np.concatenate([NoiseStream().words(1000) for _ in range(6)])
    assert len(np.unique(words)) == len(words)


def test_a_stream_cannot_be_copied_or_stored() -> None:
    """Neither pickled nor copied: there would be two with the same numbers ahead."""
    stream = NoiseStream()
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            attempt(stream)


def test_after_a_fork_the_copy_refuses() -> None:
    """A forked process that inherits a stream cannot draw from it; the original goes on."""
    stream = NoiseStream()
    stream.gaussians(3)
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        try:
            stream.gaussians(1)
            said = b"drew"
        except CorruptError:
            said = b"refused"
        except BaseException:  # noqa: BLE001 - whatever it was, the parent's assertion shows it
            said = b"other"
        os.write(writer, said)
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 16) == b"refused"
    os.waitpid(process, 0)
    os.close(reader)
    assert len(stream.gaussians(4)) == 4


def test_numbers_in_one_place_are_the_streams_own_in_order() -> None:
    """Under one key the same numbers as without it, each used once; only the memory is used again."""
    plain, stream = (NoiseStream(lambda size: b"k" * size) for _ in range(2))
    source = OnePlace(stream, 2 * PAIRS + 5)
    first = source.gaussians(2 * PAIRS + 5)
    for _ in range(5):
        expected = plain.gaussians(2 * PAIRS + 5)
        assert (first == expected).all()
        assert np.shares_memory(source.gaussians(2 * PAIRS + 5), first)
    plain.gaussians(2 * PAIRS + 5)
    shorter = source.gaussians(4)
    assert (shorter == plain.gaussians(4)).all()
    assert np.shares_memory(shorter, first)
    with pytest.raises(ValueError, match="room"):
        source.gaussians(2 * PAIRS + 6)


@pytest.mark.parametrize("deviation", [2.0**-20, 0.3, 1.0, 12_345.678])
def test_a_deviation_scales_whole_blocks_and_the_rest_alike(deviation: float) -> None:
    """Under one key the standard numbers times it, up to rounding, wherever a number lies."""
    plain, stream = (NoiseStream(lambda size: b"k" * size) for _ in range(2))
    for size in (5, 2 * PAIRS, 2 * PAIRS + 7, 4 * PAIRS - 3):
        np.testing.assert_allclose(stream.gaussians(size, deviation), deviation * plain.gaussians(size), rtol=1e-14)
