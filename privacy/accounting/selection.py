"""The price of a private selection: many tries of one mechanism, of which the best alone is told.

A try is one mechanism: it draws a candidate at random, runs it, scores the result, and its output is result and score
together. K tries are made, K drawn from `Tries`; the one with the best score leaves, of equals any; K does not leave.

Two bounds hold at every order, and the smaller one is the price (RULES 16).

By composition
--------------
Whoever saw K and all tries would see a mixture over K of k composed tries, and K is the same for neighbours. With R(a)
the divergence of one try, E[ratio^(a-1)] is at most sum P(K = k) e^((a-1) k R(a)), so the price is
ln E[e^((a-1) R(a) K)] / (a-1). It is never above `most` times R(a), and near E[K] R(a) while that is small.

By selection
------------
Let f(x) = sum P(K = k) x^k. Order results by score, ties by a fresh random number; let F(y) be the probability that a
try ranks at most y. The selection gives y with density f'(F(y)) relative to the try's own: some try is y, all others
rank below. Write q = F(y) and q' for the same under the neighbour: the probability of one and the same event. Then

    E[ratio^(a-1)] <= e^((a-1) R(a)) sup f'(q)^a f'(q')^(1-a),
    f'(q)^a f'(q')^(1-a) = f'(q) (f'(q) / f'(q'))^(a-1) <= E[K] max(1, f'(q) / f'(q'))^(a-1),

because f' rises and f'(1) = E[K]. Let q > q', else the maximum is 1. f' has the first terms, up to x^(most-1), of the
power series of h(x) = (1 - (1-g) x)^-(1+s) with g = gamma and s = shape, up to a factor. d ln f' / d ln x is the mean
of the power under weights c_j x^j; leaving out the largest powers lowers a mean. So ln f' rises more slowly than ln h
and

    f'(q) / f'(q') <= h(q) / h(q') = (t' / t)^(1+s),   t = 1 - (1-g) q = g + (1-g) (1-q) >= g,

t being the probability of an event again: a coin of chance g falls well, or a try ranks above y. At any order b, the
other way round, t'^b t^(1-b) <= e^((b-1) R(b)), so t'/t <= (e^((b-1) R(b)) / t)^(1/b), and t >= g gives

    price = R(a) + ln E[K] / (a-1) + (1+s) min over b of ((b-1) R(b) + ln(1/g)) / b.

A divergence never falls with the order, so the first two terms may be taken at any order above a instead.

This is theorem 2 of Papernot and Steinke 2022 (arXiv 2110.03620), with their lemma 7 for the first step, for a K that
is cut off at `most`: what is cut off only helps. Candidates that are drawn at random, independently of the data, are
part of the try: its divergence is at most the largest of any candidate's, and the declared mechanism is that of each.

Why the searches find the best order: (b-1) R(b) is convex in b, and a convex function plus a constant, over b or over
a - 1, falls and then rises. A worse order would give a larger price that is as true.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias

from privacy.accounting.orders import NEAR, lowest
from privacy.accounting.tries import Tries

OneTry: TypeAlias = Callable[[int], Decimal]
"""An upper bound on the divergence of one try, by order."""

_NONE: Final = Decimal("Infinity")


class Way(StrEnum):
    """How a selection is priced; `cheaper` is the smaller of the two bounds, and the price."""

    CHEAPER = "cheaper"
    COMPOSITION = "composition"
    SELECTION = "selection"


def selection_price(tries: Tries, one: OneTry, order: int, way: Way) -> Decimal:
    """The divergence of one selection at `order`, in the caller's decimal context.

    Raises:
        decimal.DecimalException: It is too large to be computed.
    """
    match way:
        case Way.COMPOSITION:
            return composed(tries, one, order)
        case Way.SELECTION:
            return selected(tries, one, order)
        case Way.CHEAPER:
            return min(composed(tries, one, order), selected(tries, one, order))


def composed(tries: Tries, one: OneTry, order: int) -> Decimal:
    """The bound by composition."""
    return tries.log_moment((order - 1) * one(order)) / (order - 1)


def selected(tries: Tries, one: OneTry, order: int) -> Decimal:
    """The bound by selection; infinite if no order gives one."""
    known: dict[int, Decimal] = {}

    def at(b: int) -> Decimal:
        if b not in known:
            known[b] = _unless_too_large(one, b)
        return known[b]

    mean, spread = tries.mean, -tries.gamma.number.ln()
    more = (Decimal(mean.numerator) / Decimal(mean.denominator)).ln()

    def ranked(b: int) -> Decimal:
        return ((b - 1) * at(b) + spread) / b

    def first(a: int) -> Decimal:
        return at(a) + more / (a - 1)

    best, start = lowest(ranked, NEAR), lowest(first, order, least=order)
    return first(start) + (1 + tries.shape.number) * ranked(best)


def _unless_too_large(one: OneTry, order: int) -> Decimal:
    try:
        return one(order)
    except decimal.Overflow:
        return _NONE
