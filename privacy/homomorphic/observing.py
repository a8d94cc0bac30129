"""What noise is worth against whom: every observer, and those who put together what they know (RULES 35). Pure.

Rules
-----
1. Noise that an observer knows, or can take off, does not count for him. What is left of it is what epsilon is of.
2. Where the key holder adds the uploads, it holds each of them: that it reads sums alone is its protocol. Where the
   gateway adds them, it holds none; then a gateway that lies can have one site's numbers decrypted as if they were the
   sum, and read the result. Of sites' noise that leaves this site's own share. Of noise by gateway and key holder it
   leaves nothing: what is handed over can be many times the site's numbers, beside which the key holder's noise is
   small.
3. Where gateway and key holder add the noise, no other site knows any of it; the two together know all of it. A site
   that uploads a number beyond its bound sees whether the job fails, or a result that jumped, by a sum that the key
   holder's noise is not in yet: the gateway's alone counts against sites.
4. Names are closed: certificates carry them, and the verifier makes them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any, Final

from kernel.amounts import Delta, Epsilon
from kernel.checks import whole
from kernel.events import Parameter
from privacy.accounting.calibration import NOISE_QUANTUM
from privacy.accounting.mechanisms import LEAST_NOISE, MOST_NOISE, Gaussian
from privacy.accounting.rdp import job_epsilon
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.noise import LEAST_SITES, SiteNoise

_DOWN = Context(prec=34, rounding=ROUND_FLOOR)
TOGETHER: Final = "gateway and key holder together"
KEY_HOLDER: Final[Mapping[Aggregation, str]] = {
    Aggregation.KEY_HOLDER: "key holder that reads sums alone, as the protocol has it",
    Aggregation.GATEWAY: "key holder",
}
AGAINST_THE_PROTOCOL: Final[Mapping[Aggregation, str]] = {
    Aggregation.KEY_HOLDER: "key holder that decrypts single uploads against the protocol",
    Aggregation.GATEWAY: "gateway that lies about the sum",
}
_OF_TWO: Final = (
    ("whoever reads the result", 0),
    ("gateway", 1),
    ("key holder", 1),
    ("one other site", 1),
    ("all other sites together", 1),
    ("key holder and all other sites together", 1),
    ("gateway that lies about the sum", 2),
    ("one hostile site and gateway together", 2),
    (TOGETHER, 2),
)
"""Where both add all of it: whose noise each knows, of the two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one observer can learn about a person of a site that is not his.

    Attributes:
        observer: Who.
        known: Of how many of those who add noise he knows it, or can take it off.
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
    if noise.by_two:
        return tuple(_observed(noise, delta, name, known, 2 - known, count) for name, known in _OF_TWO)
    seen = [("whoever reads the result", 0), ("gateway", 0), (KEY_HOLDER[noise.aggregation], 0), ("one other site", 1)]
    if noise.tolerated > 1:
        seen.append((f"{noise.tolerated} other sites together", min(noise.tolerated, added - 1)))
    seen += [
        # Under a public-key profile it can take all others' ciphertexts off the sum with one of its own.
        ("one hostile site and gateway together", added - 1),
        ("all other sites together", added - 1),
        (AGAINST_THE_PROTOCOL[noise.aggregation], added - 1),
        (TOGETHER, added - 1),
    ]
    return tuple(_observed(noise, delta, name, known, added - known, count) for name, known in seen)


def _observed(noise: SiteNoise, delta: Delta, name: str, known: int, unknown: int, count: int) -> Observed:
    left = Decimal(unknown) / Decimal(1 if noise.by_two else noise.sites - noise.tolerated)
    factor = _DOWN.sqrt(left)
    multiplier = _DOWN.quantize(_DOWN.multiply(noise.noise_multiplier.number, factor), NOISE_QUANTUM)
    if multiplier < LEAST_NOISE:
        return Observed(observer=name, known=known, noise_multiplier=None, epsilon=None)
    parameter = Parameter(min(multiplier, MOST_NOISE))
    use = Gaussian(noise_multiplier=parameter, count=count)
    return Observed(
        observer=name, known=known, noise_multiplier=parameter, epsilon=job_epsilon(use, delta=delta).epsilon
    )
