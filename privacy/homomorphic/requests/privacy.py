"""What a noised result of several sites is asked to be worth, and who is to add the noise. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kernel.amounts import Delta, Epsilon
from kernel.checks import whole
from kernel.errors import InvalidError
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.noise import NoiseBy, SiteNoise, calibrated
from privacy.jobs.strict import one_of, text_of

MOST_SITES: Final = 16
"""Each has an owner who approves, and all approvals are facts of every decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What a noised result is asked to be worth.

    Attributes:
        epsilon, delta: Of the job alone.
        tolerated: How many sites may be missing or share what they know; 0 where they add no noise.
        by: Who adds the noise; the final form names who is not the sites.
    """

    epsilon: Epsilon
    delta: Delta
    tolerated: int
    by: NoiseBy = NoiseBy.SITES

    def __post_init__(self) -> None:
        if self.by is not NoiseBy.SITES and self.tolerated:
            raise InvalidError("`tolerated` is of noise by sites: here it is 0", field="tolerated")

    def noise(self, sites: int, gaussians: int, aggregation: Aggregation = Aggregation.KEY_HOLDER) -> SiteNoise:
        """The least noise that keeps it; raise `InvalidError` if none does."""
        return calibrated(self.epsilon, [self.delta], sites, self.tolerated, gaussians, self.by, aggregation)

    def to_json(self) -> dict[str, Any]:
        """Encode as members of the final form."""
        body = {"delta": str(self.delta), "epsilon": str(self.epsilon), "tolerated": self.tolerated}
        return body if self.by is NoiseBy.SITES else {**body, "noise_by": self.by.value}

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Privacy:
        """Read the final form's members."""
        return cls(
            epsilon=Epsilon.parse(text_of(members["epsilon"], "epsilon")),
            delta=Delta.parse(text_of(members["delta"], "delta")),
            tolerated=whole(0, MOST_SITES - 1, tolerated=members["tolerated"]),
            by=one_of(NoiseBy, members.get("noise_by", NoiseBy.SITES.value), "noise_by"),
        )
