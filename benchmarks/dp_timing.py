"""Rates per second of processor time, by contestants that take turns in one process.

Rules
-----
1. What counts is the processor time of the whole process, user and system, all its threads: whoever works ahead on
   another thread pays for it here.
2. Windows of all contestants alternate, each round in another order; a ratio is taken within a round, and the median
   over rounds is reported.
3. Before the first round each contestant has warmed up and has found how many steps fill a window.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

LEAST_ROUNDS = 5

Steps: TypeAlias = Callable[[int], None]
"""Takes that many steps, each on one logical batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast one contestant was.

    Attributes:
        samples_per_s: Median over rounds.
        slowdown: Median over rounds of the baseline's rate over this one's, in the same round.
    """

    samples_per_s: float
    slowdown: float


def take_turns(contestants: Mapping[str, Steps], batch: int, window: float, rounds: int) -> dict[str, list[float]]:
    """Measure every contestant once a round.

    Args:
        contestants: By name.
        batch: Samples in a step.
        window: Seconds of processor time that a measurement lasts at least.
        rounds: How many measurements of each.

    Returns:
        Samples per second of processor time, round by round.
    """
    if rounds < LEAST_ROUNDS:
        raise ValueError(f"a median needs at least {LEAST_ROUNDS} rounds")
    counts = {name: steps_for(steps, window) for name, steps in contestants.items()}
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        for name in turned(names, number):
            rates[name].append(batch * counts[name] / processor_seconds(contestants[name], counts[name]))
    return rates


def rated(rates: Mapping[str, Sequence[float]], baseline: str) -> dict[str, Rate]:
    """Medians of the rates, and of their ratios to the baseline round by round."""
    below = rates[baseline]
    return {
        name: Rate(
            samples_per_s=statistics.median(found),
            slowdown=statistics.median(plain / this for plain, this in zip(below, found, strict=True)),
        )
        for name, found in rates.items()
    }


def turned(names: Sequence[str], number: int) -> list[str]:
    """The order of round `number`: in pairs of rounds, there and back, each pair starting with another one."""
    start = number // 2 % len(names)
    order = [*names[start:], *names[:start]]
    return order[::-1] if number % 2 else order


def steps_for(steps: Steps, window: float) -> int:
    """Warm up; how many steps last at least `window` seconds of processor time."""
    steps(1)
    count = 1
    while True:
        took = processor_seconds(steps, count)
        if took >= window / 4:
            return max(1, -int(-window * count // took))
        count *= 4


def processor_seconds(steps: Steps, count: int) -> float:
    """User and system time of all threads of this process."""
    start = time.process_time()
    steps(count)
    return time.process_time() - start
