"""The evaluation child: assignment, key and weights, holdout rows, exact counts, noise, result. Child only.

Rules
-----
1. Noise is added here, before anything is sent; the exact counts die with the process.
2. One outcome: a row that cannot be scored counts nowhere, and nothing is raised because of a value.
3. One thread, denormals flushed: a row must not be able to slow the count down.
4. No more rows of a unit count than its declared limit, whatever the file holds: that limit is the sensitivity.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kernel.events import Parameter
from kernel.ids import Entropy
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.evaluation.report import NoisyCounts, evaluation_bytes, variance_of
from privacy.evaluation.scoring import ExactCounts, count_rows
from privacy.graph.weights import unpack_weights
from privacy.jobs.assignment import LIMIT, EvaluationAssignment, Role, require_role
from privacy.jobs.plan import EvaluationPlan
from privacy.sandbox.frames import Channel
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.training.dialogue import LARGEST_BODY, ask, expect
from privacy.training.loading import load_units
from privacy.training.rows import RowEncoder
from privacy.training.runner import quiet_arithmetic


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Run one evaluation over the pipe.

    Args:
        channel: The pipe; the assignment is its next frame.
        request: The first frame's header, which named the role.

    Raises:
        PrivgateError: The assignment or the weights are wrong, or a part does not open.
    """
    require_role(request, Role.EVALUATE)
    quiet_arithmetic()
    assignment = EvaluationAssignment.from_bytes(expect(channel, "assignment", LIMIT))
    model = assignment.model()
    encoder = RowEncoder(assignment.table.features, assignment.table.schema)
    channel.send({"m": "rehearsed"})
    body = expect(channel, "key", LARGEST_BODY)
    weights = unpack_weights(assignment.graph, body[KEY_BYTES:])
    if not ask(channel, 1):
        return
    with SecretBytes(body[:KEY_BYTES]) as key:
        rows = load_units(assignment.table, encoder, key).used_rows()
    exact = count_rows(model, weights, rows, assignment.plan.bins, assignment.plan.target)
    noisy = add_noise(assignment.plan, exact)
    channel.send({"m": "result", "steps": 1}, evaluation_bytes(assignment.plan, noisy))


def add_noise(plan: EvaluationPlan, exact: ExactCounts, entropy: Entropy = os.urandom) -> NoisyCounts:
    """Add discrete Gaussian noise to every count.

    Guarantee: Each vector is released with rho = 1 / (2 z^2) zCDP for one unit of at most `rows_per_unit` rows, z its
    noise multiplier.

    Reference: Canonne, Kamath and Steinke 2020, theorem 4, for one coordinate; independent coordinates of one variance
    add up to the squared Euclidean norm of the change.
    """
    source = ExactSource(entropy)
    outcomes = _noised(source, exact.outcomes.tolist(), plan.accuracy_noise, plan)
    cells = _noised(source, exact.histogram.tolist(), plan.histogram_noise, plan)
    return NoisyCounts(
        correct=outcomes[0], wrong=outcomes[1], negative=tuple(cells[: plan.bins]), positive=tuple(cells[plan.bins :])
    )


def _noised(source: ExactSource, counts: list[int], noise: Parameter, plan: EvaluationPlan) -> list[int]:
    variance = variance_of(noise, plan.rows_per_unit)
    return [count + drawn for count, drawn in zip(counts, source.gaussians(len(counts), variance), strict=True)]
