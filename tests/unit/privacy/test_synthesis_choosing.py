"""The private choice of a tree: drawn as it says, and never worth more than its price."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.synthesis.choosing import Pair, choose, choose_tree, spans
from privacy.synthesis.expecting import expected_counts, scores

CELLS = 2
COLUMNS = 3
NOISY = ((3, -1), (1, 1), (0, 4))
PAIRS = tuple(itertools.combinations(range(COLUMNS), 2))
Row = tuple[int, ...]


def seeded(seed: int) -> ExactSource:
    """Exact draws from repeatable bytes: a test of a distribution must not fail by chance."""
    draw = np.random.default_rng(seed)
    return ExactSource(draw.bytes)


def tree_chances(found: dict[Pair, int], steepness: float, columns: int = COLUMNS) -> dict[tuple[Pair, ...], float]:
    """The chance of every tree in every order, from the definition: softmax among what is still open, one by one."""
    chances: dict[tuple[Pair, ...], float] = {}

    def follow(tree: tuple[Pair, ...], chance: float) -> None:
        if len(tree) == columns - 1:
            chances[tree] = chance
            return
        left = [pair for pair in found if pair not in tree and _joins(tree, pair)]
        top = max(found[pair] for pair in left)
        weights = [math.exp(steepness * (found[pair] - top)) for pair in left]
        for pair, weight in zip(left, weights, strict=True):
            follow((*tree, pair), chance * weight / math.fsum(weights))

    follow((), 1.0)
    return chances


def _joins(tree: tuple[Pair, ...], pair: Pair) -> bool:
    reached = {pair[0]}
    for _ in tree:
        reached |= {node for edge in tree if reached & set(edge) for node in edge}
    return pair[1] not in reached


def score_of(rows: tuple[Row, ...]) -> dict[Pair, int]:
    """The scores of a tiny table, by the product's own function."""
    tables = {}
    for first, second in PAIRS:
        table = np.zeros(CELLS * CELLS, dtype=np.int64)
        for row in rows:
            table[row[first] * CELLS + row[second]] += 1
        tables[first, second] = table
    return scores(NOISY, tables, 1, deviation=1.5)


def neighbours() -> Iterator[tuple[tuple[Row, ...], tuple[Row, ...]]]:
    """Every table of up to three rows of three bits, beside the same with one row more."""
    everybody = list(itertools.product(range(CELLS), repeat=COLUMNS))
    for size in range(4):
        for rows in itertools.combinations_with_replacement(everybody, size):
            for more in everybody:
                yield rows, (*rows, more)


@pytest.mark.parametrize("steepness", [Fraction(1, 3), Fraction(7, 5), Fraction(0)])
def test_a_choice_is_drawn_as_the_exponential_mechanism_says(steepness: Fraction) -> None:
    """Frequencies of 8,000 draws lie within five deviations of exp(steepness x score), normalised."""
    found, draws = [3, -4, 0, 3, 1], 8000
    source = seeded(11)
    seen = Counter(choose(found, steepness, source) for _ in range(draws))
    weights = [math.exp(float(steepness) * score) for score in found]
    for place, weight in enumerate(weights):
        chance = weight / math.fsum(weights)
        assert abs(seen[place] - draws * chance) < 5 * math.sqrt(draws * chance * (1 - chance)) + 1


def test_trees_are_drawn_as_choices_one_after_the_other_say() -> None:
    """Every tree in every order, by enumeration."""
    found, steepness, draws = {(0, 1): 2, (0, 2): 0, (1, 2): 1}, Fraction(1, 2), 8000
    source = seeded(12)
    seen = Counter(choose_tree(COLUMNS, found, steepness, source) for _ in range(draws))
    expected = tree_chances(found, float(steepness))
    assert set(seen) == set(expected)
    for tree, chance in expected.items():
        assert abs(seen[tree] - draws * chance) < 5 * math.sqrt(draws * chance * (1 - chance))


def test_a_far_better_pair_is_always_chosen_and_quickly() -> None:
    """Scores of any size: nothing overflows, and the best is kept at once."""
    assert choose([10**15, 0, -(10**15)], Fraction(1), seeded(13)) == 0
    found = {pair: 10**9 * (pair[1] == pair[0] + 1) for pair in itertools.combinations(range(12), 2)}
    tree = choose_tree(12, found, Fraction(1), seeded(14))
    assert set(tree) == {(place, place + 1) for place in range(11)}


@pytest.mark.parametrize("steepness", [0.05, 0.4, 1.3])
def test_no_neighbours_are_told_apart_beyond_the_price_of_the_choices(steepness: float) -> None:
    """By brute force: of all small tables and one row more, both ways round, at every order, the divergence of the
    chosen tree (in its order) is at most a x rho, rho = choices x steepness^2 / 2; and no ratio leaves its range.
    """
    rho = (COLUMNS - 1) * steepness**2 / 2
    worst = 0.0
    known: dict[tuple[Row, ...], dict[tuple[Pair, ...], float]] = {}

    def chances(rows: tuple[Row, ...]) -> dict[tuple[Pair, ...], float]:
        key = tuple(sorted(rows))
        if key not in known:
            known[key] = tree_chances(score_of(key), steepness)
        return known[key]

    for rows, more in neighbours():
        ours, theirs = chances(rows), chances(more)
        losses = [math.log(ours[tree] / theirs[tree]) for tree in ours]
        assert max(losses) - min(losses) <= 2 * (COLUMNS - 1) * steepness + 1e-9
        for p, q in ((ours, theirs), (theirs, ours)):
            for order in (1.01, 1.5, 2, 4, 8, 32, 200):
                terms = [order * math.log(p[tree]) + (1 - order) * math.log(q[tree]) for tree in p]
                moment = max(terms) + math.log(math.fsum(math.exp(term - max(terms)) for term in terms))
                spent = moment / (order - 1) / order
                worst = max(worst, spent)
    assert worst <= rho
    assert worst > rho / 40, "the check looks at nothing that costs"


tables = st.lists(st.tuples(*[st.integers(0, CELLS - 1)] * COLUMNS), max_size=30)


@settings(max_examples=200, deadline=None)
@given(tables, st.tuples(*[st.integers(0, CELLS - 1)] * COLUMNS), st.integers(1, 7))
def test_a_unit_moves_every_score_by_at_most_its_rows(rows: list[Row], more: Row, times: int) -> None:
    """The sensitivity that the price rests on, for units of several rows too."""
    before, after = score_of(tuple(rows)), score_of(tuple(rows) + (more,) * times)
    assert all(abs(before[pair] - after[pair]) <= times for pair in PAIRS)


def test_what_is_expected_of_independent_columns_is_their_product() -> None:
    """Whole numbers, slice by slice; a histogram of noise alone and huge noise give whole numbers too."""
    found = expected_counts((30, 10, 0, 20), (20, 20, 5, 15), 2)
    assert found.tolist() == [15, 15, 5, 5, 0, 0, 5, 15]
    for odd in ((0, 0), (-5, -7), (2**53 - 1, -(2**53) + 1), (2**53 - 1, 2**53 - 1)):
        counts = expected_counts(odd, odd, 1)
        assert counts.dtype == np.int64
        assert (counts >= 0).all()
        assert counts.max() <= 2**46


@given(
    st.integers(2, 6).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(-1, 7), st.integers(-1, 7)), max_size=7))
    )
)
def test_only_trees_that_span_all_columns_are_told_to_be_such(drawn: tuple[int, list[Pair]]) -> None:
    """Held against counting: n - 1 pairs of two columns each, the smaller first, that leave nobody out."""
    columns, pairs = drawn
    reached = {0}
    for _ in range(columns):
        reached |= {node for pair in pairs if reached & set(pair) for node in pair}
    proper = all(0 <= first < second < columns for first, second in pairs)
    assert spans(columns, pairs) == (proper and len(pairs) == columns - 1 and reached == set(range(columns)))
