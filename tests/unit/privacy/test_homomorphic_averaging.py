"""Federated averaging: sums over sites are those of all persons, and what is bounded is what is said."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from kernel.errors import CorruptError, InvalidError
from kernel.events import Parameter
from privacy.accounting.mechanisms import Gaussian
from privacy.graph.templates import ModelChoice
from privacy.graph.weights import pack_weights, unpack_weights
from privacy.homomorphic.averaging.course import advance, ask_json, asked_weights, first_weights, weights_bytes
from privacy.homomorphic.averaging.plan import Bounded, FederatedAverage
from privacy.homomorphic.averaging.site import rounded, site_numbers
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.packing import pack, unpack
from privacy.homomorphic.registry import profile_of
from privacy.jobs.features import FeatureSpec
from privacy.jobs.training_spec import Loss
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder, encode_columns
from privacy.training.units import UnitTable

PUBLIC = profile_of("bfv-4096-public")
NAMES = ("a", "b", "c")
SCHEMA = TableSchema.from_json(
    {
        "columns": [
            *({"name": name, "kind": "numeric", "low": "-1", "high": "1", "clamp": True} for name in NAMES),
            {"name": "y", "kind": "boolean"},
        ]
    }
)
FEATURES = FeatureSpec.from_json(
    {
        "columns": [{"column": name, "transform": "scale"} for name in NAMES],
        "label": {"column": "y", "encoding": "positive", "category": "true"},
        "v": 1,
    }
)
NOISE = SiteNoise(sites=4, tolerated=1, noise_multiplier=Parameter("2"))


def planned(bounded: Bounded, **members: object) -> FederatedAverage:
    """A logistic model on three columns, at four sites."""
    given: dict[str, object] = {"rounds": 3, "clip": Parameter("1"), "rate": Parameter("2"), "public_size": 200}
    return FederatedAverage(
        features=FEATURES,
        schema=SCHEMA,
        model=ModelChoice.from_json({"template": "logistic"}),
        loss=Loss.LOGISTIC,
        bounded=bounded,
        weights=(1, 1, 1, 1),
        **(given | members),  # type: ignore[arg-type]
    )


def people(count: int, seed: int) -> UnitTable:
    """A site's persons, each of one row."""
    source = np.random.default_rng(seed)
    rows = source.uniform(-1, 1, (count, 3))
    truth = source.random(count) < 1 / (1 + np.exp(-(rows @ np.array([3.0, -2.0, 0.5]))))
    columns = {name: pa.array(rows[:, place]) for place, name in enumerate(NAMES)} | {"y": pa.array(truth)}
    return UnitTable.of_records(encode_columns(RowEncoder(FEATURES, SCHEMA), columns))


SITES = [people(50, seed) for seed in range(4)]


def trained(plan: FederatedAverage) -> list[float]:
    """All rounds, every site's numbers packed, added modulo the plain modulus and unpacked."""
    layout, weights = plan.layout(PUBLIC, len(SITES)), first_weights(plan)
    for _ in range(plan.rounds):
        state = json.loads(json.dumps(ask_json(weights)))
        uploads = [pack(layout, site_numbers(plan, state, site, place)) for place, site in enumerate(SITES)]
        modulus = layout.profile.plain_modulus
        total = [[sum(column) % modulus for column in zip(*rows, strict=True)] for rows in zip(*uploads, strict=True)]
        weights = advance(plan, weights, unpack(layout, total), range(4))
    return list(weights)


def test_exact_sums_over_persons_are_a_step_on_all_of_them() -> None:
    """Three rounds are three steps of gradient descent on the persons of all sites, each shortened to the clip."""
    plan = planned(Bounded.PERSON)
    weights = trained(plan)
    rows = np.concatenate([site.rows.features for site in SITES]).astype(np.float64)
    labels = np.concatenate([site.rows.targets for site in SITES]).astype(np.float64)
    design = np.column_stack([rows, np.ones(len(rows))])
    expected = np.zeros(4)
    for _ in range(3):
        each = design * (1 / (1 + np.exp(-design @ expected)) - labels)[:, None]
        each *= np.minimum(1, 1 / np.linalg.norm(each, axis=1))[:, None]
        expected -= 2 * each.sum(axis=0) / 200
    assert weights == pytest.approx(expected, abs=2e-3)
    assert np.abs(expected).max() > 0.3
    named = unpack_weights(plan.checked.graph, weights_bytes(plan, weights))
    assert weights_bytes(plan, weights) == pack_weights(plan.checked.graph, named)
    assert [float(value) for name in named for value in named[name].ravel()].count(weights[0]) == 1


def test_updates_are_averaged_with_declared_weights() -> None:
    """The sum over sites divided by their weights is the weighted mean of what each moved, also when one is missing."""
    plan = planned(Bounded.UPDATE, local_steps=5)
    weighted = FederatedAverage.from_json(plan.to_json() | {"weights": [2, 1, 1, 4]})
    state, start = ask_json(first_weights(plan)), first_weights(plan)
    moved = [np.array(site_numbers(plan, state, site, place)) * plan.quantum for place, site in enumerate(SITES)]
    assert all(np.linalg.norm(one) > 0.1 for one in moved)
    for present in ((0, 1, 2, 3), (0, 1, 3)):
        sums = [sum(n) for n in zip(*(site_numbers(weighted, state, SITES[p], p) for p in present), strict=True)]
        share = np.array([(2, 1, 1, 4)[p] for p in present], dtype=float)
        expected = sum(s * moved[p] for s, p in zip(share, present, strict=True)) / share.sum()
        reached = np.array(advance(weighted, start, sums, present)) - np.array(start)
        assert reached == pytest.approx(expected, abs=1e-3)


def test_no_person_moves_a_round_by_more_than_the_clip() -> None:
    """In whole steps and for every person, whatever the weights are; an update neither."""
    plan = planned(Bounded.PERSON, noise=NOISE, clip=Parameter("0.01"))
    quiet = planned(Bounded.PERSON, clip=Parameter("0.01"))
    state = ask_json([300.0, -300.0, 1.0, 5.0])
    for person in range(20):
        alone = people(1, 100 + person)
        numbers = site_numbers(quiet, state, alone, 0)
        assert sum(n * n for n in numbers) <= (plan.unit + 2) ** 2
    update = planned(Bounded.UPDATE, local_steps=50, rate=Parameter("500"), clip=Parameter("0.5"))
    numbers = site_numbers(update, state, SITES[0], 0)
    length = sum(n * n for n in numbers) ** 0.5
    assert 0.9 * update.unit < length <= update.unit + 2


def test_a_vector_that_is_too_long_counts_as_zero_though_its_square_wraps_around() -> None:
    """512 clips long: in 64 bits its square is a small number."""
    plan = planned(Bounded.PERSON, noise=NOISE, bits=24)
    assert not rounded(plan, np.ones(2**18)).any()
    along = np.zeros(2**18)
    along[7] = 1.0
    assert rounded(plan, along)[7] == plan.unit


def test_noised_persons_are_rounded_towards_zero_and_priced() -> None:
    """(UNIT / deviation)^2 is at most 1 / z^2, a Gaussian for each round; who is protected is said."""
    plan = planned(Bounded.PERSON, noise=NOISE)
    assert (Fraction(plan.unit) / Fraction(plan.deviation.number)) ** 2 <= Fraction(1, 4)
    assert plan.uses() == (Gaussian(noise_multiplier=Parameter("2"), count=3),)
    assert plan.protects == "one person at one site"
    assert "one person" in planned(Bounded.UPDATE, noise=NOISE).protects
    assert planned(Bounded.UPDATE).uses() == ()
    nobody = UnitTable.of_records(
        encode_columns(
            RowEncoder(FEATURES, SCHEMA),
            {**{n: pa.array([], pa.float64()) for n in NAMES}, "y": pa.array([], pa.bool_())},
        )
    )
    state = ask_json(first_weights(plan))
    drawn = [site_numbers(plan, state, nobody, 0) for _ in range(100)]
    expected = float(plan.deviation.number) / 3**0.5
    assert float(np.std(np.array(drawn, dtype=float))) == pytest.approx(expected, rel=0.2)


def test_a_person_may_turn_an_update_round_and_that_is_priced() -> None:
    """One person more moves it by nearly two clips, and the noise is z times two clips."""
    plan = planned(Bounded.UPDATE, noise=NOISE, rate=Parameter("500"), clip=Parameter("0.5"))
    quiet = planned(Bounded.UPDATE, rate=Parameter("500"), clip=Parameter("0.5"))
    state = ask_json([0.0] * 4)
    alone, together = ([(0.5, True)], [(0.5, True), (1.0, False)])
    first, second = (np.array(site_numbers(quiet, state, persons(rows), 0)) for rows in (alone, together))
    moved = float(np.linalg.norm(first - second))
    assert 1.8 * plan.unit < moved <= 2 * plan.unit + 4
    assert Fraction(plan.deviation.number) >= 2 * 2 * plan.unit
    assert planned(Bounded.PERSON, noise=NOISE).deviation.number == 2 * plan.unit


def persons(rows: list[tuple[float, bool]]) -> UnitTable:
    """Persons with the same value in every column, and their outcomes."""
    columns = {name: pa.array([value for value, _ in rows], pa.float64()) for name in NAMES}
    return UnitTable.of_records(
        encode_columns(RowEncoder(FEATURES, SCHEMA), {**columns, "y": pa.array([ill for _, ill in rows])})
    )


def test_what_does_not_fit_is_refused() -> None:
    """Weights of sites with persons, too many persons, sums of another length, states of another model."""
    with pytest.raises(InvalidError):
        planned(Bounded.PERSON, local_steps=2)
    with pytest.raises(InvalidError):
        FederatedAverage.from_json(planned(Bounded.PERSON).to_json() | {"weights": [1, 2, 1, 1]})
    with pytest.raises(InvalidError):
        FederatedAverage.from_json(planned(Bounded.UPDATE, noise=NOISE).to_json() | {"weights": [1, 1, 1]})
    plan = planned(Bounded.UPDATE)
    assert FederatedAverage.from_json(plan.to_json()) == plan
    with pytest.raises(InvalidError):
        site_numbers(planned(Bounded.PERSON, most_persons=49), ask_json(first_weights(plan)), SITES[0], 0)
    for state in ({"weights": ""}, {"weights": "AAAA"}, {"weights": 3}, {}, ask_json([float("nan")] * 4)):
        with pytest.raises(InvalidError):
            asked_weights(plan, state)
    for sums, present in (([0] * 3, (0, 1, 2)), ([0] * 4, (0, 4)), ([0] * 4, ())):
        with pytest.raises(CorruptError):
            advance(plan, first_weights(plan), sums, present)
