"""A witness for tests of the run: it holds a few canaries that always belong, and keeps what it is shown."""

from __future__ import annotations

from typing import Any

import numpy as np


class Onlooker:
    """Keeps copies of everything that a run shows its witness."""

    def __init__(self, units: int = 4) -> None:
        self.units = self.coordinates = units
        self.noise: list[Any] = []
        self.dead: list[Any] = []
        self.drawn: list[Any] = []

    def moves(self, canaries: Any) -> Any:
        """Every canary that is drawn moves its own coordinate by one clip."""
        added = np.zeros(self.coordinates)
        added[canaries] = 1.0
        return added

    def hear(self, noise: Any, start: int, size: int) -> None:
        """Keep it."""
        if start == 0:
            self.noise.append(np.full(size, np.nan))
        self.noise[-1][start : start + len(noise)] = noise

    def observe(self, *, dead: Any, canaries: Any) -> None:
        """Keep it."""
        self.dead.append(dead.copy())
        self.drawn.append(canaries.copy())
