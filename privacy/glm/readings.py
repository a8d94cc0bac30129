"""Noisy integers back to sums, step by step: the one account of a run that child, verifier and reader share. Pure.

Rules
-----
1. A step's settings are recomputed from the integers before it; nothing else is stored.
2. Integers are in units of bound / (GRID x MARGIN), the bound being that of the step's settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from privacy.glm.course import Settings, Start, Step, first_settings, next_settings
from privacy.glm.design import Design
from privacy.glm.places import most
from privacy.glm.schedule import GRID, MARGIN, Measurement, Statistic, schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was measured so far.

    Attributes:
        design: The model.
        multipliers: Noise multiplier of each measurement, by name.
        numbers: Noisy integers of each measurement so far, by name.
    """

    design: Design
    multipliers: Mapping[str, float]
    numbers: Mapping[str, Sequence[int]]

    @property
    def outcomes(self) -> list[float]:
        """The outcome's noisy histogram, in units of people."""
        return [number / (GRID * MARGIN) for number in self.numbers[f"0.{Statistic.OUTCOMES}"]]

    @property
    def start(self) -> Start:
        """What the first counts say."""
        name, scale = f"0.{Statistic.PLACES}", most(self.design) / MARGIN
        counts = [number * scale / GRID for number in self.numbers[name]]
        return Start.of(self.design, self.outcomes, counts, self.multipliers[name] * scale)

    def settings(self, step: int) -> Settings:
        """Where a step stands."""
        return self._settings(self.steps(step - 1))

    def steps(self, upto: int) -> list[Step]:
        """The steps from the first to this one, with their sums."""
        steps: list[Step] = []
        for number in range(1, upto + 1):
            steps.append(self._read(number, self._settings(steps)))
        return steps

    def _settings(self, steps: Sequence[Step]) -> Settings:
        if not steps:
            return first_settings(self.design, self.start)
        return next_settings(self.design, self.start, steps)

    def _read(self, number: int, settings: Settings) -> Step:
        bounds, of_step = settings.bounds(self.design), [one for one in schedule(self.design) if one.step == number]
        return Step(
            settings=settings,
            sums={one.statistic: self._sums(one, bounds[one.statistic]) for one in of_step},
            sigmas={one.statistic: self.multipliers[one.name] * bounds[one.statistic] / MARGIN for one in of_step},
        )

    def _sums(self, one: Measurement, bound: float) -> list[float]:
        return [number * bound / (GRID * MARGIN) for number in self.numbers[one.name]]
