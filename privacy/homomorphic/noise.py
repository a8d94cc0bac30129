"""Noise that the sites add before they encrypt, and what it is worth against whom. Pure, standard library only.

Rules
-----
1. Of K sites up to c may be missing or share what they know. Each site adds discrete Gaussian noise of the variance
   sigma^2 / (K - c), so that what is left without c of them is sigma^2: the deviation that is priced (RULES 35).
2. Noise that an observer knows does not count for him: epsilon is stated for each observer and for coalitions.
3. Numbers are refined until each site's deviation is at least LEAST_DEVIATION steps and the sum's at least
   QUANTA_PER_DEVIATION (RULES 38), so that a sum of discrete Gaussians is worth what one of them is: see below.
4. A noised number beyond its bound and 12 deviations is moved back to there, which no sum then exceeds. Only the noised
   number is looked at, so that this costs nothing.

Why the sum is priced as one discrete Gaussian
----------------------------------------------
By Kairouz, Liu and Steinke 2021 (arXiv 2102.06387) the sum over n sites of discrete Gaussians of deviation
s >= 1/2 on d numbers satisfies e^2/2-zCDP with e^2 = D^2 / (n s^2) + tau d / 2, D the sensitivity and tau = 10 times
the sum over k < n of exp(-2 pi^2 s^2 k / (k + 1)) <= 10 n exp(-pi^2 s^2). With s >= 8, n <= 1000 and d <= 2^26 the
second term is below 1e-260, which the accountant's slack (1e-40 a use) holds at every order.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Self

from kernel.amounts import Delta, Epsilon
from kernel.checks import whole, within
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import Entropy
from privacy.accounting.calibration import NOISE_QUANTUM, calibrate, gaussian
from privacy.accounting.mechanisms import LEAST_NOISE, MOST_NOISE, Gaussian
from privacy.accounting.rdp import job_epsilon
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.homomorphic.layout import QUANTA_PER_DEVIATION, TAIL_DEVIATIONS
from privacy.jobs.strict import members_of, text_of

LEAST_SITES, MOST_SITES = 3, 1000
LEAST_DEVIATION = 8
_DOWN = Context(prec=34, rounding=ROUND_FLOOR)
_UP = Context(prec=34, rounding=ROUND_CEILING)


class Protected(StrEnum):
    """Whom noise protects at its price. The values are read by people."""

    PERSON = "one person at one site"
    UPDATE = "one person at one site, or a whole site's update, which is bounded as one"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNoise:
    """Who adds how much.

    Attributes:
        sites: How many add noise (K).
        tolerated: How many of them may be missing or share what they know (c), counted together.
        noise_multiplier: The priced deviation over the bound on one unit's Euclidean norm, of all that is measured.
    """

    sites: int
    tolerated: int
    noise_multiplier: Parameter

    def __post_init__(self) -> None:
        whole(LEAST_SITES, MOST_SITES, sites=self.sites)
        whole(0, self.sites - 1, tolerated=self.tolerated)
        within(LEAST_NOISE, MOST_NOISE, noise_multiplier=self.noise_multiplier.number)

    def share(self, deviation: Parameter, refined: int = 1) -> Fraction:
        """The variance of one site's noise on a number whose priced deviation is given.

        Args:
            deviation: Of the sum, in whole units.
            refined: How many steps a unit has.
        """
        return (Fraction(deviation.number) * refined) ** 2 / (self.sites - self.tolerated)

    def refinement(self, deviation: Parameter) -> int:
        """How many steps a unit needs: the least power of two that keeps rule 3."""
        steps = 1
        least_share, least_sum = Fraction(LEAST_DEVIATION) ** 2, Fraction(QUANTA_PER_DEVIATION) ** 2
        while self.share(deviation, steps) < least_share or (Fraction(deviation.number) * steps) ** 2 < least_sum:
            steps *= 2
        return steps

    def site_tail(self, deviation: Parameter, refined: int = 1) -> int:
        """What one site's noise is moved to if it lies beyond."""
        return TAIL_DEVIATIONS * _root(self.share(deviation, refined))

    def tail(self, deviation: Parameter, refined: int = 1) -> int:
        """What all sites' noise may come to."""
        return self.sites * self.site_tail(deviation, refined)

    def added(self, multiplier: Parameter, present: int | None = None) -> float:
        """The multiplier of the noise that is really there when so many sites added theirs."""
        count = self.sites if present is None else present
        return float(multiplier.number) * math.sqrt(count / (self.sites - self.tolerated))

    def to_json(self) -> dict[str, Any]:
        """Encode as members of a plan."""
        return {"noise_multiplier": str(self.noise_multiplier), "sites": self.sites, "tolerated": self.tolerated}

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "noise", ("noise_multiplier", "sites", "tolerated"))
        return cls(
            sites=members["sites"],
            tolerated=members["tolerated"],
            noise_multiplier=Parameter.of(text_of(members["noise_multiplier"], "noise_multiplier"), "noise_multiplier"),
        )


def calibrated(epsilon: Epsilon, deltas: Sequence[Delta], sites: int, tolerated: int, count: int = 1) -> SiteNoise:
    """The least noise with which a job alone stays within `epsilon` for the persons of every site.

    Args:
        epsilon: What is asked for, against whoever knows the noise of up to `tolerated` sites, those that are missing
            among them: if d are, against whoever knows that of `tolerated` - d others.
        deltas: Of the sites' populations: the least decides.
        sites: How many add noise.
        tolerated: How many of them may be missing or share what they know, counted together.
        count: How many Gaussians the job composes.

    Raises:
        InvalidError: No amount of noise reaches `epsilon`.
    """
    multiplier = calibrate(gaussian(count), epsilon, min(deltas, key=lambda delta: delta.value))
    return SiteNoise(sites=sites, tolerated=tolerated, noise_multiplier=multiplier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one observer can learn about a person of a site that is not his.

    Attributes:
        observer: Who.
        known: Of how many sites he knows the noise, or can take it off.
        noise_multiplier: Of what is left; nothing if no noise is.
        epsilon: At the given delta, rounded up; nothing if there is no bound.
    """

    observer: str
    known: int
    noise_multiplier: Parameter | None
    epsilon: Epsilon | None

    def to_json(self) -> dict[str, Any]:
        """As quotes and certificates have it."""
        return {
            "epsilon": None if self.epsilon is None else str(self.epsilon),
            "known": self.known,
            "noise_multiplier": None if self.noise_multiplier is None else str(self.noise_multiplier),
            "observer": self.observer,
        }


def observers(noise: SiteNoise, delta: Delta, present: int | None = None, count: int = 1) -> tuple[Observed, ...]:
    """The epsilon of one job against everybody who takes part, and against coalitions.

    Args:
        noise: Who adds how much.
        delta: The population's.
        present: How many sites' uploads were added; all, if not given.
        count: How many Gaussians the job composes: 1, of averaging its rounds.
    """
    added = noise.sites if present is None else whole(LEAST_SITES, noise.sites, present=present)
    seen = [
        ("whoever reads the result", 0),
        ("gateway", 0),
        ("key holder that reads sums alone, as the protocol has it", 0),
        ("one other site", 1),
    ]
    if noise.tolerated > 1:
        seen.append((f"{noise.tolerated} other sites together", min(noise.tolerated, added - 1)))
    seen += [
        # Under a public-key profile it can take all others' ciphertexts off the sum with one of its own.
        ("one hostile site and gateway together", added - 1),
        ("all other sites together", added - 1),
        ("key holder that decrypts single uploads against the protocol", added - 1),
        ("gateway and key holder together", added - 1),
    ]
    return tuple(_observed(noise, delta, name, known, added - known, count) for name, known in seen)


def _observed(noise: SiteNoise, delta: Delta, name: str, known: int, unknown: int, count: int) -> Observed:
    left = Decimal(unknown) / Decimal(noise.sites - noise.tolerated)
    factor = _DOWN.sqrt(left)
    multiplier = _DOWN.quantize(_DOWN.multiply(noise.noise_multiplier.number, factor), NOISE_QUANTUM)
    if multiplier < LEAST_NOISE:
        return Observed(observer=name, known=known, noise_multiplier=None, epsilon=None)
    parameter = Parameter(min(multiplier, MOST_NOISE))
    use = Gaussian(noise_multiplier=parameter, count=count)
    return Observed(
        observer=name, known=known, noise_multiplier=parameter, epsilon=job_epsilon(use, delta=delta).epsilon
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """What is added to numbers of one kind.

    Attributes:
        count: How many numbers, side by side.
        deviation: Of each number's priced noise, in whole units.
        bound: The most that a site's number can be in size, in whole units.
        refined: How many steps a unit has.
    """

    count: int
    deviation: Parameter
    bound: int
    refined: int = 1


def noised(
    numbers: Sequence[int], additions: Sequence[Addition], noise: SiteNoise, entropy: Entropy = os.urandom
) -> list[int]:
    """A site's numbers in steps, each with its share of the noise. At the site only.

    Args:
        numbers: In whole units, within their bounds.
        additions: What is added, in the order of the numbers.
        noise: Who adds how much.
        entropy: Where random bytes come from; the operating system, in production.

    Guarantee: Whatever c sites do, the sum over all is released with the priced noise at least.
    """
    if len(numbers) != sum(one.count for one in additions):
        raise InvalidError("every number has its noise", field="numbers")
    source, found, place = ExactSource(entropy), [], 0
    for one in additions:
        variance = noise.share(one.deviation, one.refined)
        most = one.bound * one.refined + noise.site_tail(one.deviation, one.refined)
        for number, drawn in zip(
            numbers[place : place + one.count], source.gaussians(one.count, variance), strict=True
        ):
            found.append(max(-most, min(most, number * one.refined + drawn)))
        place += one.count
    return found


def units_of(steps: int, refined: int) -> int:
    """A sum in whole units: the nearest, halves away from zero."""
    sign = -1 if steps < 0 else 1
    return sign * ((2 * abs(steps) + refined) // (2 * refined))


def _root(variance: Fraction) -> int:
    """The square root, rounded up."""
    return math.isqrt(variance.numerator // variance.denominator) + 1


def rounded_up(number: Decimal) -> Parameter:
    """A deviation as it is written: never less than it is."""
    return Parameter(_UP.plus(number))
