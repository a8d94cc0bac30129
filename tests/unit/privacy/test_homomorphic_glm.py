"""Federated models: the fit is the pooled one, sums are exact, and no row can leave the range that is proven."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats  # type: ignore[import-untyped]  # the library has no stubs
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

from kernel import canonical
from kernel.errors import CorruptError, InvalidError
from privacy.glm.sums import Cases
from privacy.homomorphic.glm import student
from privacy.homomorphic.glm.plan import GRID, MOST_ROWS, ExactGlm, Kind
from privacy.homomorphic.glm.report import glm_bytes, read_glm
from privacy.homomorphic.glm.steps import LONGEST, Fit, State, Unfit, Why, advance, asked_point
from privacy.homomorphic.glm.sums import cases_of, site_sums
from privacy.homomorphic.glm.table import table_of
from privacy.homomorphic.packing import pack, unpack
from privacy.training.rows import RowEncoder, encode_columns
from tests.support.federated import OUTCOMES, WIDE, cases_from, drawn, parts, plan_for, pooled, run


@pytest.mark.parametrize("family", ["linear", "logistic", "poisson"])
def test_a_federated_fit_is_the_pooled_one(family: str) -> None:
    """Coefficients, errors and p-values agree with the fit of all rows in one place."""
    plan = plan_for(family)
    rows, outcomes = drawn(family)
    fit = run(plan, parts(plan, rows, outcomes))
    assert isinstance(fit, Fit)
    assert fit.rows == 900
    assert fit.cut == 0
    assert fit.rounds <= 10
    table = table_of(plan, fit)
    values, errors = pooled(rows, outcomes, family)
    assert np.abs([line.value for line in table] - values).max() < 1e-7
    assert np.abs([line.error for line in table] - errors).max() < 1e-7
    law = stats.t(897) if family == "linear" else stats.norm()
    for line, value, error in zip(table, values, errors, strict=True):
        assert (line.low, line.high) == pytest.approx((value - law.ppf(0.975) * error, value + law.ppf(0.975) * error))
        if line.p_value is not None:
            assert line.p_value == pytest.approx(2 * law.sf(abs(value) / error), abs=1e-9)
    assert read_glm(glm_bytes(plan, fit, 4))["rows"] == 900


@pytest.mark.parametrize("family", ["linear", "logistic", "poisson"])
def test_a_ridge_is_that_of_the_usual_library(family: str) -> None:
    """The same penalty on the same rows gives scikit-learn's coefficients."""
    plan = plan_for(family, ridge="7.5")
    rows, outcomes = drawn(family)
    fit = run(plan, parts(plan, rows, outcomes))
    assert isinstance(fit, Fit)
    match family:
        case "linear":
            # The outcome is fitted in half ranges: the same penalty gives the same coefficients, scaled.
            model = Ridge(alpha=7.5, tol=1e-12).fit(rows, outcomes)
        case "logistic":
            model = LogisticRegression(C=1 / 7.5, tol=1e-12, max_iter=10_000).fit(rows, outcomes)
        case _:
            model = PoissonRegressor(alpha=7.5 / 900, tol=1e-12, max_iter=10_000).fit(rows, outcomes)
    expected = [float(np.ravel(model.intercept_)[0]), *np.ravel(model.coef_)]
    assert [line.value for line in table_of(plan, fit)] == pytest.approx(expected, abs=1e-5)


def test_sums_are_exact_whoever_holds_which_row() -> None:
    """Rows in any order and at any site give the same whole numbers."""
    plan = plan_for("logistic")
    rows, outcomes = drawn("logistic")
    mixed = np.random.default_rng(1).permutation(len(rows))
    point = (0.3, -1.1, 2.0)
    one = site_sums(plan, point, cases_from(plan, rows, outcomes))
    many = [site_sums(plan, point, case) for case in parts(plan, rows[mixed], outcomes[mixed], 7)]
    assert one == [sum(numbers) for numbers in zip(*many, strict=True)]


@pytest.mark.parametrize(
    ("family", "high"), [("linear", "40"), ("logistic", "40"), ("poisson", "3"), ("poisson", "1000")]
)
def test_no_row_adds_more_than_the_grid(family: str, high: str) -> None:
    """At every corner of the declared ranges, and at any point, a row's numbers stay within one grid each."""
    plan = plan_for(family, high=high)
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=2)))
    low, top = {"linear": (-4.0, 4.0), "logistic": (0.0, 1.0), "poisson": (0.0, float(high))}[family]
    points: list[tuple[float, ...] | None] = [None]
    if family != "linear":
        points += [(0.0, 0.0, 0.0), (60.0, 1e9, -1e9), (-1e300, 1e300, 0.0), (-9.0, -5.0, 5.0), (9.0, 4.0, 4.0)]
    most = [0] * plan.values
    for point, corner, outcome in itertools.product(points, corners, (low, top)):
        row = site_sums(plan, point, cases_from(plan, corner[None, :], np.array([outcome])))
        assert row[0] == 1
        most = [max(a, abs(b)) for a, b in zip(most, row, strict=True)]
    assert max(most) <= GRID
    # The bound is not idle: some sum comes within a factor of four of it.
    assert max(most[2:]) > GRID / 4


def test_a_full_site_at_every_corner_still_fits_the_layout() -> None:
    """The most rows, each at its bound, with either sign at every site: sums survive packing and come back exactly."""
    plan = plan_for("logistic")
    layout = plan.layout(WIDE, 64)
    assert layout.bound == MOST_ROWS * GRID == 2**60
    assert layout.upload_bytes <= 100_000
    for sign in (1, -1):
        upload = [sign * layout.bound] * layout.values
        slots = pack(layout, upload)
        total = [
            [64 * number % prime for number in row] for row, prime in zip(slots, itertools.cycle(WIDE.plain_primes))
        ]
        assert unpack(layout, total) == [64 * number for number in upload]


def test_the_largest_table_fits_one_pair_of_ciphertexts() -> None:
    """Thirty-two terms still cost at most 100 KB per site and round."""
    plan = plan_for("logistic", columns=[f"c{number}" for number in range(32)])
    layout = plan.layout(WIDE, 4)
    assert layout.groups == 1
    assert layout.upload_bytes <= 100_000


def test_a_site_with_too_many_rows_is_refused() -> None:
    """More rows than the range is proven for are refused before anything is summed."""
    plan = plan_for("logistic", columns=["a"])
    rows = encode_columns(RowEncoder(plan.features, plan.schema), {"a": pa.array([0.0]), "y": pa.array([True])})
    wide = type(rows)(
        features=np.broadcast_to(rows.features, (MOST_ROWS + 1, 1)),
        targets=np.broadcast_to(rows.targets, (MOST_ROWS + 1,)),
        alive=np.broadcast_to(rows.alive, (MOST_ROWS + 1,)),
    )
    with pytest.raises(InvalidError, match="at most"):
        cases_of(plan, wide)


def test_dead_rows_and_points_without_end_add_nothing() -> None:
    """A missing value takes its row out, and no value raises anything."""
    plan = plan_for("poisson")
    rows = np.array([[0.5, -0.5], [np.nan, 0.0], [0.1, np.inf]])
    alone = cases_from(plan, rows[:1], np.array([2.0]))
    mixed = cases_from(plan, rows, np.array([2.0, 3.0, 4.0]))
    assert site_sums(plan, (1.0, 0.0, 0.0), alone) == site_sums(plan, (1.0, 0.0, 0.0), mixed)
    overflowing = (1.7e308, 1.7e308, 1.7e308)
    assert site_sums(plan, overflowing, alone)[0] in (0, 1)


def test_separated_rows_end_without_a_table() -> None:
    """Where the outcome follows from a predictor without error there is no finite fit, and none is printed."""
    plan = plan_for("logistic", columns=["a"])
    rows = np.linspace(-1, 1, 40)[:, None]
    ending = run(plan, parts(plan, rows, (rows[:, 0] > 0).astype(np.float64)))
    assert isinstance(ending, Unfit)
    assert ending.why is Why.UNFINISHED
    body = read_glm(glm_bytes(plan, ending, 4))
    assert body["table"] is None
    assert body["why"] == "unfinished"
    assert len(body["points"]) == 9


def test_columns_that_say_the_same_end_without_a_table() -> None:
    """Coefficients that rows do not tell apart are not printed; a ridge tells them apart."""
    rows, outcomes = drawn("logistic")
    same = np.column_stack([rows[:, 0], rows[:, 0]])
    plan = plan_for("logistic")
    assert run(plan, parts(plan, same, outcomes)).rounds == 1
    ending = run(plan, parts(plan, same, outcomes))
    assert isinstance(ending, Unfit)
    assert ending.why is Why.SINGULAR
    ridged = plan_for("logistic", ridge="1")
    assert isinstance(run(ridged, parts(ridged, same, outcomes)), Fit)


def test_a_step_that_lowers_the_likelihood_is_halved() -> None:
    """The next point lies half way back, and the point before stays the one to beat."""
    plan = plan_for("poisson")
    rows, outcomes = drawn("poisson")
    sites = parts(plan, rows, outcomes)
    good, bad = (0.5, 0.0, 0.0), (6.0, 3.0, 3.0)
    state = State(round=3, points=(good, bad), best=(good, _fit_at(plan, good, sites)))
    following = advance(plan, state, _summed(plan, bad, sites), len(sites))
    assert isinstance(following, State)
    assert following.best == state.best
    assert following.point == tuple((a + b) / 2 for a, b in zip(good, bad, strict=True))


def test_a_step_is_never_longer_than_declared() -> None:
    """However flat the likelihood is, linear predictors move by at most LONGEST, on a weighted average."""
    plan = plan_for("logistic")
    rows, outcomes = drawn("logistic")
    sites = parts(plan, rows, outcomes)
    far = (24.0, 9.0, -9.0)
    following = advance(plan, State(round=2, points=(far,)), _summed(plan, far, sites), len(sites))
    assert isinstance(following, State)
    assert following.point is not None
    moved = np.array(following.point) - np.array(far)
    design = np.column_stack([np.full(len(rows), 0.5), rows])
    chance = 1 / (1 + np.exp(-design @ np.array(far)))
    mean = np.average((design @ moved) ** 2, weights=chance * (1 - chance))
    assert mean == pytest.approx(LONGEST**2, rel=1e-3)


@pytest.mark.parametrize("family", ["linear", "logistic", "poisson"])
@pytest.mark.parametrize("width", [1e-1, 1e-2, 1e-3])
def test_a_range_may_be_declared_far_too_wide(family: str, width: float) -> None:
    """Values that fill a thousandth of a range, off its middle, are fitted as well as others, in as many rounds."""
    plan = plan_for(family)
    rows, outcomes = drawn(family)
    narrow = (0.3 + width * rows).astype(np.float32).astype(np.float64)
    fit = run(plan, parts(plan, narrow, outcomes))
    assert isinstance(fit, Fit)
    values, errors = pooled(narrow, outcomes, family)
    found = [line.value for line in table_of(plan, fit)]
    assert np.abs((np.array(found) - values) / errors).max() < 1e-4
    usual = run(plan, parts(plan, rows, outcomes))
    assert abs(fit.rounds - usual.rounds) <= 1


def test_sums_that_no_sites_can_give_are_refused() -> None:
    """A wrong length, a sum beyond the bound, or more cut rows than rows is corrupt, not a fit."""
    plan = plan_for("logistic")
    honest = [4, 0, 0, *[0] * (plan.values - 3)]
    for changed in (honest[:-1], [4, 5, *honest[2:]], [-1, *honest[1:]], [*honest[:-1], 5 * MOST_ROWS * GRID]):
        with pytest.raises(CorruptError):
            advance(plan, State.first(), changed, 4)


def test_points_and_states_are_read_strictly() -> None:
    """A coefficient that is not finite, not shortest, or one too few is refused."""
    plan = plan_for("logistic")
    good = (1.5).hex()
    assert asked_point(plan, {"point": [good] * 3}) == (1.5, 1.5, 1.5)
    for point in (
        [good] * 2,
        [good, good, "inf"],
        [good, good, "1.5"],
        [good, good, 1.5],
        "abc",
        [good, good, "0x1p99999"],
    ):
        with pytest.raises(InvalidError):
            asked_point(plan, {"point": point})
    broken: tuple[Any, ...] = ({}, {"round": 2, "points": [], "best": None}, {"round": 1, "points": [], "best": {}}, [])
    for body in broken:
        with pytest.raises(InvalidError):
            State.from_json(body)
    assert ExactGlm.from_json(plan.to_json()) == plan


def test_a_released_file_is_read_strictly() -> None:
    """A line too few, another term, a privacy that was not had: refused."""
    plan = plan_for("logistic")
    fit = run(plan, parts(plan, *drawn("logistic")))
    body = json.loads(glm_bytes(plan, fit, 4))

    def changed(**members: Any) -> bytes:
        return canonical.encode(body | members)

    assert read_glm(changed())["why"] is None
    line = dict(body["table"][1]) | {"term": "other"}
    for wrong in (
        changed(table=body["table"][:-1]),
        changed(table=[body["table"][0], line, body["table"][2]]),
        changed(privacy="private"),
        changed(rounds=3),
        changed(sites=2),
        changed(why="singular"),
        changed(cut=10**6),
    ):
        with pytest.raises(InvalidError):
            read_glm(wrong)


@pytest.mark.parametrize("kind", list(Kind))
def test_bounds_are_powers_of_two(kind: Kind) -> None:
    """So that dividing the grid by them is exact."""
    for family, first in itertools.product(OUTCOMES, (True, False)):
        bound = plan_for(family, high="1000").bound(kind, first)
        assert bound >= 1
        assert bound & (bound - 1) == 0
        assert GRID % bound == 0


def test_students_distribution_is_that_of_scipy() -> None:
    """Tails and quantiles agree to eight digits from one degree of freedom to a million."""
    for freedom in (1, 2, 3, 7, 30, 909, 10**6):
        for value in (0.0, 0.1, 1.0, 2.5, 9.0):
            assert student.tail(value, freedom) == pytest.approx(2 * stats.t(freedom).sf(value), rel=1e-8, abs=1e-14)
        assert student.quantile(0.95, freedom) == pytest.approx(stats.t(freedom).ppf(0.975), rel=1e-9)


def _summed(plan: ExactGlm, point: tuple[float, ...], sites: Sequence[Cases]) -> list[int]:
    return [sum(numbers) for numbers in zip(*(site_sums(plan, point, site) for site in sites), strict=True)]


def _fit_at(plan: ExactGlm, point: tuple[float, ...], sites: Sequence[Cases]) -> float:
    return _summed(plan, point, sites)[2] * plan.bound(Kind.FIT, first=False) / GRID
