"""The rehearsal: a whole fit on made-up rows, before the child has a key. Child only.

Rules
-----
1. Rows are made from the design alone: the corners of its ranges, and what no encoder gives (not a number, huge, tiny).
2. No made-up row moves a sum further than is priced, none is felt by another, and the result can be written and read.
3. A rehearsal that fails ends the job before its envelope opens.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from kernel.errors import CorruptError
from privacy.glm.design import Design
from privacy.glm.measure import measure
from privacy.glm.readings import Readings
from privacy.glm.report import glm_bytes, require_glm
from privacy.glm.schedule import GRID, STEPS, schedule
from privacy.glm.sums import Cases, Integers, sum_first, sum_step
from privacy.jobs.glm_plan import GlmPlan
from privacy.jobs.glm_spec import Counted
from privacy.training.rows import Rows
from privacy.training.units import UnitTable

_HOSTILE = (0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 3e38, -3e38, 1e-45)


def rehearse(plan: GlmPlan, outcome: str, design: Design) -> None:
    """Prove the price and fit made-up rows; raise `CorruptError` or `InvalidError` if anything is not as it must be."""
    plan.require_price(design)
    multipliers = plan.multipliers(design)
    cases = _made(plan, design)
    numbers = measure(design, multipliers, cases)
    require_glm(plan, outcome, design, glm_bytes(plan, outcome, design, numbers))
    noise = {name: float(value.number) for name, value in multipliers.items()}
    settings = Readings(design=design, multipliers=noise, numbers=numbers).settings(STEPS[design.family])
    wanted = tuple(dict.fromkeys(one.statistic for one in schedule(design) if one.step))

    def sums(of: Cases) -> list[Integers]:
        return [*sum_first(design, of).values(), *sum_step(design, settings, of, wanted).values()]

    alone = [sums(one) for one in _singles(cases)]
    for together, *each in zip(sums(cases), *alone, strict=True):
        if any(sum(int(number) ** 2 for number in one) > GRID**2 for one in each):
            raise CorruptError("a made-up row moves a sum further than is priced")
        if not np.array_equal(together, np.sum(each, axis=0)):
            raise CorruptError("made-up rows are felt by each other")


def _made(plan: GlmPlan, design: Design) -> Cases:
    width = 1 + max(term.place for term in design.terms)
    values = np.array(_HOSTILE, dtype=np.float32)
    features = np.stack([np.roll(np.resize(values, width), shift) for shift in range(len(values))])
    targets = np.array([0, 1, -1, 1, 0, 1, -1, 1, 0], dtype=np.float32)
    rows = Rows(features=features, targets=targets, alive=np.ones(len(values), dtype=np.bool_))
    return Cases.of(design, UnitTable.of_records(rows), plan.counted is Counted.ROW)


def _singles(cases: Cases) -> Iterator[Cases]:
    starts = np.array([0, 1], dtype=np.int64)
    for place in range(len(cases.outcomes)):
        row = slice(place, place + 1)
        yield Cases(rows=cases.rows[row], outcomes=cases.outcomes[row], weights=cases.weights[row], starts=starts)
