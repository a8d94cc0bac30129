"""Evaluation: exact noise on whole counts, and estimates whose intervals hold what they say."""

from __future__ import annotations

import math
import os
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from kernel import canonical
from kernel.errors import InvalidError, PrivgateError
from privacy.evaluation import runner
from privacy.evaluation.counts import estimate_accuracy, estimate_auc, placements, without_negatives
from privacy.evaluation.design import Design
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.evaluation.report import evaluation_bytes, evaluation_json, read_evaluation
from privacy.evaluation.runner import add_noise, wanted_of
from privacy.evaluation.scoring import count_rows
from privacy.jobs.plan import EvaluationPlan
from privacy.training.rows import Rows
from tests.support import jobs

ALARM = 1e-9
SOURCE = ExactSource(os.urandom)
TRAINED = jobs.spec()
MODEL = TRAINED.model_graph(jobs.SCHEMA)


def _plan(epsilon: str = "1", rows_per_unit: int = 1, **changes: Any) -> EvaluationPlan:
    return jobs.evaluation_plan(declared=jobs.facts(rows_per_unit=rows_per_unit), epsilon=epsilon, **changes)


def _design(plan: EvaluationPlan) -> Design:
    return Design.of(plan, TRAINED.features, jobs.SCHEMA)


def _counted(weights: dict[str, Any], rows: Rows, bins: int = 8) -> tuple[list[int], list[int]]:
    outcomes, histogram = count_rows(MODEL, weights, rows, wanted_of(_plan(bins=bins)))
    return outcomes.tolist(), histogram.tolist()


# --- discrete Gaussian -----------------------------------------------------------------------------------------------


def _refused(drawn: list[int], variance: float) -> bool:
    """Chi-square of draws against the exact discrete Gaussian, with cells of at least 20 expected."""
    reach = math.ceil(12 * math.sqrt(variance)) + 2
    points = np.arange(-reach, reach + 1)
    exact = np.exp(-(points**2) / (2 * variance))
    expected = exact / exact.sum() * len(drawn)
    found = Counter(drawn)
    frequent = expected >= 20
    seen = np.array([found[int(point)] for point in points[frequent]])
    rest_expected, rest_seen = expected[~frequent].sum(), len(drawn) - seen.sum()
    statistic = ((seen - expected[frequent]) ** 2 / expected[frequent]).sum()
    statistic += (rest_seen - rest_expected) ** 2 / max(rest_expected, 1.0)
    return bool(stats.chi2.sf(statistic, frequent.sum()) < ALARM)


@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(1), Fraction(7, 3), Fraction(100)])
def test_draws_follow_the_exact_distribution(variance: Fraction) -> None:
    """Probability proportional to exp(-x^2 / (2 variance)); at 0.7 and 1.3 of the deviation the test refuses."""
    drawn = [*SOURCE.gaussians(8000, variance)]
    assert not _refused(drawn, float(variance))
    for factor in (0.7, 1.3):
        assert _refused(drawn, float(variance) * factor**2), factor


def test_laplace_and_bernoulli_parts_follow_theirs() -> None:
    """Algorithms 1 and 2 alone: exp(-gamma), also above 1, and the two-sided geometric."""
    for gamma in (Fraction(0), Fraction(1, 3), Fraction(1), Fraction(5, 2)):
        hits = sum(SOURCE.bernoulli_exp(gamma) for _ in range(4000))
        assert stats.binomtest(hits, 4000, math.exp(-gamma)).pvalue > ALARM
    scale, drawn = 3, [SOURCE.laplace(3) for _ in range(6000)]
    chance = (1 - math.exp(-1 / scale)) / (1 + math.exp(-1 / scale))
    for point in range(-6, 7):
        expected = chance * math.exp(-abs(point) / scale)
        assert stats.binomtest(drawn.count(point), 6000, expected).pvalue > ALARM / 13
    below = Counter(SOURCE.below(5) for _ in range(5000))
    assert set(below) == set(range(5))
    assert stats.chisquare(list(below.values())).pvalue > ALARM


def test_draws_are_integers_and_use_no_float() -> None:
    """A fraction of 500 digits works as well: nothing is rounded."""
    huge = Fraction(10**500 + 1, 10**500)
    assert all(type(one) is int for one in SOURCE.gaussians(50, huge))
    with pytest.raises(InvalidError):
        SOURCE.gaussian(Fraction(0))


# --- counts ----------------------------------------------------------------------------------------------------------


def _rows(features: Any, targets: Any, alive: Any = None) -> Rows:
    count = len(features)
    live = np.ones(count, np.bool_) if alive is None else np.asarray(alive)
    return Rows(features=np.asarray(features, np.float32), targets=np.asarray(targets, np.float32), alive=live)


def _weights(seed: int = 0) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    return {weight.name: draw.normal(size=weight.shape).astype(np.float32) for weight in MODEL.graph.weights}


def test_counts_are_those_of_a_loop() -> None:
    """Every row in one cell of each vector, by score and class."""
    draw = np.random.default_rng(1)
    rows = _rows(draw.normal(size=(500, MODEL.width)), draw.integers(0, 2, 500), draw.random(500) < 0.9)
    weights = _weights()
    outcomes, cells = [0, 0], [0] * 16
    matrix, bias = weights["score.weight"][0].astype(float), float(weights["score.bias"][0])
    for row, target, alive in zip(rows.features.astype(float), rows.targets, rows.alive, strict=True):
        if alive:
            score = 1 / (1 + math.exp(-(row @ matrix + bias)))
            outcomes[int((score >= 0.5) != (target > 0.5))] += 1
            cells[min(int(score * 8), 7) + (8 if target > 0.5 else 0)] += 1
    assert _counted(weights, rows) == (outcomes, cells)


def test_a_row_moves_one_count_of_each_vector_and_no_other_row() -> None:
    """Add a row anywhere: each vector changes by 1 in one cell, at scores that sit on a cell's edge too."""
    draw = np.random.default_rng(2)
    features = np.round(draw.normal(size=(300, MODEL.width)), 1)
    features[::3] = 0  # the score is the bias alone: exactly one half when that is 0
    weights = _weights() | {"score.bias": np.zeros(1, np.float32)}
    targets = draw.integers(0, 2, 300)
    base = _counted(weights, _rows(features, targets))
    for place in (0, 1, 150, 300):
        more = _rows(np.insert(features, place, draw.normal(size=MODEL.width), 0), np.insert(targets, place, 1))
        for after, before in zip(_counted(weights, more), base, strict=True):
            assert sorted(a - b for a, b in zip(after, before, strict=True) if a != b) == [1]


def test_a_score_of_one_half_predicts_the_positive_class() -> None:
    """At the edge exactly: correct for a positive, wrong for a negative, in the upper of the two middle cells."""
    weights = {weight.name: np.zeros(weight.shape, np.float32) for weight in MODEL.graph.weights}
    outcomes, histogram = _counted(weights, _rows(np.zeros((3, MODEL.width)), [1, 1, 0]), bins=4)
    assert outcomes == [2, 1]
    assert histogram == [0, 0, 1, 0, 0, 0, 2, 0]


def test_a_row_that_cannot_be_scored_counts_nowhere() -> None:
    """Dead, or with weights that overflow it: no error, no count."""
    rows = _rows(np.full((3, MODEL.width), 3e38), [0, 1, 1], [True, True, False])
    weights = {weight.name: np.full(weight.shape, 3e38, np.float32) for weight in MODEL.graph.weights}
    mixed = weights | {"score.weight": np.resize([3e38, -3e38], (1, MODEL.width)).astype(np.float32)}
    for of in (weights, mixed):
        outcomes, histogram = _counted(of, rows, bins=4)
        assert sum(outcomes) == sum(histogram) <= 2


# --- noise -----------------------------------------------------------------------------------------------------------


def _exact(plan: EvaluationPlan, fill: int = 0) -> list[list[int]]:
    return [[fill] * measure.cells for measure in plan.measures]


@pytest.mark.parametrize("rows_per_unit", [1, 3])
def test_every_count_is_noised_at_the_priced_scale(rows_per_unit: int) -> None:
    """Multiplier x rows per unit, in each of the two vectors; at 0.7 and 1.3 of it the test refuses."""
    plan = _plan("2", rows_per_unit)
    noisy = [add_noise(_design(plan), _exact(plan)) for _ in range(2000)]
    for place in range(2):
        drawn = [value for one in noisy for value in one[place]]
        deviation = float(plan.noise_of(place).number) * rows_per_unit
        assert not _refused(drawn, deviation**2)
        for factor in (0.7, 1.3):
            assert _refused(drawn, (deviation * factor) ** 2)


def test_exact_counts_never_are_what_is_released() -> None:
    """The statement is built from what `add_noise` returns, and two runs differ."""
    plan = _plan()
    design = _design(plan)
    one, two = (evaluation_bytes(design, add_noise(design, _exact(plan, 50))) for _ in range(2))
    assert one != two
    sent = runner.main.__code__.co_names
    assert sent.count("send") == 1
    assert {"add_noise", "evaluation_bytes"} <= set(sent)
    assert all(float(plan.noise_of(place).number) > 1 for place in range(2))


def test_deviation_and_variance_are_one_number() -> None:
    """What the sampler gets is exactly the square of what the statement says: multiplier x rows per unit."""
    plan = _plan(rows_per_unit=3)
    for place, vector in enumerate(_design(plan).vectors):
        assert vector.noise.number == 3 * plan.noise_of(place).number
        assert vector.variance == Fraction(vector.noise.number) ** 2


# --- estimates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("people", "truth", "deviation"), [(114, 0.95, 3.0), (114, 0.7, 6.0), (2000, 0.85, 8.0), (60, 0.5, 4.0)]
)
def test_an_accuracy_interval_covers_the_truth(people: int, truth: float, deviation: float) -> None:
    """Over 2,000 simulated holdouts with fresh noise: 95 % nominal, at least 92 % found, and not useless."""
    draw = np.random.default_rng(int.from_bytes(os.urandom(8), "big"))
    correct = draw.binomial(people, truth, 2000)
    noise = np.rint(draw.normal(0, deviation, (2, 2000))).astype(int)
    found = [
        estimate_accuracy(int(c + a), int(people - c + b), deviation) for c, a, b in zip(correct, *noise, strict=True)
    ]
    held = sum(one.low <= truth <= one.high for one in found)
    # Fails with chance < 1e-9 if the true coverage is 94 %; 97.5 % of 2,000 at most would say that it is far too wide.
    assert held >= stats.binom.ppf(ALARM, 2000, 0.94)
    widest = 2 * 1.96 * math.sqrt(truth * (1 - truth) / people + 2 * (deviation / people) ** 2) + 8 / people
    assert np.median([one.high - one.low for one in found]) <= widest
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in found)


def _auc(negative: Any, positive: Any) -> float:
    return float((positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2)


@pytest.mark.parametrize("bins", [8, 32, 64])
def test_with_little_noise_the_auc_is_the_exact_one(bins: int) -> None:
    """Close to the rank statistic on the scores themselves, the closer the more cells there are."""
    draw = np.random.default_rng(3)
    negative, positive = draw.beta(2, 4, 3000), draw.beta(4, 2, 2000)
    counts = [np.bincount(np.minimum((s * bins).astype(int), bins - 1), minlength=bins) for s in (negative, positive)]
    found = estimate_auc(counts[0].tolist(), counts[1].tolist(), 0.5)
    assert found is not None
    assert found.clipped == 0
    assert abs(found.estimate.value - _auc(negative, positive)) < 0.15 / bins
    binned = _auc(np.repeat(np.arange(bins), counts[0]), np.repeat(np.arange(bins), counts[1]))
    assert found.estimate.value == pytest.approx(binned, abs=1e-12)


def test_an_auc_interval_covers_the_binned_truth() -> None:
    """Over 600 simulated holdouts of 400 with fresh noise: at least 92 % at 95 % nominal."""
    draw = np.random.default_rng(int.from_bytes(os.urandom(8), "big"))
    bins, deviation = 8, 4.0
    edges = np.arange(bins + 1) / bins
    shares = [np.diff(stats.beta.cdf(edges, *shape)) for shape in ((2, 4), (4, 2))]
    truth = float(sum(shares[1][i] * (shares[0][:i].sum() + shares[0][i] / 2) for i in range(bins)))
    held = 0
    for _ in range(600):
        noise = np.rint(draw.normal(0, deviation, (2, bins))).astype(int)
        noisy = [draw.multinomial(200, share) + added for share, added in zip(shares, noise, strict=True)]
        found = estimate_auc(noisy[0].tolist(), noisy[1].tolist(), deviation)
        assert found is not None
        held += found.estimate.low <= truth <= found.estimate.high
    assert held >= stats.binom.ppf(ALARM, 600, 0.93)


def test_nothing_can_be_said_of_an_empty_class() -> None:
    """No estimate, or the whole interval; never an error."""
    assert estimate_auc([0, 0], [5, 5], 1.0) is None
    assert estimate_auc([-3, -4], [-5, 1], 1.0) is None
    empty = estimate_accuracy(-5, 1, 2.0)
    assert (empty.low, empty.high) == (0, 1)


def test_negative_cells_are_spread_and_not_cut_off() -> None:
    """The nearest histogram without negative cells that has the same total, against a search by bisection."""
    draw = np.random.default_rng(4)
    for _ in range(50):
        counts = np.rint(draw.normal(3, 6, 12))
        if counts.sum() < 2:
            continue
        found = np.array(without_negatives(counts.tolist()))
        low, high = -100.0, 100.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if np.maximum(counts - middle, 0).sum() > counts.sum() else (low, middle)
        assert np.allclose(found, np.maximum(counts - low, 0), atol=1e-9)
        assert found.sum() == pytest.approx(counts.sum())
    assert placements([2, 2]) == [0.25, 0.75]


# --- the released file -----------------------------------------------------------------------------------------------


NOISY = ((90, 12), (9, 8, 7, 5, 3, 2, 1, -1, 0, 1, 2, 3, 5, 8, 20, 29))


def test_a_statement_follows_from_its_counts_and_any_change_shows() -> None:
    """Recomputed by who reads it: another count, value, bound or plan is refused."""
    design = _design(_plan())
    data, body = evaluation_bytes(design, NOISY), evaluation_json(design, NOISY)
    assert read_evaluation(data, design) == (design, body) == read_evaluation(data)
    assert {"measured", "accuracy", "auc", "calibration"} <= set(body)
    outcomes, scores = body["measured"]
    changes: list[dict[str, Any]] = [
        {"accuracy": body["accuracy"] | {"value": "0.99"}},
        {"auc": body["auc"] | {"high": "0.5"}},
        {"measured": [outcomes | {"numbers": [91, 12]}, scores]},
        {"measured": [outcomes | {"numbers": ["90", 12]}, scores]},
        {"measured": [outcomes, scores | {"numbers": scores["numbers"][1:]}]},
        {"measured": [outcomes | {"noise": "0.1"}, scores]},
        {"measured": [outcomes]},
        {"calibration": body["calibration"] | {"brier": body["accuracy"]}},
        {"rows": 102},
        {"rows_per_unit": 2},
    ]
    for change in changes:
        with pytest.raises(InvalidError):
            read_evaluation(canonical.encode(body | change), design)
    with pytest.raises(InvalidError):
        read_evaluation(data, _design(_plan(epsilon="1.1")))
    for place in range(0, len(data), 11):
        broken = bytearray(data)
        broken[place] ^= 1
        with pytest.raises(PrivgateError):
            read_evaluation(bytes(broken), design)
