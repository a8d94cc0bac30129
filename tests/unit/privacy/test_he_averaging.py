"""Federated averaging: what sites give adds up to what one place would have computed, within a declared grid."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.graph.weights import unpack_weights
from privacy.homomorphic.averaging.course import asked, asked_weights, first_weights, model_bytes, moved
from privacy.homomorphic.averaging.plan import AveragingPlan
from privacy.homomorphic.averaging.sums import _engine, _steps, _summed, share_of, site_update
from privacy.homomorphic.confined import Confined
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.registry import profile_of
from privacy.jobs.spec import Loss
from privacy.training.rows import RowEncoder, Rows
from privacy.training.units import UnitTable
from tests.support import jobs

NOISE = SiteNoise(sites=3, tolerated=1, noise_multiplier=Parameter("1"))
SITES = (40, 70, 110)


def plan(**changes: Any) -> AveragingPlan:
    """A small perceptron on the table of jobs."""
    deep = {"model": {"template": "mlp", "activation": "relu", "hidden": [6]}} if changes.pop("deep", False) else {}
    spec = jobs.spec(**deep)
    standard: dict[str, Any] = {
        "graph": spec.model_graph(jobs.SCHEMA).graph,
        "features": spec.features,
        "schema": jobs.SCHEMA,
        "loss": Loss.LOGISTIC,
        "rounds": 3,
        "learning_rate": Parameter("0.5"),
        "clip": Parameter("2"),
        "reach": Parameter("1"),
    }
    return AveragingPlan(**(standard | changes))


def noised_plan(**changes: Any) -> AveragingPlan:
    """The same with noise at the sites, for persons of up to three rows."""
    made = {"noise": NOISE, "clip": Parameter("1"), "reach": Parameter("64"), "divisor": 200, "rows_per_unit": 3}
    return plan(**(made | changes))


def rows_of(of: AveragingPlan, count: int, seed: int) -> Rows:
    """One site's encoded rows."""
    return RowEncoder(of.features, of.schema).encode(jobs.people(count, seed))


def site(of: AveragingPlan, count: int, seed: int) -> UnitTable:
    """One site's rows, each a person of its own."""
    return UnitTable.of_records(rows_of(of, count, seed))


def test_averages_of_one_step_are_a_step_on_all_rows() -> None:
    """Weights are declared as each site's number of rows: the sum is the pooled gradient, up to the grid."""
    of = plan()
    sites = [site(of, count, count) for count in SITES]
    weights, pooled = first_weights(of), first_weights(of).astype(np.float64)
    names = ("features", "targets", "alive")
    pooled_rows = {name: np.concatenate([getattr(one.rows, name) for one in sites]) for name in names}
    together = UnitTable.of_records(Rows(**pooled_rows))
    engine = _engine(of)
    for _ in range(of.rounds):
        updates = [
            site_update(of, weights, one, share_of(count, max(SITES))) for one, count in zip(sites, SITES, strict=True)
        ]
        sums = [sum(column) for column in zip(*updates, strict=True)]
        weights = moved(of, weights, sums, sum(SITES) / max(SITES))
        engine.set_weights(pooled)
        pooled -= 0.5 * _summed(engine, together, 1e12) / sum(SITES)
    # Half a step of the grid for each site and round, and float32 between rounds.
    assert np.abs(weights - pooled).max() < of.rounds * 3 * of.quantum / (sum(SITES) / max(SITES))


def test_local_steps_train_a_model() -> None:
    """Several rounds of several local steps, of a perceptron: the pooled loss falls."""
    of = plan(deep=True, local_steps=20, rounds=6)
    sites = [site(of, count, count) for count in SITES]
    weights = first_weights(of)
    before = _loss(of, weights, sites)
    for _ in range(of.rounds):
        updates = [site_update(of, weights, one) for one in sites]
        weights = moved(of, weights, [sum(column) for column in zip(*updates, strict=True)], 3.0)
    assert _loss(of, weights, sites) < 0.7 * before
    named = unpack_weights(of.graph, model_bytes(of, weights))
    assert sum(value.size for value in named.values()) == of.values


def _loss(of: AveragingPlan, weights: Any, sites: list[UnitTable]) -> float:
    from privacy.graph.forward import forward
    from privacy.training.engine import unflatten

    shapes = {weight.name: weight.shape for weight in of.graph.weights}
    values = {name: value.astype(np.float32) for name, value in unflatten(weights.astype(np.float64), shapes).items()}
    losses = []
    for one in sites:
        scores = np.asarray(forward(of.model(), values, one.rows.features)).reshape(-1)
        losses.append(np.logaddexp(0, scores) - one.rows.targets * scores)
    return float(np.concatenate(losses).mean())


def test_an_update_is_clipped_weighed_and_held() -> None:
    """However steep: no longer than the clip, no number beyond its bound, a light site's beyond its share."""
    of = plan(learning_rate=Parameter("1000"), reach=Parameter("0.01"))
    one = site(of, 50, 1)
    full = np.array(site_update(of, first_weights(of), one))
    light = np.array(site_update(of, first_weights(of), one, share_of(1, 4)))
    assert np.abs(full).max() == of.bound
    assert np.abs(light).max() == of.bound // 4
    loose = plan(learning_rate=Parameter("1000"), reach=Parameter("2"))
    assert np.linalg.norm(np.array(site_update(loose, first_weights(loose), one)) * loose.quantum) < 2.001


def test_one_person_moves_a_site_by_at_most_the_clip() -> None:
    """Before the noise, rounding included: with and without any person of up to three rows, whatever the reach."""
    for reach in ("64", "0.05"):
        of = noised_plan(reach=Parameter(reach))
        rows = rows_of(of, 120, 5)
        rows.features[3] *= 1e6
        rows.features[7] = np.nan
        persons = np.arange(120) // 3
        engine, clip = _engine(of), float(of.clip.number) * (1 - 2.0**-9)
        engine.set_weights(first_weights(of).astype(np.float64))
        everybody = _steps(of, _summed(engine, UnitTable.by_unit(rows, persons, 3), clip), of.bound)
        for person in (0, 1, 2, 17, 39):
            kept = persons != person
            without = Rows(features=rows.features[kept], targets=rows.targets[kept], alive=rows.alive[kept])
            fewer = _steps(of, _summed(engine, UnitTable.by_unit(without, persons[kept], 3), clip), of.bound)
            assert np.linalg.norm(np.array(everybody) - np.array(fewer)) <= of.steps


def test_noise_is_what_is_priced() -> None:
    """Each site's share, of which any two of three are the deviation that the price is for."""
    of = noised_plan(rows_per_unit=1)
    one = site(of, 30, 2)
    draws = np.array([site_update(of, first_weights(of), one) for _ in range(40)])
    spread = draws.std(axis=0, ddof=1).mean()
    priced = float(of.deviation_of(of.steps).number)
    assert spread * np.sqrt(2) == pytest.approx(priced, rel=0.1)
    assert len(of.uses()) == 1
    assert plan().uses() == ()


@pytest.mark.parametrize("noised", [False, True], ids=["exact", "noised"])
def test_a_round_under_encryption_is_the_sum_of_the_updates(noised: bool) -> None:
    """Through keys, ciphertexts and the confined child."""
    of = noised_plan(rows_per_unit=1) if noised else plan()
    layout = of.layout(profile_of("bfv-4096-public"), 3)
    confined = Confined()
    public, secret = confined.make_keys(layout.profile)
    updates = [site_update(of, first_weights(of), site(of, count, count)) for count in SITES]
    bodies = [confined.encrypt(layout, public, update) for update in updates]
    assert confined.decrypt(layout, secret, bodies) == [sum(column) for column in zip(*updates, strict=True)]


def test_sizes_with_and_without_noise() -> None:
    """RULES 38: of a model of some size, noise makes fields wider; both are known from the plan alone."""
    wide = jobs.spec(model={"template": "mlp", "hidden": [200]}).model_graph(jobs.SCHEMA).graph
    exact, noised = plan(graph=wide), noised_plan(graph=wide)
    profile = profile_of("bfv-4096-public")
    assert (exact.layout(profile, 8).fields, noised.layout(profile, 8).fields) == (2, 1)
    assert noised.layout(profile, 8).limit > noised.bound * 8


def test_a_plan_and_a_state_are_read_strictly() -> None:
    """What they write comes back; anything else is refused."""
    for of in (plan(), noised_plan()):
        again = AveragingPlan.from_json(json.loads(json.dumps(of.to_json())))
        assert again == of
        assert (first_weights(again) == first_weights(of)).all()
        state = asked(first_weights(of))
        assert (asked_weights(of, state) == first_weights(of)).all()
        for wrong in ({}, {"weights": state["weights"][:-4]}, {"weights": 3}, {**state, "more": 1}):
            with pytest.raises(InvalidError):
                asked_weights(of, wrong)
        with pytest.raises(InvalidError):
            asked_weights(of, asked(np.full(of.values, np.nan, np.float32)))


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 0}, {"rounds": 101}, {"bits": 8}, {"clip": Parameter("0")}, {"reach": Parameter("1e9")},
        {"divisor": 5}, {"noise": NOISE, "local_steps": 2}, {"local_steps": 0}, {"loss": "other"},
    ],
    ids=str,
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    """By its own numbers, before any site computes."""
    with pytest.raises((InvalidError, AttributeError)):
        AveragingPlan.from_json({**plan().to_json(), **changes}) if "loss" in changes else plan(**changes)


def test_a_model_of_other_inputs_is_refused() -> None:
    """The graph reads as many numbers as the features give."""
    graph = plan().graph
    other = jobs.spec(features=None, label="smoker").model_graph(jobs.SCHEMA).graph
    assert other.inputs != graph.inputs
    with pytest.raises(InvalidError):
        plan(graph=other)
