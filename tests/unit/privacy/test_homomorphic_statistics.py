"""Federated statistics: exact sums over sites, no cell of few persons, and noise that is worth its price."""

from __future__ import annotations

import json
import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel import canonical
from kernel.amounts import Delta, Epsilon
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import Gaussian
from privacy.accounting.rdp import job_epsilon
from privacy.homomorphic.noise import LEAST_DEVIATION, Addition, SiteNoise, calibrated, noised, units_of
from privacy.homomorphic.observing import observers
from privacy.homomorphic.packing import pack, unpack
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.statistics.plan import MOST_ROWS, FederatedStatistics
from privacy.homomorphic.statistics.report import read_statistics, statistics_bytes
from privacy.homomorphic.statistics.sums import ROWS_AT_ONCE, TooFewError, site_sums
from privacy.jobs.asking import complete_query
from privacy.jobs.queries import Query
from privacy.schema import TableSchema

WIDE = profile_of("bfv-2048-wide-public")
SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "age", "kind": "numeric", "low": "0", "high": "100", "clamp": True},
            {"name": "weight", "kind": "numeric", "low": "30", "high": "150", "clamp": True},
            {"name": "sex", "kind": "categorical", "categories": ["female", "male"]},
        ]
    }
)
NOISE = SiteNoise(sites=4, tolerated=1, noise_multiplier=Parameter("3"))


def asked() -> tuple[Query, ...]:
    """A count, a histogram, a mean in cells, and quartiles."""
    short: list[dict[str, Any]] = [
        {"kind": "count"},
        {"kind": "histogram", "columns": ["sex"]},
        {"kind": "mean", "column": "age", "by": ["sex"]},
        {"kind": "quantiles", "column": "age", "at": ["0.25", "0.5"]},
    ]
    return tuple(query for body in short for query in complete_query(body, SCHEMA))


def planned(noise: SiteNoise | None = None, queries: tuple[Query, ...] | None = None) -> FederatedStatistics:
    """The plan of these queries and one covariance."""
    return FederatedStatistics(
        queries=asked()[:3] if queries is None else queries,
        covariances=(("age", "weight"),),
        schema=SCHEMA,
        noise=noise,
    )


def people(count: int, seed: int) -> pa.Table:
    """A site's table."""
    source = np.random.default_rng(seed)
    age = source.uniform(20, 80, count)
    return pa.table(
        {
            "age": age,
            "weight": np.clip(50 + age / 4 + source.normal(0, 8, count), 30, 150),
            "sex": np.where(source.random(count) < 0.5, "female", "male"),
        }
    )


SITES = [people(count, seed) for seed, count in enumerate((120, 300, 80, 200))]


def released(plan: FederatedStatistics, tables: list[pa.Table]) -> dict[str, Any]:
    """The file, after packing and unpacking every site's numbers."""
    layout = plan.layout(WIDE, len(tables))
    uploads = [pack(layout, site_sums(plan, table)) for table in tables]
    primes = [WIDE.plain_primes[place % 2] for place in range(len(uploads[0]))]
    total = [
        [sum(column) % prime for column in zip(*rows, strict=True)]
        for rows, prime in zip(zip(*uploads, strict=True), primes, strict=True)
    ]
    return read_statistics(statistics_bytes(plan, unpack(layout, total), len(tables)))


def test_exact_answers_are_those_of_all_rows() -> None:
    """Counts, means and covariances of four sites are those of the rows in one place."""
    body, together = released(planned(), SITES), pa.concat_tables(SITES)
    sex = np.array(together.column("sex").to_pylist())
    age, weight = (np.array(together.column(name).to_pylist()) for name in ("age", "weight"))
    count, histogram, mean = body["answers"]
    assert [float(value) for value in count["values"]] == [700]
    assert [float(value) for value in histogram["values"]] == [(sex == "female").sum(), (sex == "male").sum()]
    expected = [age[sex == one].mean() for one in ("female", "male")]
    assert [float(value) for value in mean["values"]] == pytest.approx(expected, rel=1e-3)
    assert set(mean) == {"values"}
    (found,) = body["covariances"]
    assert found["rows"] == "700"
    assert [float(value) for value in found["means"]] == pytest.approx([age.mean(), weight.mean()], rel=1e-6)
    matrix = [[float(value) for value in row] for row in found["covariance"]]
    assert np.allclose(matrix, np.cov(age, weight), rtol=1e-5)


def test_exact_quantiles_lie_in_their_cell() -> None:
    """From counts in wide cells, without noise: near the true ones; nothing is said about errors."""
    queries = complete_query({"kind": "quantiles", "column": "age", "at": ["0.25", "0.5"], "bins": 5}, SCHEMA)
    plan = FederatedStatistics(queries=tuple(queries), covariances=(), schema=SCHEMA)
    (found,) = released(plan, SITES)["answers"]
    ages = np.array(pa.concat_tables(SITES).column("age").to_pylist())
    values = [float(one["value"]) for one in found["quantiles"]]
    assert np.abs(np.array(values) - np.quantile(ages, [0.25, 0.5])).max() < 5
    assert {name for one in found["quantiles"] for name in one} == {"at", "value"}


def test_a_cell_of_few_persons_ends_it_before_anything_is_encrypted() -> None:
    """Four men at one site are too few; none at all, or five, are not. With noise the cell is told."""

    def site(men: int) -> pa.Table:
        return pa.table(
            {"age": [40.0] * (20 + men), "weight": [70.0] * (20 + men), "sex": ["female"] * 20 + ["male"] * men}
        )

    for men in (0, 5):
        site_sums(planned(), site(men))
    for men in (1, 4):
        with pytest.raises(TooFewError):
            site_sums(planned(), site(men))
    site_sums(planned(NOISE), site(1))


def test_the_minimum_counts_persons_and_not_rows() -> None:
    """Six rows of two persons are two persons."""
    table = pa.table({"age": [40.0] * 26, "weight": [70.0] * 26, "sex": ["female"] * 20 + ["male"] * 6})
    units = np.array([*range(20), 20, 20, 20, 21, 21, 21])
    plan = FederatedStatistics(queries=asked()[1:2], covariances=(), schema=SCHEMA, rows_per_unit=3)
    with pytest.raises(TooFewError):
        site_sums(plan, table, units)
    # Rows beyond the declared number of a person's do not count, and rows without a person neither.
    most = FederatedStatistics(queries=asked()[1:2], covariances=(), schema=SCHEMA, rows_per_unit=1)
    spread = np.array([*range(20), *range(20, 25), 20])
    assert site_sums(most, table, spread) == [20, 5]
    assert site_sums(most, table, np.where(np.arange(26) == 0, -1, np.arange(26))) == [19, 6]


def test_no_site_exceeds_its_bound() -> None:
    """The layout holds the most rows of the most extreme values, and the noise beyond them, at every site."""
    for noise in (None, NOISE):
        plan = planned(noise)
        layout = plan.layout(WIDE, 4)
        extremes = [layout.bound] * layout.values
        assert max(vector.row_bound * plan.refinement(vector) for vector in plan.vectors) * MOST_ROWS == layout.bound
        slots = pack(layout, extremes)
        primes = [WIDE.plain_primes[place % 2] for place in range(len(slots))]
        total = [[4 * number % prime for number in row] for row, prime in zip(slots, primes, strict=True)]
        assert unpack(layout, total) == [4 * number for number in extremes]


def test_noised_answers_are_near_and_have_intervals() -> None:
    """A thousand people's counts stand within the interval that noise gives; no cell is refused."""
    body = released(planned(NOISE), SITES)
    count, histogram, _ = body["answers"]
    assert set(count) == {"values", "low", "high"}
    assert float(count["low"][0]) <= 700 + 60
    assert float(count["high"][0]) >= 700 - 60
    assert len(histogram["values"]) == 2
    assert body["privacy"].startswith("noised")


def test_all_vectors_together_cost_the_plans_one_gaussian() -> None:
    """The squares of (what a row moves / deviation) add up to at most 1 / z^2, in exact fractions."""
    plan = planned(NOISE, asked())
    together = sum(
        (Fraction(vector.row_norm) / Fraction(plan.deviation(vector).number)) ** 2 for vector in plan.vectors
    )
    assert together <= 1 / Fraction(3) ** 2
    assert together > Fraction(99, 100) / Fraction(3) ** 2
    (use,) = plan.uses()
    assert use == Gaussian(noise_multiplier=Parameter("3"), count=1)
    assert planned().uses() == ()


def test_a_row_moves_a_covariance_by_no_more_than_its_norm() -> None:
    """At every corner of the declared ranges the norm in steps is at most the one that is priced."""
    plan = FederatedStatistics(
        queries=(), covariances=(("age", "weight"),), schema=SCHEMA, least_persons=5, noise=NOISE
    )
    (vector,) = plan.vectors
    quiet = FederatedStatistics(queries=(), covariances=(("age", "weight"),), schema=SCHEMA)
    for age in (-5.0, 0.0, 50.0, 100.0, 1e9):
        for weight in (30.0, 90.0, 150.0):
            rows = pa.table({"age": [age] * 5, "weight": [weight] * 5, "sex": ["male"] * 5})
            moved = [number // 5 for number in site_sums(quiet, rows)]
            assert sum(number * number for number in moved) <= vector.row_norm**2
            assert max(map(abs, moved)) <= vector.row_bound


def test_what_is_asked_takes_no_memory_that_grows_with_the_rows() -> None:
    """A child that dies of its limit declines: a matrix that is large enough would tell how many rows there are."""
    names = [f"x{number}" for number in range(16)]
    schema = TableSchema.from_json(
        {"columns": [{"name": name, "kind": "numeric", "low": "-1", "high": "1"} for name in names]}
    )
    asked = {"kind": "histogram", "columns": ["x0"], "edges": {"x0": ["0.1"]}}
    queries = tuple(complete_query(asked, schema))
    plan = FederatedStatistics(queries=queries, covariances=(tuple(names),), schema=schema)
    rows = 8 * ROWS_AT_ONCE + 5
    values = np.random.default_rng(3).uniform(-1, 1, (rows, len(names)))
    table = pa.table({name: values[:, place] for place, name in enumerate(names)})
    tracemalloc.start()
    found = site_sums(plan, table)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < values.nbytes
    steps = np.rint(values * 2**20).astype(np.int64)
    assert found[-plan.vectors[-1].cells] == rows * 2**40
    assert found[-1] == int((steps[:, -1] ** 2).sum())
    assert found[:2] == [int((values[:, 0] < 0.1).sum()), int((values[:, 0] >= 0.1).sum())]


def test_each_site_adds_its_share_of_exact_noise() -> None:
    """The sum over K sites has the variance sigma^2 K / (K - c): what is priced, and what the tolerated ones add."""
    deviation = Parameter("40")
    refined = NOISE.refinement(deviation)
    draws = 1500
    sums = np.zeros(draws)
    for _ in range(NOISE.sites):
        sums += noised([0] * draws, [Addition(count=draws, deviation=deviation, bound=0, refined=refined)], NOISE)
    expected = 1600 * refined**2 * 4 / 3
    assert float(np.var(sums)) == pytest.approx(expected, rel=0.2)
    assert abs(float(np.mean(sums))) < 5 * (expected / draws) ** 0.5
    assert NOISE.share(deviation, refined) == Fraction(1600 * refined**2, 3)


def test_a_noised_number_never_leaves_its_bound_and_tail() -> None:
    """What is moved back is the noised number: with a bound of zero it is cut at twelve deviations, and not before."""
    deviation = Parameter("40")
    most = NOISE.adder_tail(deviation)
    far = Addition(count=1, deviation=deviation, bound=0)
    assert noised([10 * most], [far], NOISE) == [most]
    assert noised([-10 * most], [far], NOISE) == [-most]
    with pytest.raises(InvalidError):
        noised([1, 2], [far], NOISE)


def test_small_noise_is_refined_until_sums_of_discrete_gaussians_are_safe() -> None:
    """Every site's deviation is at least eight steps, whatever the price says."""
    for written in ("0.05", "0.7", "3", "500"):
        for sites, tolerated in ((3, 0), (40, 10), (1000, 0)):
            noise = SiteNoise(sites=sites, tolerated=tolerated, noise_multiplier=Parameter("1"))
            steps = noise.refinement(Parameter(written))
            assert noise.share(Parameter(written), steps) >= LEAST_DEVIATION**2
            assert steps & (steps - 1) == 0
    assert [units_of(number, 8) for number in (0, 3, 4, 12, -4, -3, -12)] == [0, 0, 1, 2, -1, 0, -2]


def test_epsilon_is_stated_for_each_observer() -> None:
    """Noise that somebody knows does not count for him: against all others together one site's share is left."""
    delta = Delta.parse("0.000001")
    seen = {one.observer: one for one in observers(NOISE, delta)}
    promised = job_epsilon(Gaussian(noise_multiplier=Parameter("3"), count=1), delta=delta).epsilon
    reader, other = seen["whoever reads the result"], seen["one other site"]
    assert reader.epsilon is not None
    assert other.epsilon is not None
    assert reader.epsilon < other.epsilon
    # One site that knows its noise is what c = 1 tolerates: exactly the price.
    assert other.epsilon == promised
    rest = seen["all other sites together"]
    assert rest.known == 3
    assert rest.noise_multiplier == Parameter("1.73205")
    assert rest.epsilon is not None
    assert rest.epsilon > other.epsilon
    # A site that is shown the others' ciphertexts can send a sum in which they are taken off: one site's are left.
    assert seen["one hostile site and gateway together"].epsilon == rest.epsilon
    few = observers(SiteNoise(sites=10, tolerated=7, noise_multiplier=Parameter("3")), delta, present=3)
    assert max(one.known for one in few) == 2
    alone = observers(SiteNoise(sites=1000, tolerated=0, noise_multiplier=Parameter("0.5")), delta)
    assert alone[-1].epsilon is None


@pytest.mark.parametrize("count", [1, 7])
def test_noise_is_calibrated_for_the_strictest_population(count: int) -> None:
    """What is asked for holds, and no more than that, against whoever knows the noise that is tolerated."""
    asked_for, deltas = Epsilon.parse("1.5"), [Delta.parse("0.000001"), Delta.parse("0.0000002")]
    noise = calibrated(asked_for, deltas, sites=5, tolerated=2, count=count)
    seen = {one.observer: one for one in observers(noise, deltas[1], count=count)}
    worst = seen["2 other sites together"]
    assert worst.noise_multiplier == noise.noise_multiplier
    assert worst.epsilon is not None
    assert Epsilon.parse("1.4999") < worst.epsilon <= asked_for


def test_plans_and_files_are_read_strictly() -> None:
    """What is written is read back; another sum, answer or privacy is refused."""
    for plan in (planned(), planned(NOISE, asked())):
        assert FederatedStatistics.from_json(plan.to_json()) == plan
    body = released(planned(), SITES)
    for name, value in (("privacy", "noised"), ("sites", 2), ("answers", body["answers"][:-1]), ("sums", [["1"]])):
        with pytest.raises(InvalidError):
            read_statistics(canonical.encode(body | {name: value}))
    with pytest.raises(InvalidError):
        FederatedStatistics.from_json(json.loads(json.dumps(planned().to_json() | {"least_persons": 2})))
