"""Noise of a result of several sites: who adds how much. Pure, standard library only.

Rules
-----
1. By the sites: of K sites up to c may be missing or share what they know. Each site adds discrete Gaussian noise of
   the variance sigma^2 / (K - c) before it encrypts, so that what is left without c of them is sigma^2: the deviation
   that is priced (RULES 35).
2. By gateway and key holder: each adds sigma^2 by itself, the gateway on ciphertexts, the key holder after it decrypted
   and before anything leaves it. What either knows does not count for him, and the other's is the priced deviation.
3. Numbers are refined until each adder's deviation is at least LEAST_DEVIATION steps and the sum's at least
   QUANTA_PER_DEVIATION (RULES 38), so that a sum of discrete Gaussians is worth what one of them is: see below.
4. A site's noised number beyond its bound and 12 deviations is moved back to there, which no sum then exceeds. Only
   the noised number is looked at, so that the site's own share loses nothing; where others' shares count as well, each
   of their numbers is moved with a chance below 2^-107, which is not added to delta. The gateway's noise is never
   moved: it is added modulo the plain modulus, whatever it is.
5. Where the gateway adds, every deviation is wider by sqrt(1 + HIDING): that pays for the little that a sum's errors
   tell who decrypts it (`flooding`).

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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, Self

from kernel.amounts import Delta, Epsilon
from kernel.checks import whole, within
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import Entropy
from privacy.accounting.calibration import calibrate, gaussian
from privacy.accounting.mechanisms import LEAST_NOISE, MOST_NOISE
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.homomorphic.documents.order import Aggregation, aggregation_of
from privacy.homomorphic.layout import QUANTA_PER_DEVIATION, TAIL_DEVIATIONS
from privacy.jobs.strict import members_of, one_of, text_of

LEAST_SITES, MOST_SITES = 3, 1000
LEAST_DEVIATION = 8
HIDING = Fraction(1, 2**20)
"""By what part the variance is larger where the gateway adds."""
_DOWN = Context(prec=34, rounding=ROUND_FLOOR)


class Protected(StrEnum):
    """Whom noise protects at its price. The values are read by people."""

    PERSON = "one person at one site"
    UPDATE = "one person at one site, or a whole site's update, which is bounded as one"


class NoiseBy(StrEnum):
    """Who adds noise: every site its share, or gateway and key holder each all of it."""

    SITES = "sites"
    GATEWAY_AND_KEY_HOLDER = "gateway-and-key-holder"


SAYS: Final[Mapping[NoiseBy, str]] = {
    NoiseBy.SITES: "noised: every site added its share of the noise before it encrypted",
    NoiseBy.GATEWAY_AND_KEY_HOLDER: "noised: gateway and key holder each added all of the noise",
}
"""What a released file says of its noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteNoise:
    """Who adds how much to what sites give.

    Attributes:
        sites: How many sites there are (K).
        tolerated: How many of them may be missing or share what they know (c), counted together; 0 where they add none.
        noise_multiplier: The priced deviation over the bound on one unit's Euclidean norm, of all that is measured.
        by: Who adds it.
        aggregation: Who adds the uploads.
    """

    sites: int
    tolerated: int
    noise_multiplier: Parameter
    by: NoiseBy = NoiseBy.SITES
    aggregation: Aggregation = Aggregation.KEY_HOLDER

    def __post_init__(self) -> None:
        whole(LEAST_SITES, MOST_SITES, sites=self.sites)
        whole(0, 0 if self.by_two else self.sites - 1, tolerated=self.tolerated)
        within(LEAST_NOISE, MOST_NOISE, noise_multiplier=self.noise_multiplier.number)
        if self.by_two and self.aggregation is not Aggregation.GATEWAY:
            raise InvalidError("a gateway that adds noise adds the uploads as well", field="by")

    @property
    def by_two(self) -> bool:
        """Whether gateway and key holder add it, and the sites none."""
        return self.by is NoiseBy.GATEWAY_AND_KEY_HOLDER

    @property
    def adders(self) -> int:
        """How many add noise."""
        return 2 if self.by_two else self.sites

    def share(self, deviation: Parameter, refined: int = 1) -> Fraction:
        """The variance of one adder's noise on a number whose priced deviation is given.

        Args:
            deviation: Of the sum, in whole units.
            refined: How many steps a unit has.
        """
        wider = 1 + HIDING if self.aggregation is Aggregation.GATEWAY else Fraction(1)
        left = 1 if self.by_two else self.sites - self.tolerated
        return wider * (Fraction(deviation.number) * refined) ** 2 / left

    def refinement(self, deviation: Parameter) -> int:
        """How many steps a unit needs: the least power of two that keeps rule 3."""
        steps = 1
        least_share, least_sum = Fraction(LEAST_DEVIATION) ** 2, Fraction(QUANTA_PER_DEVIATION) ** 2
        while self.share(deviation, steps) < least_share or (Fraction(deviation.number) * steps) ** 2 < least_sum:
            steps *= 2
        return steps

    def adder_tail(self, deviation: Parameter, refined: int = 1) -> int:
        """What one adder's noise comes to at most; a site's is moved to there if it lies beyond."""
        return TAIL_DEVIATIONS * _root(self.share(deviation, refined))

    def tail(self, deviation: Parameter, refined: int = 1) -> int:
        """What all noise may come to."""
        return self.adders * self.adder_tail(deviation, refined)

    def excess(self, present: int | None = None) -> Fraction:
        """How many times the priced variance is really there, when so many sites gave theirs."""
        if self.by_two:
            return Fraction(2)
        return Fraction(self.sites if present is None else present, self.sites - self.tolerated)

    def added(self, multiplier: Parameter, present: int | None = None) -> float:
        """The multiplier of the noise that is really there when so many sites gave theirs."""
        return float(multiplier.number) * math.sqrt(self.excess(present))

    def to_json(self) -> dict[str, Any]:
        """Encode as members of a plan; who adds is named where it is not the usual one."""
        body = {"noise_multiplier": str(self.noise_multiplier), "sites": self.sites, "tolerated": self.tolerated}
        if self.aggregation is Aggregation.GATEWAY:
            body |= {"aggregation": self.aggregation.value, "by": self.by.value}
        return body

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "noise", ("noise_multiplier", "sites", "tolerated"), ("aggregation", "by"))
        made = cls(
            sites=members["sites"],
            tolerated=members["tolerated"],
            noise_multiplier=Parameter.of(text_of(members["noise_multiplier"], "noise_multiplier"), "noise_multiplier"),
            by=one_of(NoiseBy, members.get("by", NoiseBy.SITES.value), "by"),
            aggregation=aggregation_of(members),
        )
        if set(made.to_json()) != set(members):
            raise InvalidError("who adds noise is written where the gateway adds the uploads", field="by")
        return made


def calibrated(
    epsilon: Epsilon,
    deltas: Sequence[Delta],
    sites: int,
    tolerated: int,
    count: int = 1,
    by: NoiseBy = NoiseBy.SITES,
    aggregation: Aggregation = Aggregation.KEY_HOLDER,
) -> SiteNoise:
    """The least noise with which a job alone stays within `epsilon` for the persons of every site.

    Args:
        epsilon: What is asked for, against whoever knows the noise of up to `tolerated` sites, those that are missing
            among them: if d are, against whoever knows that of `tolerated` - d others.
        deltas: Of the sites' populations: the least decides.
        sites: How many add noise.
        tolerated: How many of them may be missing or share what they know, counted together.
        count: How many Gaussians the job composes.
        by: Who adds noise.
        aggregation: Who adds the uploads.

    Raises:
        InvalidError: No amount of noise reaches `epsilon`.
    """
    multiplier = calibrate(gaussian(count), epsilon, min(deltas, key=lambda delta: delta.value))
    return SiteNoise(sites=sites, tolerated=tolerated, noise_multiplier=multiplier, by=by, aggregation=aggregation)


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
    """A site's numbers in steps, each with its share of the noise, if sites add it. At the site only.

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
        own, most = numbers[place : place + one.count], one.bound * one.refined
        added: Iterable[int] = [0] * one.count
        if not noise.by_two:
            added = source.gaussians(one.count, noise.share(one.deviation, one.refined))
            most += noise.adder_tail(one.deviation, one.refined)
        for number, more in zip(own, added, strict=True):
            found.append(max(-most, min(most, number * one.refined + more)))
        place += one.count
    return found


def variances(additions: Sequence[Addition], noise: SiteNoise) -> list[tuple[int, Fraction]]:
    """Of how many numbers, side by side, gateway and key holder each draw noise, in steps, and of which variance."""
    return [(one.count, noise.share(one.deviation, one.refined)) for one in additions]


def drawn(parts: Sequence[tuple[int, Fraction]], values: int, entropy: Entropy = os.urandom) -> list[int]:
    """Full noise for a sum of so many values: independent discrete Gaussians; none where nothing is measured.

    Args:
        parts: From `variances`, in the order of the numbers.
        values: How many there are; those beyond the parts are zero at every site.
        entropy: Where random bytes come from; the operating system, in production.
    """
    source = ExactSource(entropy)
    found = [one for count, variance in parts for one in source.gaussians(count, variance)]
    if len(found) > values:
        raise InvalidError("more noise than there are numbers", field="numbers")
    return found + [0] * (values - len(found))


def with_noise(sums: Sequence[int], own: Sequence[int], most: int) -> list[int]:
    """Decrypted sums with the key holder's noise on top; beyond what any sum can be, moved back to there."""
    return [max(-most, min(most, one + added)) for one, added in zip(sums, own, strict=True)]


def units_of(steps: int, refined: int) -> int:
    """A sum in whole units: the nearest, halves away from zero."""
    sign = -1 if steps < 0 else 1
    return sign * ((2 * abs(steps) + refined) // (2 * refined))


def _root(variance: Fraction) -> int:
    """The square root, rounded up."""
    return math.isqrt(variance.numerator // variance.denominator) + 1
