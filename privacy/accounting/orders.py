"""Integer orders, and the search for the one at which something costs least."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

LEAST_ORDER = 2
HIGHEST_ORDER = 4096
NEAR = 8
"""Where a search for an order starts; any start gives the same answer."""


def lowest(cost: Callable[[int], Decimal], near: int = NEAR, least: int = LEAST_ORDER) -> int:
    """The least costly order from `least` on, where cost falls and then rises: the first whose successor costs no less.

    Args:
        cost: What is to be low.
        near: An order to start from; it changes the time, not the answer.
        least: The first order that is looked at.
    """
    known: dict[int, Decimal] = {}

    def at(order: int) -> Decimal:
        if order not in known:
            known[order] = cost(order)
        return known[order]

    def past(order: int) -> bool:
        return order >= HIGHEST_ORDER or at(order + 1) >= at(order)

    low, high, stride = least - 1, max(near, least), 1
    if past(high):
        while high - stride >= least and past(high - stride):
            high, stride = high - stride, stride * 2
        low = max(low, high - stride)
    else:
        while not past(high):
            low, high, stride = high, min(high + stride, HIGHEST_ORDER), stride * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if past(middle) else (middle, high)
    return high
