"""Places of sampled units: a uniform injection, so that everybody else can be coupled to the very same places."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from privacy.jobs.plan import Performance
from privacy.training import slots
from privacy.training.rows import Rows
from privacy.training.slots import EMPTY, micro_batches, placed
from privacy.training.stream import NoiseStream
from privacy.training.units import UnitTable

ALARM = 1e-6
CUT = Performance(units_at_once=3, least_micro_batches=2)


def _drawn(members: list[int], times: int, stream: NoiseStream) -> Counter[tuple[int, ...]]:
    chosen = np.array(members, dtype=np.int64)
    return Counter(tuple(placed(chosen, CUT, stream).ravel().tolist()) for _ in range(times))


def test_every_injection_is_equally_likely() -> None:
    """Three units into six places: all 120 ways, chi-square."""
    found = _drawn([7, 8, 9], 30_000, NoiseStream())
    assert len(found) == math.perm(6, 3)
    assert stats.chisquare(list(found.values())).pvalue > ALARM


def test_without_one_unit_the_others_lie_as_before() -> None:
    """The coupling: forget unit 9 where it takes part, and the others' places have the distribution without it.

    Two-sample chi-square over all 30 placements of the other two; the same test refuses places in rising order.
    """
    stream = NoiseStream()
    with_it = Counter[tuple[int, ...]]()
    for places, times in _drawn([7, 8, 9], 30_000, stream).items():
        with_it[tuple(EMPTY if place == 9 else place for place in places)] += times
    without = _drawn([7, 8], 30_000, stream)
    ways = [tuple(_lying(a, b)) for a, b in itertools.permutations(range(6), 2)]
    assert set(with_it) == set(without) == set(ways)
    table = [[counts[way] for way in ways] for counts in (with_it, without)]
    assert stats.chi2_contingency(table).pvalue > ALARM
    packed = [[0 if way[0] == EMPTY else counts[way] for way in ways] for counts in (with_it, without)]
    assert stats.chi2_contingency([table[0], np.add(packed[1], 1)]).pvalue < ALARM


def _lying(a: int, b: int) -> list[int]:
    places = [EMPTY] * 6
    places[a], places[b] = 7, 8
    return places


@pytest.mark.parametrize(("sampled", "expected"), [(0, 2), (1, 2), (6, 2), (7, 4), (12, 4), (13, 6)])
def test_the_shape_is_fixed_and_grows_by_whole_multiples(sampled: int, expected: int) -> None:
    """Nobody is lost, nobody lies twice, whatever the size of the sample."""
    places = placed(np.arange(sampled, dtype=np.int64), CUT, NoiseStream())
    assert places.shape == (expected, 3)
    assert micro_batches(sampled, CUT) == expected
    assert sorted(places[places != EMPTY].tolist()) == list(range(sampled))


def test_places_are_drawn_anew() -> None:
    """Two steps on the same sample do not lie alike."""
    stream, chosen = NoiseStream(), np.arange(500)
    cut = Performance(units_at_once=600, least_micro_batches=1)
    one, two = placed(chosen, cut, stream), placed(chosen, cut, stream)
    assert (one == two).mean() < 0.2


@pytest.mark.parametrize("packed", [2**20, 4])
def test_equal_keys_are_drawn_again(monkeypatch: pytest.MonkeyPatch, packed: int) -> None:
    """No order follows from the places' numbers: where two random keys are equal, the whole step's are drawn anew."""
    monkeypatch.setattr(slots, "_PACKED", packed)
    draws = [[5, 1, 2, 3, 1, 4], [2, 0, 5, 1, 4, 3]]

    class Script:
        def words(self, count: int) -> Any:
            return np.array(draws.pop(0), dtype=np.uint64)[:count] << np.uint64(40)

    found: Any = placed(np.arange(10, 16), CUT, cast("NoiseStream", Script()))
    assert not draws
    assert found.ravel().tolist() == [12, 10, 15, 11, 14, 13]


def test_the_longer_way_is_uniform_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """For so many places that a number does not fit beside its key."""
    monkeypatch.setattr(slots, "_PACKED", 4)
    found = _drawn([7, 8, 9], 12_000, NoiseStream())
    assert stats.chisquare(list(found.values())).pvalue > ALARM


# --- gathering -------------------------------------------------------------------------------------------------------


def _rows(count: int, dead: tuple[int, ...] = ()) -> Rows:
    features = np.arange(2 * count, dtype=np.float32).reshape(count, 2) + 1
    alive = np.ones(count, dtype=np.bool_)
    alive[list(dead)] = False
    features[list(dead)] = 0
    return Rows(features=features, targets=features[:, 0].copy(), alive=alive)


def test_records_are_gathered_in_the_order_of_their_places() -> None:
    """Empty places and dead rows are zeros that do not count."""
    batch = UnitTable.of_records(_rows(5, dead=(3,))).gather(np.array([4, EMPTY, 0, 3, EMPTY]))
    assert batch.features[:, 0].tolist() == [[9, 10], [0, 0], [1, 2], [0, 0], [0, 0]]
    assert batch.targets[:, 0].tolist() == [9, 0, 1, 0, 0]
    assert batch.counts[:, 0].tolist() == [True, False, True, False, False]


def test_units_of_several_rows_are_gathered_with_their_first_rows() -> None:
    """At most `rows_per_unit` of each; a unit with fewer rows, and an empty place, are filled up with zeros."""
    table = UnitTable.by_unit(_rows(6), np.array([0, 1, 1, 1, 2, 0]), 2)
    batch = table.gather(np.array([EMPTY, 1, 2, 0]))
    assert batch.targets.tolist() == [[0, 0], [3, 5], [9, 0], [1, 11]]
    assert batch.counts.tolist() == [[False, False], [True, True], [True, False], [True, True]]


@pytest.mark.parametrize("each", [1, 3])
def test_nobody_gives_empty_places(each: int) -> None:
    """A table without rows gives micro-batches of the same shape."""
    table = UnitTable.by_unit(_rows(0), np.zeros(0, dtype=np.int64), each)
    batch = table.gather(np.full(4, EMPTY), 4)
    assert batch.features.shape == (4, each, 2)
    assert not batch.counts.any()
    assert not batch.features.any()


def test_a_gathered_batch_is_a_copy() -> None:
    """What is done to it does not reach the rows."""
    table = UnitTable.of_records(_rows(3))
    table.gather(np.arange(3)).features[:] = 0
    assert table.rows.features.all()


def test_a_batch_that_is_written_over_holds_nothing_of_before() -> None:
    """Its memory is used again, where the shape is the same; empty places are cleared."""
    table = UnitTable.of_records(_rows(5))
    before = table.gather(np.arange(3))
    batch = table.gather(np.array([EMPTY, 4, EMPTY]), 3, before)
    assert batch.features is before.features
    assert batch.targets[:, 0].tolist() == [0, 9, 0]
    assert batch.features[:, 0].tolist() == [[0, 0], [9, 10], [0, 0]]
    assert batch.counts[:, 0].tolist() == [False, True, False]
    assert table.gather(np.arange(2), 2, batch).counts.shape == (2, 1)
