"""The self-test's mathematics: tails that bound, a lower bound that is one, and each fault of a run by its name."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from kernel.amounts import Delta
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import PoissonSampledGaussian
from privacy.selftest.bound import Guess, best_p, guess_p, lower_bound
from privacy.selftest.claims import Claims
from privacy.selftest.gaussian_bound import gaussian_epsilon, gaussian_mu, refutes
from privacy.selftest.noise_sums import HeardSums, NoiseSums
from privacy.selftest.report import REHEARSED, Check, SelfTest, bound_at, failed, judge
from privacy.selftest.tails import drift_p, rate_p, variance_p
from privacy.selftest.witness import Witness

CLAIMS = Claims(noise=2.4, rate=0.125, normaliser=60.0)
STEPS = 100
USES = (PoissonSampledGaussian(sampling_rate=Parameter("0.125"), noise_multiplier=Parameter("2.4"), steps=100),)
LIVE = 50


def ran(seed: int = 1, scale: float = 1.0, rate: float = 0.125, averaged: bool = True, still: bool = False) -> SelfTest:
    """A run of the claimed mechanism, or of one that differs in what is named."""
    draw = np.random.default_rng(seed)
    witness = Witness(CLAIMS, entropy=draw.bytes)
    stuck = draw.standard_normal(LIVE + witness.units)
    same = np.arange(64)
    for _ in range(STEPS):
        noise = stuck if still else scale * draw.standard_normal(LIVE + witness.units)
        drawn = same if rate == 0 else np.flatnonzero(draw.random(witness.units) < rate)
        dead = witness.moves(drawn) + CLAIMS.noise * noise[LIVE:]
        witness.hear(noise, 0, len(noise))
        witness.observe(dead=dead / (CLAIMS.normaliser if averaged else 1), canaries=drawn)
    return witness.report(REHEARSED)


def test_pieces_say_what_the_whole_says() -> None:
    """However a step's noise is cut, the figures are the same up to rounding; the last step has none after it."""
    draw, size, steps = np.random.default_rng(5), 1000, 7
    noise = draw.standard_normal((steps, size))
    whole = NoiseSums()
    whole.add(noise[:3])
    whole.add(noise[3:])
    for width in (size, 333, 1):
        heard = HeardSums()
        for step in noise:
            for start in range(0, size, width):
                heard.add(step[start : start + width], start, size)
        assert heard.count == whole.count == steps * size
        for figure in ("squares", "repeats", "previous"):
            assert math.isclose(getattr(heard, figure), getattr(whole, figure), rel_tol=1e-12, abs_tol=1e-9)


def test_a_step_ends_when_its_noise_was_heard_whole() -> None:
    """A piece that is kept from the witness is noticed at once."""
    witness = Witness(CLAIMS)
    dead = np.zeros(witness.units)
    for heard in (0, 1):
        for number in range(heard):
            witness.hear(np.zeros(10), 10 * number, 10 + witness.units)
        with pytest.raises(ValueError, match="heard"):
            witness.observe(dead=dead, canaries=np.arange(1))


def test_an_honest_run_passes_every_check() -> None:
    """Its 95 % bound lies far below what such a mechanism costs."""
    test = ran()
    assert failed(judge(test, CLAIMS, USES)) == ()
    assert float(bound_at(test, Delta.up("1e-6"))) < 3


@pytest.mark.parametrize(
    ("fault", "by"),
    [
        (lambda: ran(scale=0.5), {Check.NOISE_VARIANCE, Check.WHOLE_VARIANCE}),
        (lambda: ran(scale=0.0), {Check.NOISE_VARIANCE, Check.WHOLE_VARIANCE}),
        (lambda: ran(still=True), {Check.NOISE_REPEATS, Check.WHOLE_REPEATS}),
        (lambda: ran(rate=1.0), {Check.INCLUSION}),
        (lambda: ran(rate=0.0), {Check.SAMPLE_REPEATS}),
        (lambda: ran(averaged=False), {Check.AVERAGING, Check.NOISE_VARIANCE}),
    ],
    ids=["half noise", "no noise", "repeated noise", "no subsampling", "the same sample again", "sum not averaged"],
)
def test_each_fault_is_caught_by_a_named_check(fault: Callable[[], SelfTest], by: set[Check]) -> None:
    """The one named for it, whatever else notices."""
    assert by <= set(failed(judge(fault(), CLAIMS, USES)))


def test_a_rehearsal_that_left_a_check_out_fails_it() -> None:
    """A child that did not rehearse cannot pass."""
    fields = ran().to_fields() | {"rehearsed": ["live-noise"]}
    assert set(REHEARSED[1:]) <= set(failed(judge(SelfTest.from_fields(fields), CLAIMS, USES)))


@pytest.mark.parametrize(
    "change",
    [
        {"drawn": -1},
        {"drawn": 10**9},
        {"squares": "NaN"},
        {"guesses": [{"guesses": 5, "correct": 6}]},
        {"guesses": [{"guesses": 600, "correct": 6}]},
        {"rehearsed": ["clip-bound", "live-noise"]},
        {"rehearsed": ["noise-variance"]},
        {"whole_variance": 1},
        {"more": 1},
    ],
)
def test_figures_are_read_strictly(change: dict[str, object]) -> None:
    """They come from the child."""
    with pytest.raises(InvalidError):
        SelfTest.from_fields(ran().to_fields() | change)


def test_figures_survive_writing() -> None:
    """What the parent judges is what the child wrote."""
    assert SelfTest.from_fields(ran().to_fields()) == ran()


@pytest.mark.parametrize("level", [0.3, 0.05, 0.01])
def test_tails_never_understate(level: float) -> None:
    """Under honest draws, p <= level happens at most so often; 2,000 draws, four deviations allowed."""
    draw = np.random.default_rng(5)
    allowed = 2000 * level + 4 * math.sqrt(2000 * level)
    x, y = draw.standard_normal((2, 2000, 80))
    coins = draw.random((2000, 80)) < 0.2
    for found in (
        [variance_p(float(row @ row), 80) for row in x],
        [drift_p(float(a @ b), float(b @ b), 80) for a, b in zip(x, y, strict=True)],
        [rate_p(int(row.sum()), 80, 0.2) for row in coins],
    ):
        assert sum(p <= level for p in found) <= allowed


def test_tails_see_what_is_far_off() -> None:
    """And nothing proves nothing."""
    assert variance_p(250.0, 1000) < 1e-100
    assert drift_p(1000.0, 1000.0, 1000.0) < 1e-100
    assert rate_p(900, 1000, 0.1) < 1e-100
    assert (variance_p(0.0, 0), drift_p(0.0, 0.0, 0.0)) == (1.0, 1.0)
    assert rate_p(0, 0, 0.5) == pytest.approx(1)
    assert (variance_p(math.nan, 5), drift_p(math.inf, 1.0, 1.0), rate_p(4, 5, 1.0)) == (0.0, 0.0, 0.0)


def test_the_bound_has_known_values() -> None:
    """Pure privacy: all of r coins guessed right has probability (e^eps / (1 + e^eps))^r, so the bound inverts that."""
    assert guess_p(Guess(guesses=10, correct=10), 10, 0.0, 0.0) == pytest.approx(2**-10)
    right = Guess(guesses=100, correct=100)
    success = 0.05 ** (1 / 100)
    assert lower_bound([right], 100, 0.0, 0.95) == pytest.approx(math.log(success / (1 - success)), rel=1e-6)
    assert guess_p(right, 100, 1.0, 1e-6) > guess_p(right, 100, 1.0, 0.0)


def test_a_bound_on_coins_that_nobody_knows_is_zero_19_times_in_20() -> None:
    """Guessing blindly, with the best of three numbers of guesses picked afterwards."""
    draw = np.random.default_rng(9)
    wrong = 0
    for _ in range(400):
        right = np.cumsum(draw.random(64) < 0.5)
        guesses = [Guess(guesses=r, correct=int(right[r - 1])) for r in (16, 32, 64)]
        wrong += best_p(guesses, 64, 0.0, 0.0) <= 0.05
    assert wrong <= 400 * 0.05 + 4 * math.sqrt(400 * 0.05)


def test_a_bound_on_randomised_response_is_valid_and_not_idle() -> None:
    """Coins answered truthfully with e^eps / (1 + e^eps): at most eps, and most of it, 19 times in 20."""
    draw, epsilon = np.random.default_rng(11), 1.5
    truth = 1 / (1 + math.exp(-epsilon))
    found = []
    for _ in range(60):
        right = int((draw.random(1024) < truth).sum())
        found.append(lower_bound([Guess(guesses=1024, correct=right)], 1024, 0.0, 0.95))
    assert sum(bound > epsilon for bound in found) <= 8
    assert np.median(found) > 1.2


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
def test_the_gaussian_bound_is_valid_and_the_tighter_one(mu: float) -> None:
    """Coins hidden in noise of deviation 1/mu, the best of several numbers of guesses: at most mu, 19 times in 20."""
    draw = np.random.default_rng(13)
    found, tighter = [], []
    for _ in range(40):
        coins = draw.random(512) < 0.5
        order = np.argsort(coins * mu + draw.standard_normal(512))
        guesses = [
            Guess(guesses=r, correct=int(coins[order[-r // 2 :]].sum() + (~coins[order[: r // 2]]).sum()))
            for r in (16, 32, 64, 128, 256, 512)
        ]
        found.append(gaussian_mu(guesses, 512, 0.95))
        tighter.append(gaussian_epsilon(found[-1], 1e-6) > lower_bound(guesses, 512, 1e-6, 0.95))
    assert sum(bound > mu for bound in found) <= 7
    assert np.median(found) > mu / 4
    assert np.mean(tighter) > 0.5


def test_mu_turns_into_epsilon_as_in_the_literature() -> None:
    """Dong, Roth and Su, corollary 2.13: delta of a 1-Gaussian mechanism at epsilon 1 is 0.1269; none needs none."""
    assert gaussian_epsilon(1.0, 0.126937) == pytest.approx(1.0, abs=1e-4)
    assert gaussian_epsilon(0.0, 1e-6) == 0.0
    assert gaussian_epsilon(1e-6, 0.5) == 0.0


def test_blind_guesses_refute_no_gaussian() -> None:
    """Half right is what coins give."""
    assert not refutes(Guess(guesses=512, correct=256), 512, 0.1, 0.05)
    assert gaussian_mu([Guess(guesses=512, correct=256)], 512, 0.95) < 0.05
    assert gaussian_mu([], 512, 0.95) == 0.0
