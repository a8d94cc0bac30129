"""Noise and sampling: the right distribution, from the operating system alone, never the same twice.

False alarms of the statistical tests are below 10^-9 each: they are run on fresh randomness on purpose.
"""

from __future__ import annotations

import ast
import inspect
import math
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import privacy
from kernel.errors import CorruptError, InvalidError
from privacy.training import plan_runner, stream
from privacy.training.noise import add_noise, average, grid_of, noise_vector, uniforms
from privacy.training.sampling import poisson_sample
from privacy.training.stream import NoiseStream

SIZE = 200_000
ALARM = 1e-9


def _spread_is(sample: np.ndarray, sigma: float) -> bool:
    """Chi-square test of the variance around a known mean of 0."""
    statistic = float((sample**2).sum()) / sigma**2
    return 2 * min(stats.chi2.cdf(statistic, len(sample)), stats.chi2.sf(statistic, len(sample))) > ALARM


def gaussian_vector(size: int) -> np.ndarray:
    """Of a stream of its own."""
    return NoiseStream().gaussians(size)


def noisy_sum(total: np.ndarray, clip: float, sigma: float) -> np.ndarray:
    """What a step does with a sum, by a batch of one."""
    grid = grid_of(clip, total.size)
    return average(add_noise(total.copy(), noise_vector(NoiseStream(), total.size, sigma, grid), grid), grid, 1.0)


def _drawn(sigma: float, size: int = SIZE) -> np.ndarray:
    return noisy_sum(np.zeros(size), 1.0, sigma)


def test_the_noise_has_the_scale_that_is_priced() -> None:
    """At the true scale the test passes; at 0.7 and 1.3 of it, and even at 0.98 and 1.02, it fails."""
    for sigma in (0.3, 1.0, 7.5):
        sample = _drawn(sigma)
        assert _spread_is(sample, sigma)
        for factor in (0.7, 1.3, 0.98, 1.02):
            assert not _spread_is(sample, factor * sigma), factor


def test_the_noise_has_the_shape_of_a_gaussian() -> None:
    """Kolmogorov-Smirnov against the normal; the same test refuses a Laplace and a uniform of the same spread."""
    assert stats.kstest(_drawn(2.0), "norm", args=(0, 2.0)).pvalue > ALARM
    laplace = np.sign(uniforms(SIZE) - 0.5) * -np.log(uniforms(SIZE)) / math.sqrt(2)
    flat = (uniforms(SIZE) - 0.5) * math.sqrt(12)
    for wrong in (laplace, flat):
        assert stats.kstest(wrong, "norm").pvalue < ALARM


def test_the_tails_are_there() -> None:
    """Beyond 4 deviations there are as many as there should be: nothing is cut off or resampled."""
    expected = stats.norm.sf(4) * 2
    found = int((np.abs(gaussian_vector(2_000_000)) > 4).sum())
    assert stats.binomtest(found, 2_000_000, expected).pvalue > ALARM
    assert found > 0


def test_coordinates_and_steps_are_independent() -> None:
    """No correlation between the halves of a vector (the pairs of Box and Muller), neighbours, squares, or draws."""
    one, two = gaussian_vector(SIZE), gaussian_vector(SIZE)
    half = SIZE // 2
    pairs = [(one, two), (one[:half], one[half:]), (one[:-1], one[1:]), (one[:half] ** 2 - 1, one[half:] ** 2 - 1)]
    for a, b in pairs:
        scale = float(np.std(a) * np.std(b)) * math.sqrt(len(a))
        assert abs(float(a @ b)) / scale < stats.norm.isf(ALARM / 2)
    assert not (one == two).any()


def test_an_odd_size_and_an_empty_one_are_served() -> None:
    """Sizes are what was asked for."""
    assert [len(gaussian_vector(size)) for size in (0, 1, 2, 7)] == [0, 1, 2, 7]


def test_sum_and_noise_lie_on_one_grid() -> None:
    """What leaves is a whole multiple of the grid, exactly; so its low bits say nothing about the sum."""
    for size, clip, sigma in ((1, 1.0, 0.5), (1000, 0.01, 3.0), (50, 10_000.0, 1e5)):
        grid = grid_of(clip, size)
        total = gaussian_vector(size) * clip * 100
        found = noisy_sum(total, clip, sigma) / grid
        assert (found == np.rint(found)).all()
        assert np.abs(found).max() < 2**53
        assert grid <= clip / (2048 * math.sqrt(size)) < 2 * grid
        assert math.frexp(grid)[0] == 0.5


def test_rounding_to_the_grid_stays_within_the_margin() -> None:
    """Two neighbours' sums, rounded, are apart by at most the clip that is priced."""
    clip, size = 1.0, 300
    grid = grid_of(clip, size)
    for _ in range(200):
        total, step = gaussian_vector(size) * 50, gaussian_vector(size)
        moved = total + step / np.linalg.norm(step) * clip * (1 - 2**-10)
        apart = np.linalg.norm(np.rint(moved / grid) * grid - np.rint(total / grid) * grid)
        assert apart <= clip


def test_without_entropy_there_is_no_noise_but_an_error() -> None:
    """A source that runs dry ends the run; nothing replaces it."""
    with pytest.raises(CorruptError, match="ran dry"):
        NoiseStream(lambda size: b"")
    with pytest.raises(ValueError, match=r"buffer|size|reshape|broadcast"):
        uniforms(4, lambda size: bytes(9))
    with pytest.raises(InvalidError, match="sigma"):
        noise_vector(NoiseStream(), 4, 0.0, 1.0)


def test_everything_that_draws_defaults_to_the_operating_system() -> None:
    """Randomness comes in as one argument, and nothing in production passes it."""
    drawing = (
        uniforms,
        poisson_sample,
        plan_runner.run_plan,
        plan_runner.first_state,
        stream.NoiseStream,
    )
    for function in drawing:
        assert inspect.signature(function).parameters["entropy"].default is os.urandom, function


@pytest.mark.parametrize("package", ["training", "evaluation", "graph", "jobs"])
def test_no_seedable_generator_is_reachable(package: str) -> None:
    """No module of the child imports `random`, or names numpy's or torch's generators or a seed."""
    folder = Path(privacy.__path__[0]) / package
    banned = {
        "random",
        "seed",
        "manual_seed",
        "default_rng",
        "Generator",
        "randn",
        "rand",
        "normal_",
        "dropout",
        "set_state",
    }
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {part for alias in node.names for part in alias.name.split(".")}
            elif isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names} | set((node.module or "").split("."))
            elif isinstance(node, ast.Attribute):
                names = {node.attr}
            assert not names & banned, (path.name, names & banned)


# --- sampling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.001, 0.03, 0.5, 0.97])
def test_each_unit_enters_with_the_rate(rate: float) -> None:
    """Over many steps the count of each unit, first and last too, and the sum are binomial."""
    population, steps = 40, 4000
    counts = np.zeros(population, dtype=np.int64)
    for _ in range(steps):
        counts[poisson_sample(population, rate)] += 1
    assert stats.binomtest(int(counts.sum()), population * steps, rate).pvalue > ALARM
    for count in counts:
        assert stats.binomtest(int(count), steps, rate).pvalue > ALARM / population
    assert stats.binomtest(int(counts.sum()), population * steps, min(1, rate * 1.3)).pvalue < ALARM or rate == 0.001


def test_the_size_of_a_sample_varies_as_it_must() -> None:
    """Binomial spread: a fixed batch or a shuffle would have none. Chi-square over the sizes."""
    rate, population, steps = 0.25, 64, 5000
    sizes = np.array([len(poisson_sample(population, rate)) for _ in range(steps)])
    middle = np.arange(8, 25)
    expected = stats.binom.pmf(middle, population, rate) * steps
    found = np.array([(sizes == size).sum() for size in middle])
    rest = steps - expected.sum()
    statistic = ((found - expected) ** 2 / expected).sum() + (steps - found.sum() - rest) ** 2 / rest
    assert stats.chi2.sf(statistic, len(middle)) > ALARM
    fixed = ((np.where(middle == 16, steps, 0) - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(fixed, len(middle)) < ALARM


def test_units_enter_independently() -> None:
    """Pairs of units, near and far, and the same unit in two steps, meet as often as rate x rate."""
    rate, population, steps = 0.3, 30, 6000
    member = np.zeros((steps, population), dtype=bool)
    for step in range(steps):
        member[step, poisson_sample(population, rate)] = True
    for apart in (1, 2, 15):
        together = int((member[:, :-apart] & member[:, apart:]).sum())
        # Overlapping pairs of neighbours are not independent trials: allow for twice their variance.
        trials = steps * (population - apart)
        deviation = math.sqrt(2 * trials * rate * rate * (1 - rate * rate))
        assert abs(together - trials * rate * rate) < stats.norm.isf(ALARM / 2) * deviation
    again = int((member[:-1] & member[1:]).sum())
    assert abs(again - (steps - 1) * population * rate**2) < 6.1 * math.sqrt(2 * steps * population * rate**2)


@pytest.mark.parametrize("population", [0, 1, 2, 1000])
@pytest.mark.parametrize("rate", [1e-9, 0.4, 1.0])
def test_a_sample_is_a_rising_subset(population: int, rate: float) -> None:
    """Numbers of units, each at most once; all of them at rate 1, none of an empty population."""
    for _ in range(20):
        chosen = poisson_sample(population, rate)
        assert (np.diff(chosen) > 0).all()
        assert all(0 <= number < population for number in chosen)
        assert rate < 1 or len(chosen) == population


def test_the_gap_is_the_geometric_one() -> None:
    """Chance 1/2 and known bytes: gaps are counted by hand. U in (1/4, 1/2] skips one unit."""

    def source(size: int) -> bytes:
        share = [0.9, 0.4, 0.2, 0.6]
        return b"".join(int(share[place % 4] * 2**64).to_bytes(8, "little") for place in range(size // 8))

    assert poisson_sample(10, 0.5, source).tolist() == [0, 2, 5, 6, 7, 9]


def test_uniforms_never_are_zero() -> None:
    """All zero bits and all one bits both have a finite logarithm."""
    low, high = uniforms(1, lambda size: b"\x00" * size)[0], uniforms(1, lambda size: b"\xff" * size)[0]
    assert 0 < low < 2**-64
    assert high == 1.0
