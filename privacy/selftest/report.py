"""What a self-test found, and the verdict on it: computed from its figures by whoever reads them.

Rules
-----
1. The child tells figures, never a verdict. The worker judges them, and anybody can judge them again from the
   certificate.
2. Figures are of dead coordinates and canaries alone. The noise of live coordinates is told as pass or fail, at
   p < 1e-15 (`noise_sums` says why).
3. `LEVEL` is for all checks of a job together: each check gets an equal part of it (Bonferroni).
4. The lower bound at 95 % is a figure. What gates is whether the guesses refute the claim at the level above, and that
   at a tiny delta: at a population's delta m canaries may be told apart with probability m x delta by right.

Format: docs/formats/certificate.md, "Self-test".
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from kernel.amounts import Delta
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from privacy.accounting.mechanisms import MechanismUse
from privacy.accounting.rdp import job_epsilon
from privacy.selftest.bound import MOST_CANARIES, Guess, best_p, lower_bound
from privacy.selftest.claims import Claims
from privacy.selftest.gaussian_bound import gaussian_epsilon, gaussian_mu
from privacy.selftest.tails import drift_p, rate_p, variance_p

LEVEL: Final = 1e-9
WHOLE_LEVEL: Final = 1e-15
CONFIDENCE: Final = Parameter("0.95")
METHOD: Final = "one-run-guesses"
TINY: Final = Delta.up("1e-14")
MOST_GUESSES = 16
COORDINATES: Final = 512
GUESSED: Final = tuple(COORDINATES // share for share in (32, 16, 8, 4, 2, 1))
"""How many coins are guessed: the surest few, up to all."""


class Check(StrEnum):
    """What a self-test checks. The first six look before the envelope is opened, at rows that were made up."""

    LIVE_NOISE = "live-noise"
    LIVE_AVERAGE = "live-average"
    CLIPPED_ALONE = "clipped-alone"
    CLIP_BOUND = "clip-bound"
    ROWS_APART = "rows-apart"
    HOSTILE_ROWS = "hostile-rows"
    NOISE_VARIANCE = "noise-variance"
    NOISE_REPEATS = "noise-repeats"
    WHOLE_VARIANCE = "whole-variance"
    WHOLE_REPEATS = "whole-repeats"
    AVERAGING = "averaging"
    INCLUSION = "inclusion"
    SAMPLE_REPEATS = "sample-repeats"
    LOWER_BOUND = "lower-bound"


REHEARSED: Final = (
    Check.LIVE_NOISE,
    Check.LIVE_AVERAGE,
    Check.CLIPPED_ALONE,
    Check.CLIP_BOUND,
    Check.ROWS_APART,
    Check.HOSTILE_ROWS,
)
_SHARES = 6
"""How many checks share `LEVEL`; the two on the whole noise have `WHOLE_LEVEL`, a millionth of it."""


@dataclass(frozen=True, kw_only=True)
class SelfTest(Record):
    """The figures of one run's self-test.

    Attributes:
        coordinates: Dead coordinates, one canary on each.
        steps: Steps of the attempt that was watched.
        squares: Of the noise on dead coordinates, in units of what it should be.
        repeats: Sum of products with the step before; `previous`: sum of squares of the step before.
        signal: Sum of the noise where a canary moved its coordinate; `signals`: how many times.
        drawn: Canaries drawn over all steps, controls included.
        again: Those that the step before drew as well, of `again_of`.
        guesses: Right guesses of the coins.
        whole_variance, whole_repeats: Whether all of the noise passed.
        rehearsed: What passed on made-up rows before the envelope was opened.
    """

    coordinates: int
    steps: int
    squares: Parameter
    repeats: Parameter
    previous: Parameter
    signal: Parameter
    signals: int
    drawn: int
    again: int
    again_of: int
    guesses: tuple[Guess, ...]
    whole_variance: bool
    whole_repeats: bool
    rehearsed: tuple[Check, ...]

    def __post_init__(self) -> None:
        whole(1, MOST_CANARIES, coordinates=self.coordinates)
        whole(1, 10**6, steps=self.steps)
        most = self.coordinates * self.steps
        for name in ("signals", "drawn", "again", "again_of"):
            whole(0, most, **{name: getattr(self, name)})
        whole(0, MOST_GUESSES, guesses=len(self.guesses))
        if any(guess.guesses > self.coordinates for guess in self.guesses):
            raise InvalidError("more guesses than canaries", field="guesses")
        if self.rehearsed != tuple(check for check in REHEARSED if check in self.rehearsed):
            raise InvalidError("`rehearsed` names checks of the rehearsal, each once, in order", field="rehearsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check gave; `p` is absent where only pass or fail is known."""

    check: Check
    passed: bool
    p: float | None = None


def require_whole(test: SelfTest, steps: int | None = None) -> SelfTest:
    """Return a self-test that leaves nothing out.

    Args:
        test: As it was read.
        steps: How many steps it must have watched, where that is known.

    Raises:
        InvalidError: Fewer coordinates, guesses or steps than belong to one.
    """
    guessed = tuple(guess.guesses for guess in test.guesses)
    if test.coordinates != COORDINATES or guessed != GUESSED or steps not in (None, test.steps):
        raise InvalidError("a self-test leaves something out", field="self_test")
    return test


def judge(test: SelfTest, claims: Claims, uses: Iterable[MechanismUse]) -> tuple[Finding, ...]:
    """Judge a self-test by what was claimed.

    Args:
        test: Its figures.
        claims: The plan's constants.
        uses: What the plan composes if it runs once through.

    Returns:
        A finding for each check, in the order of `Check`.
    """
    flags = {check: check in test.rehearsed for check in REHEARSED}
    flags |= {Check.WHOLE_VARIANCE: test.whole_variance, Check.WHOLE_REPEATS: test.whole_repeats}
    values = _p_values(test, claims, tuple(uses))
    return tuple(
        Finding(check=check, passed=flags[check])
        if check in flags
        else Finding(check=check, passed=values[check] >= LEVEL / _SHARES, p=values[check])
        for check in Check
    )


def failed(findings: Iterable[Finding]) -> tuple[Check, ...]:
    """The names of the checks that did not pass."""
    return tuple(finding.check for finding in findings if not finding.passed)


@functools.lru_cache(maxsize=256)  # whoever verifies asks for the same figures several times over
def bound_at(test: SelfTest, delta: Delta) -> Parameter:
    """The reported lower bound on the job's epsilon, with `CONFIDENCE`, rounded down to 1e-3."""
    bound = lower_bound(test.guesses, test.coordinates, float(delta.value), float(CONFIDENCE.number))
    return Parameter(Decimal(int(bound * 1000)) / 1000)


@functools.lru_cache(maxsize=256)
def gaussian_bound_at(test: SelfTest, delta: Delta) -> Parameter:
    """The same if the run is thought of as one Gaussian mechanism: tighter, and information only."""
    mu = gaussian_mu(test.guesses, test.coordinates, float(CONFIDENCE.number))
    return Parameter(Decimal(int(gaussian_epsilon(mu, float(delta.value)) * 1000)) / 1000)


def _p_values(test: SelfTest, claims: Claims, uses: tuple[MechanismUse, ...]) -> dict[Check, float]:
    places, pairs = test.coordinates * test.steps, test.coordinates * (test.steps - 1)
    signals = places * claims.rate / 2
    claimed = float(job_epsilon(*uses, delta=TINY).epsilon.value)
    return {
        Check.NOISE_VARIANCE: variance_p(float(test.squares), places),
        Check.NOISE_REPEATS: drift_p(float(test.repeats), float(test.previous), pairs),
        Check.AVERAGING: drift_p(float(test.signal), test.signals, signals),
        Check.INCLUSION: rate_p(test.drawn, places, claims.rate),
        Check.SAMPLE_REPEATS: rate_p(test.again, test.again_of, claims.rate),
        Check.LOWER_BOUND: best_p(test.guesses, test.coordinates, claimed, float(TINY.value)),
    }
