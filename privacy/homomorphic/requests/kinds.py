"""The kinds of job on data of sites, and which part of a job with noise its opened rounds have used up.

Rules
-----
1. Some kinds are one Gaussian over all their rounds, which the first one pays for; of every other each round is one.
2. Gateway, certificate, verifier and agents ask here, and nowhere else, what so many rounds cost.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from typing import Final

from kernel.checks import whole

LARGEST_ROUND: Final = 10**6


class CollectionKind(StrEnum):
    """What kinds of job on data of sites there are."""

    HE_AGGREGATE = "he.aggregate"
    HE_GLM = "he.glm"
    HE_STATISTICS = "he.statistics"


_ALL_ROUNDS: Final = frozenset({CollectionKind.HE_GLM, CollectionKind.HE_STATISTICS})


def gaussians_after(kind: str, rounds: int) -> int:
    """How many of a job's Gaussians are used up when so many of its rounds were opened."""
    whole(0, LARGEST_ROUND, rounds=rounds)
    return min(rounds, 1) if kind in _ALL_ROUNDS else rounds


def gaussians_by_round(kind: str, rounds: int) -> tuple[int, ...]:
    """How many each round uses up beside those before it."""
    used = [gaussians_after(kind, number) for number in range(rounds + 1)]
    return tuple(after - before for before, after in pairwise(used))
