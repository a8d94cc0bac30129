"""Shapley values of rows against a background: exactly, or by walks that exchange players one by one. Needs numpy.

Rules
-----
1. A player who is out has the background row's numbers; the value of a coalition is the mean over the background.
2. However few walks there are, the values of a row add up to its score less the background's mean score: each walk
   goes from a background row to the row, and every background row is walked from equally often.
3. Walks come in pairs, there and back in the same order, which halves the chance's part for what is nearly additive.

Reference: Strumbelj and Kononenko 2014; Lundberg and Lee 2017, interventional values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privgate.explain.players import Players

Floats = NDArray[np.float64]
Function = Callable[[Floats], Floats]
"""[n, width] -> [n]: the score that is explained."""

MOST_EXACT = 12
_NUMBERS_AT_ONCE = 2**22


def exactly(score: Function, row: Floats, background: Floats, players: Players) -> Floats:
    """The values of one row, from all coalitions: 2^players times as many scores as the background has rows."""
    count = len(players.names)
    coalitions = (np.arange(2**count)[:, None] >> np.arange(count)) & 1 == 1
    worth = np.array([_worth(score, row, background, inside[players.owner]) for inside in coalitions])
    sizes = coalitions.sum(axis=1)
    values = np.empty(count)
    for player in range(count):
        without = np.flatnonzero(~coalitions[:, player])
        shares = np.array([1 / (count * math.comb(count - 1, int(size))) for size in sizes[without]])
        values[player] = (shares * (worth[without + 2**player] - worth[without])).sum()
    return values


def _worth(score: Function, row: Floats, background: Floats, inside: NDArray[np.bool_]) -> float:
    return float(score(np.where(inside, row, background)).mean())


def by_walks(
    score: Function, row: Floats, background: Floats, players: Players, pairs: int, draw: np.random.Generator
) -> tuple[Floats, Floats]:
    """The values of one row, from `pairs` pairs of walks for each background row.

    Returns:
        The values, and the standard error that the choice of orders leaves in each.
    """
    count = len(players.names)
    at_once = max(1, _NUMBERS_AT_ONCE // ((count + 1) * len(row)))
    starts = np.repeat(np.arange(len(background)), pairs)
    orders = np.argsort(draw.random((len(starts), count)), axis=1)
    found = np.empty((len(starts), count))
    for first in range(0, len(starts), at_once):
        part = slice(first, first + at_once)
        there = _walked(score, row, background[starts[part]], players, orders[part])
        back = _walked(score, row, background[starts[part]], players, orders[part, ::-1])
        found[part] = (there + back) / 2
    # Within a background row: between them values differ by more than chance.
    by_start = found.reshape(len(background), pairs, count)
    error = np.sqrt(by_start.var(axis=1, ddof=1).mean(axis=0) / len(found))
    return found.mean(axis=0), error


def _walked(score: Function, row: Floats, starts: Floats, players: Players, orders: NDArray[Any]) -> Floats:
    """What each player adds when it comes in, for each walk: [walks, players]."""
    walks, count = orders.shape
    rank = np.empty_like(orders)
    np.put_along_axis(rank, orders, np.broadcast_to(np.arange(count), orders.shape), axis=1)
    inside = rank[:, None, players.owner] < np.arange(count + 1)[None, :, None]
    rows = np.where(inside, row, starts[:, None, :])
    steps = np.diff(score(rows.reshape(walks * (count + 1), -1)).reshape(walks, count + 1), axis=1)
    added = np.empty((walks, count))
    np.put_along_axis(added, orders, steps, axis=1)
    return added
