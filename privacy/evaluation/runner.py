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
from collections.abc import Mapping, Sequence
from typing import Any

from kernel.ids import Entropy
from privacy.evaluation.design import Design
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.evaluation.encoding import GroupedEncoder
from privacy.evaluation.report import Numbers, evaluation_bytes
from privacy.evaluation.scoring import Wanted, count_rows
from privacy.graph.weights import unpack_weights
from privacy.jobs.assignment import LIMIT, EvaluationAssignment, Role, require_role
from privacy.jobs.plan import EvaluationPlan
from privacy.sandbox.frames import Channel
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.training.dialogue import LARGEST_BODY, ask, expect
from privacy.training.loading import load_units
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
    model, plan, table = assignment.model(), assignment.plan, assignment.table
    design = Design.of(plan, table.features, table.schema)
    encoder = GroupedEncoder(table.features, table.schema, plan.columns)
    channel.send({"m": "rehearsed"})
    body = expect(channel, "key", LARGEST_BODY)
    weights = unpack_weights(assignment.graph, body[KEY_BYTES:])
    if not ask(channel, 1):
        return
    with SecretBytes(body[:KEY_BYTES]) as key:
        rows, groups = encoder.split(load_units(table, encoder, key).used_rows())
    exact = count_rows(model, weights, rows, wanted_of(plan), groups)
    noisy = add_noise(design, [vector.tolist() for vector in exact])
    channel.send({"m": "result", "steps": 1}, evaluation_bytes(design, noisy))


def wanted_of(plan: EvaluationPlan) -> Wanted:
    """What a plan wants to be counted."""
    bound = 1.0 if plan.error_bound is None else float(plan.error_bound.number)
    return Wanted(measures=plan.measures, target=plan.target, error_bound=bound)


def add_noise(design: Design, exact: Sequence[Sequence[int]], entropy: Entropy = os.urandom) -> Numbers:
    """Add discrete Gaussian noise to every number.

    Guarantee: Each vector is released with rho = 1 / (2 z^2) zCDP for one unit of at most `rows_per_unit` rows, z its
    noise multiplier: the noise's deviation over the most that such a unit moves the vector by.

    Reference: Canonne, Kamath and Steinke 2020, theorem 4, for one coordinate; independent coordinates of one variance
    add up to the squared Euclidean norm of the change.
    """
    source = ExactSource(entropy)
    return tuple(
        tuple(number + drawn for number, drawn in zip(own, source.gaussians(len(own), vector.variance), strict=True))
        for vector, own in zip(design.vectors, exact, strict=True)
    )
