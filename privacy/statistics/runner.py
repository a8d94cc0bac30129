"""The statistics child: assignment, key, rows, exact measurements, noise, result. Child only.

Rules
-----
1. Noise is added here, before anything is sent; the exact numbers die with the process.
2. That the noise is worth the plan's price is checked, in exact fractions, before the child has a key.
3. One outcome: nothing is raised because of a value, and the result's form follows from the plan alone.
4. One thread, denormals flushed: a row must not be able to slow the sums down.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernel.ids import Entropy
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.jobs.assignment import LIMIT, Role, StatisticsAssignment, require_role
from privacy.jobs.measurements import layout
from privacy.jobs.statistics_plan import StatisticsPlan
from privacy.sandbox.denormals import flush_denormals
from privacy.sandbox.frames import Channel
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.statistics.measuring import measure
from privacy.statistics.rehearsal import rehearse
from privacy.statistics.report import Noisy, kept, read_statistics, statistics_bytes
from privacy.training.dialogue import LARGEST_BODY, ask, expect


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Answer one request over the pipe.

    Args:
        channel: The pipe; the assignment is its next frame.
        request: The first frame's header, which named the role.

    Raises:
        PrivgateError: The assignment is wrong, or a part does not open.
    """
    require_role(request, Role.STATISTICS)
    flush_denormals()
    of = StatisticsAssignment.from_bytes(expect(channel, "assignment", LIMIT))
    measurements = layout(of.spec.queries).measurements
    rehearsed = add_noise(of.plan, rehearse(of.schema, measurements))
    read_statistics(of.spec, of.plan, statistics_bytes(of.spec, of.plan, rehearsed))
    channel.send({"m": "rehearsed"})
    body = expect(channel, "key", LARGEST_BODY)
    if not ask(channel, 1):
        return
    with SecretBytes(body[:KEY_BYTES]) as key:
        exact = measure(of.parts, key, of.unit, measurements)
    noisy = add_noise(of.plan, exact)
    channel.send({"m": "result", "steps": 1}, statistics_bytes(of.spec, of.plan, noisy))


def add_noise(plan: StatisticsPlan, exact: Sequence[NDArray[np.int64]], entropy: Entropy = os.urandom) -> Noisy:
    """Add discrete Gaussian noise to every number.

    Guarantee: All vectors together are released with rho = 1 / (2 z^2) zCDP for one unit, z the plan's noise
    multiplier; `StatisticsPlan.require_price` says why.
    """
    plan.require_price()
    source = ExactSource(entropy)
    noisy = []
    for measurement, numbers in zip(plan.measurements, exact, strict=True):
        variance = Fraction(plan.deviation(measurement).number) ** 2
        drawn = source.gaussians(len(numbers), variance)
        noisy.append(tuple(kept(number + noise) for number, noise in zip(numbers.tolist(), drawn, strict=True)))
    return tuple(noisy)
