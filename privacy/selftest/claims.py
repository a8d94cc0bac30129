"""What a plan says about its mechanism, as the self-test needs it."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.checks import positive, probability
from privacy.jobs.plan import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Declared constants; none was counted.

    Attributes:
        noise: Standard deviation of the noise on the sum of gradients, in units of the step's clip.
        rate: The probability with which a unit enters a step.
        normaliser: What a noisy sum is divided by.
    """

    noise: float
    rate: float
    normaliser: float

    def __post_init__(self) -> None:
        positive(noise=self.noise)
        probability(rate=self.rate)
        positive(normaliser=self.normaliser)

    @classmethod
    def of(cls, plan: TrainingPlan) -> Claims:
        """Read them from a plan."""
        return cls(
            noise=float(plan.gradient_noise),
            rate=float(plan.recipe.sampling_rate.number),
            normaliser=float(plan.normaliser.number),
        )
