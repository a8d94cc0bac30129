"""Federated models with noise of the sites: priced as one Gaussian, read back from the noisy sums alone."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from kernel import canonical
from kernel.errors import CorruptError, InvalidError
from kernel.events import Parameter
from privacy.glm.families import Family
from privacy.glm.schedule import GRID, schedule
from privacy.glm.sums import Cases
from privacy.homomorphic.glm import noised_sums
from privacy.homomorphic.glm.noised import (
    NoisedGlm,
    Sums,
    advance,
    asked_json,
    asked_sums,
    is_whole,
    noised_glm_bytes,
    read_noised_glm,
    readings_of,
)
from privacy.homomorphic.glm.noised_sums import noised_cases, noised_site_sums
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.registry import profile_of
from privacy.jobs.glm_spec import complete_glm
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder, encode_columns

WIDE = profile_of("bfv-2048-wide-public")
SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "a", "kind": "numeric", "low": "-1", "high": "1", "clamp": True},
            {"name": "b", "kind": "numeric", "low": "-1", "high": "1", "clamp": True},
            {"name": "y", "kind": "boolean"},
        ]
    }
)


def planned(multiplier: str = "1", tolerated: int = 1) -> NoisedGlm:
    """A logistic model on two columns, at four sites."""
    spec = complete_glm(
        {"kind": "glm", "dataset": "dst_" + "a" * 26, "purpose": "research", "epsilon": "1", "family": "logistic",
         "outcome": "y", "predictors": ["a", "b"]},
        SCHEMA,
    )  # fmt: skip
    noise = SiteNoise(sites=4, tolerated=tolerated, noise_multiplier=Parameter(multiplier))
    return NoisedGlm(family=Family.LOGISTIC, features=spec.features, schema=SCHEMA, noise=noise)


def site(plan: NoisedGlm, people: int, seed: int) -> Cases:
    """Persons whose outcome follows the model 0.4 + 1.2 a - 0.7 b."""
    source = np.random.default_rng(seed)
    rows = source.uniform(-1, 1, (people, 2))
    chance = 1 / (1 + np.exp(-(0.4 + rows @ np.array([1.2, -0.7]))))
    columns = {"a": pa.array(rows[:, 0]), "b": pa.array(rows[:, 1]), "y": pa.array(source.random(people) < chance)}
    encoded = encode_columns(RowEncoder(plan.features, plan.schema), columns)
    return noised_cases(plan, encoded, np.arange(people, dtype=np.int64))


def run(plan: NoisedGlm, sites: list[Cases]) -> Sums:
    """All rounds, every state written and read on the way."""
    layout = plan.layout(WIDE, len(sites))
    sums: dict[str, tuple[int, ...]] = {}
    while not is_whole(plan, sums):
        state = json.loads(json.dumps(asked_json(sums)))
        assert asked_sums(plan, state) == sums
        uploads = [noised_site_sums(plan, state, one) for one in sites]
        assert all(abs(number) <= layout.limit for upload in uploads for number in upload)
        sums = dict(advance(plan, sums, [sum(numbers) for numbers in zip(*uploads, strict=True)]))
    return sums


def test_the_table_holds_the_truth_within_its_intervals() -> None:
    """Four sites of three thousand: every interval of the table reaches the coefficient that rows were drawn by."""
    plan = planned()
    body = read_noised_glm(noised_glm_bytes(plan, run(plan, [site(plan, 3000, seed) for seed in range(4)]), 4))
    assert plan.rounds == 6
    for line, truth in zip(body["table"], (0.4, 1.2, -0.7), strict=True):
        # Twice as far as 95 % reaches: a right interval misses by this much once in ten thousand times.
        reach = float(line["high"]) - float(line["low"])
        assert abs(float(line["coefficient"]) - truth) < reach
        assert 0.01 < reach < 2
    assert abs(body["count"] - 12_000) < 300


def test_all_rounds_together_cost_the_plans_one_gaussian() -> None:
    """The squares of (GRID / deviation) of all measurements add up to at most 1 / z^2, in exact fractions."""
    plan = planned("2.5")
    together = sum((Fraction(GRID) / Fraction(plan.deviation(one).number)) ** 2 for one in schedule(plan.design))
    assert together <= 1 / Fraction(5, 2) ** 2
    assert together > Fraction(99, 100) / Fraction(5, 2) ** 2


def test_sites_sum_where_the_reader_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings at which sites sum are, to the last bit, those by which the file is read."""
    plan = planned("0.731")
    sums = run(plan, [site(plan, 60, seed) for seed in range(4)])
    first = {one.name: sums[one.name] for one in plan.measurements(0)}
    used: list[Any] = []
    honest = noised_sums.sum_step

    def watched(design: Any, settings: Any, cases: Cases, wanted: Any) -> Any:
        used.append(settings)
        return honest(design, settings, cases, wanted)

    monkeypatch.setattr(noised_sums, "sum_step", watched)
    noised_site_sums(plan, asked_json(first), site(plan, 60, 1))
    assert used == [readings_of(plan, sums).settings(1)]
    twice = first | {one.name: sums[one.name] for one in plan.measurements(1)}
    noised_site_sums(plan, asked_json(twice), site(plan, 60, 1))
    assert used[1] == readings_of(plan, sums).settings(2)


def test_a_person_moves_every_measurement_by_at_most_the_grid() -> None:
    """With and without one person, at sites without noise of their own, numbers differ by at most GRID in norm."""
    plan = planned("50", tolerated=0)
    sums = run(plan, [site(plan, 50, seed) for seed in range(4)])
    prefixes: list[Any] = [{}]
    for step in range(plan.rounds - 1):
        prefixes.append(prefixes[-1] | {one.name: sums[one.name] for one in plan.measurements(step)})
    for so_far in prefixes:
        state = asked_json(so_far)
        for alone in (site(plan, 1, seed) for seed in range(20, 26)):
            moved = np.array(noised_site_sums(plan, state, alone, _Quiet()), dtype=float)
            moved -= np.array(noised_site_sums(plan, state, _nobody(plan), _Quiet()), dtype=float)
            step = len({name.split(".")[0] for name in so_far})
            place = 0
            for one in plan.measurements(step):
                assert np.linalg.norm(moved[place : place + one.size]) <= GRID
                place += one.size


def test_states_and_sums_are_held_to_the_plan() -> None:
    """Sums of another step, of another length or beyond the last round are refused."""
    plan = planned()
    first = {one.name: [5] * one.size for one in plan.measurements(0)}
    assert asked_sums(plan, {"sums": first})["0.outcomes"] == (5, 5)
    broken: list[Any] = [{"1.scores": [1, 2, 3]}, {**first, "0.outcomes": [5]}, {**first, "0.outcomes": [5, 2**60]}]
    for wrong in [*broken, {**first, "9.x": [1]}, []]:
        with pytest.raises(InvalidError):
            asked_sums(plan, {"sums": wrong})
    with pytest.raises(CorruptError):
        advance(plan, {}, [1, 2, 3])
    with pytest.raises(CorruptError):
        advance(plan, {}, [1] * plan.values)
    assert NoisedGlm.from_json(plan.to_json()) == plan


def test_a_released_file_is_worked_out_again() -> None:
    """A figure that does not follow from the sums is refused; so is a file of fewer sites than added noise."""
    plan = planned("20")
    data = noised_glm_bytes(plan, run(plan, [site(plan, 40, seed) for seed in range(4)]), 4)
    body = json.loads(data)
    sums = body["sums"] | {"0.outcomes": [body["sums"]["0.outcomes"][0] + 2**21, body["sums"]["0.outcomes"][1]]}
    assert read_noised_glm(data)["sites"] == 4
    for name, value in (("sums", sums), ("sites", 3), ("count", body["count"] + 1), ("privacy", "exact")):
        with pytest.raises(InvalidError):
            read_noised_glm(canonical.encode(body | {name: value}))


class _Quiet:
    """Random bytes that repeat themselves, so that two runs draw the same noise."""

    def __init__(self) -> None:
        self._source = np.random.default_rng(0)
        self._calls = 0

    def __call__(self, size: int) -> bytes:
        self._calls += 1
        return bytes(self._source.bytes(size))


def _nobody(plan: NoisedGlm) -> Cases:
    none: NDArray[np.float64] = np.zeros(0)
    columns = {"a": pa.array(none), "b": pa.array(none), "y": pa.array([], type=pa.bool_())}
    return noised_cases(plan, encode_columns(RowEncoder(plan.features, plan.schema), columns), np.zeros(0, np.int64))
