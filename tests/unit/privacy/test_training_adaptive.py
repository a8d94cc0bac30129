"""Adaptive clipping: a noised count moves the clip, and both together cost what the plan's noise multiplier costs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from kernel.events import Parameter
from privacy.accounting.mechanisms import PoissonSampledGaussian
from privacy.accounting.price import price
from privacy.jobs.plan import Performance, TrainingPlan
from privacy.training.clipping import MARGIN, ClipRule
from privacy.training.engine import ClippedSum, MicroBatch, written
from privacy.training.plan_runner import run_plan
from privacy.training.rows import Rows
from privacy.training.state import RunState
from privacy.training.units import UnitTable
from tests.support import jobs
from tests.support.witnesses import Onlooker

ALARM = 1e-6


def _plan(**recipe: Any) -> TrainingPlan:
    return jobs.plan(recipe={"clipping": "adaptive", "steps": 40, "sampling_rate": "0.5"} | recipe)


class Norms:
    """An engine whose units have given gradient lengths, all along one direction."""

    name, size = "norms", 3

    def __init__(self) -> None:
        self.clips: list[float] = []

    def set_weights(self, flat: Any) -> None:
        """Lengths do not depend on them."""

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Any = None) -> ClippedSum:
        """The first feature of a unit is the length of its gradient."""
        lengths, counts = batch.features[:, 0, 0], batch.counts[:, 0]
        self.clips.append(clip)
        total = np.zeros(3)
        total[0] = np.minimum(lengths, clip)[counts].sum()
        return ClippedSum(total=written(total, into), within=int((lengths[counts] <= clip).sum()))


def _units(lengths: Any) -> UnitTable:
    features = np.asarray(lengths, dtype=np.float32)[:, None]
    return UnitTable.of_records(Rows(features=features, targets=features[:, 0], alive=features[:, 0] >= 0))


class Parent:
    """Says go; keeps savepoints."""

    def __init__(self) -> None:
        self.saved: list[RunState] = []

    def may_start(self, upto: int) -> bool:
        return upto > 0

    def save(self, state: RunState) -> None:
        self.saved.append(state)


def _run(plan: TrainingPlan, lengths: Any, parent: Parent | None = None) -> tuple[RunState, Norms, Onlooker]:
    engine, seen, zeros = Norms(), Onlooker(), np.zeros(3)
    start = RunState(step=0, weights=zeros, velocity=zeros, total=zeros)
    cut = Performance(units_at_once=400, least_micro_batches=1)
    return run_plan(plan, cut, engine, _units(lengths), parent or Parent(), start, seen), engine, seen


@pytest.mark.parametrize("epsilon", ["0.1", "1", "8"])
def test_one_unit_moves_the_whole_vector_by_at_most_what_z_pays_for(epsilon: str) -> None:
    """The longest move over the noise, computed from the rule: at most 1/z, and within a hair of it."""
    plan = dataclasses.replace(_plan(), epsilon=jobs.plan(epsilon=epsilon).epsilon)
    plan = plan.with_noise(jobs.plan(epsilon=epsilon).noise_multiplier)
    rule, z, clip = ClipRule.of(plan), float(plan.noise_multiplier.number), 0.37
    longest = math.hypot(clip * MARGIN, abs(rule.mark(clip, 1, 1) - rule.mark(clip, 0, 0)))
    assert longest == pytest.approx(math.hypot(clip * MARGIN, rule.mark(clip, 1, 0)))
    assert longest / (rule.noise * clip) <= MARGIN / z * (1 + 1e-12)
    assert longest / (rule.noise * clip) >= MARGIN / z * (1 - 1e-9)
    assert 1 < rule.noise / z < 1.04


def test_the_accountant_prices_the_pair_like_the_plan() -> None:
    """Gradient and count as two Gaussian mechanisms of one sample: their joint multiplier is priced as the plan is."""
    plan = _plan()
    rule, clip = ClipRule.of(plan), 1.0
    count = rule.noise * clip / (clip * rule.weight / MARGIN)
    joint = (rule.noise**-2 + (2 * count) ** -2) ** -0.5
    (use,) = plan.uses()
    assert isinstance(use, PoissonSampledGaussian)
    pair = dataclasses.replace(use, noise_multiplier=Parameter(f"{joint:.9f}"))
    assert float(price(pair, order=plan.order).value) == pytest.approx(
        float(price(use, order=plan.order).value), rel=1e-6
    )
    assert joint >= float(plan.noise_multiplier.number)


def test_flat_clipping_has_no_count_and_pays_nothing_for_one() -> None:
    """The clip stays what it is, the noise is z, and there is no further coordinate."""
    plan = jobs.plan()
    rule = ClipRule.of(plan)
    assert rule.coordinates == 0
    assert rule.noise == pytest.approx(float(plan.noise_multiplier.number), rel=1e-11)
    assert rule.following(0.7, 123.0) == 0.7
    state, engine, seen = _run(jobs.plan(recipe={"steps": 5}), np.ones(50))
    assert state.clip == float(plan.recipe.clip.number)
    assert set(engine.clips) == {float(plan.recipe.clip.number) * MARGIN}
    assert {len(noise) for noise in seen.noise} == {3 + seen.coordinates}


@pytest.mark.parametrize("start", ["0.02", "30"])
def test_the_clip_finds_the_median(start: str) -> None:
    """From far below and far above it moves to where half of the units are not shortened."""
    plan = jobs.plan(epsilon="30", recipe={"clipping": "adaptive", "steps": 200, "sampling_rate": "0.5", "clip": start})
    lengths = np.exp(np.linspace(math.log(0.1), math.log(10), 480))
    state, engine, _ = _run(plan, lengths)
    assert state.clip is not None
    assert 0.4 < state.clip * MARGIN < 2.5
    assert len(set(engine.clips)) > 100


def test_the_noise_follows_the_clip_and_the_witness_sees_it_in_units_of_it() -> None:
    """Whatever the clip is, noise over its deviation is standard normal, and the count's coordinate is part of it."""
    _, engine, seen = _run(_plan(steps=150), np.full(480, 5.0))
    assert len(set(engine.clips)) > 20
    whole = np.concatenate(seen.noise)
    assert {len(noise) for noise in seen.noise} == {3 + seen.coordinates + 1}
    statistic = float((whole**2).sum())
    assert ALARM < stats.chi2.cdf(statistic, len(whole)) < 1 - ALARM


def test_canaries_move_dead_coordinates_by_one_clip_over_the_batch() -> None:
    """A drawn canary shows as one clip, averaged like everything else, whatever the clip has become.

    Three figures that are drawn, each held to 6.5 of its deviations: a false alarm in 10^10 runs.
    """
    plan = _plan(steps=300)
    _, _, seen = _run(plan, np.full(480, 5.0))
    batch, noise = float(plan.normaliser.number), float(plan.gradient_noise)
    moved, still = [], []
    for dead, drawn in zip(seen.dead, seen.drawn, strict=True):
        present = np.isin(np.arange(seen.coordinates), drawn)
        moved += (dead[present] * batch).tolist()
        still += (dead[~present] * batch).tolist()
    assert abs(np.mean(moved) - 1) < 6.5 * noise / math.sqrt(len(moved))
    assert abs(np.mean(still)) < 6.5 * noise / math.sqrt(len(still))
    assert abs(len(moved) / (300 * seen.units) - 0.5) < 6.5 * 0.5 / math.sqrt(300 * seen.units)


def test_the_clip_stays_within_reach_of_the_first_one() -> None:
    """Nobody's gradient, or nobody at all, cannot drive it to 0 or beyond every bound."""
    rule = ClipRule.of(_plan())
    low = high = rule.start
    for _ in range(1000):
        low, high = rule.following(low, 1e9), rule.following(high, -1e9)
    assert (low, high) == (rule.start / 1024, rule.start * 1024)
    assert rule.following(rule.start, math.inf) < rule.start


def test_a_savepoint_has_the_next_clip_and_what_was_started() -> None:
    """It is the clip that the next step would have taken; steps that were granted are counted."""
    parent = Parent()
    plan = _plan()
    _, engine, _ = _run(plan, np.full(480, 5.0), parent)
    saved = parent.saved[3]
    assert saved.clip is not None
    assert saved.clip * MARGIN == engine.clips[saved.step]
    assert [state.started for state in parent.saved] == [state.step for state in parent.saved]
