"""A private choice of a tree: one exponential mechanism for each of its edges, exactly drawn.

Rules
-----
1. Scores are whole numbers and the steepness is a fraction: the distribution is exact, no floating-point effect leaks.
2. A choice takes place p with probability proportional to exp(steepness x score[p]).
3. Every choice is from what the earlier ones leave: pairs of columns that are not yet joined. That is known from what
   was chosen before, so choices compose.

What a choice costs
-------------------
Let one unit move each score by at most d. Between neighbours P and Q the privacy loss L = ln(P/Q) at p is steepness x
(score[p] - score'[p]) less a constant that does not depend on p, so L lies in an interval of length r = 2 x steepness x
d. Let f(a) = ln E_Q[e^(a L)]. Then f(0) = f(1) = 0, and f'' is the variance of L under a tilted Q, at most r^2/4 for
anything within such an interval. So r^2 a (a-1) / 8 - f(a) is convex and 0 at 0 and 1, hence not negative beyond 1, and
the divergence f(a) / (a-1) is at most a r^2/8. A choice is zCDP with rho = r^2/8 = (steepness x d)^2 / 2.

References: Cesar and Rogers 2021 (arXiv 2004.07223) for bounded range and this rho; McKenna, Miklau and Sheldon 2021
(arXiv 2108.04978), MST, for the tree; Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), algorithm 1, for chances of
exactly exp(-x).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

from privacy.evaluation.discrete_gaussian import ExactSource

Pair: TypeAlias = tuple[int, int]
"""Two columns by their numbers, the smaller one first."""


def choose(scores: Sequence[int], steepness: Fraction, source: ExactSource) -> int:
    """A place, with probability proportional to exp(steepness x score).

    By rejection: a place is proposed evenly and kept with probability exp(-steepness x (best - score)). The best place
    is always kept, so that `len(scores)` proposals are enough on average, whatever the scores are.
    """
    best = max(scores)
    while True:
        place = source.below(len(scores))
        if source.bernoulli_exp(steepness * (best - scores[place])):
            return place


def choose_tree(columns: int, scores: Mapping[Pair, int], steepness: Fraction, source: ExactSource) -> tuple[Pair, ...]:
    """A tree that spans all columns, in the order in which its pairs were chosen.

    Args:
        columns: How many.
        scores: For every pair how much a count of it would tell.
        steepness: Of each choice.
        source: Exact draws.
    """
    group = list(range(columns))
    tree: list[Pair] = []
    while len(tree) < columns - 1:
        open_pairs = [pair for pair in sorted(scores) if group[pair[0]] != group[pair[1]]]
        first, second = open_pairs[choose([scores[pair] for pair in open_pairs], steepness, source)]
        tree.append((first, second))
        joined, kept = group[second], group[first]
        group = [kept if number == joined else number for number in group]
    return tuple(tree)


def spans(columns: int, tree: Sequence[Pair]) -> bool:
    """Whether some pairs are a tree that spans all columns."""
    group = list(range(columns))
    for first, second in tree:
        if not 0 <= first < second < columns or group[first] == group[second]:
            return False
        joined, kept = group[second], group[first]
        group = [kept if number == joined else number for number in group]
    return len(tree) == columns - 1
