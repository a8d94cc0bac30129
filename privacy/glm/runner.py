"""The child that fits a generalised linear model: assignment, key, rows, noisy sums, table. Child only.

Rules
-----
1. Noise is added before anything is sent; the exact sums die with the process.
2. One outcome: a row that cannot be read counts nowhere, and nothing is raised because of a value.
3. One thread, denormals flushed: a row must not be able to slow the sums down.
4. All steps run in one attempt, which is one step of the job: an attempt is charged whole, whatever came of it.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privacy.glm.measure import measure
from privacy.glm.rehearsal import rehearse
from privacy.glm.report import glm_bytes
from privacy.glm.sums import Cases
from privacy.jobs.assignment import LIMIT, GlmAssignment, Role, require_role
from privacy.jobs.glm_spec import Counted
from privacy.sandbox.frames import Channel
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.training.dialogue import ask, expect
from privacy.training.loading import load_units
from privacy.training.rows import RowEncoder
from privacy.training.runner import quiet_arithmetic


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Fit one model over the pipe.

    Args:
        channel: The pipe; the assignment is its next frame.
        request: The first frame's header, which named the role.

    Raises:
        PrivgateError: The assignment is wrong, or a part does not open.
    """
    require_role(request, Role.GLM)
    quiet_arithmetic()
    assignment = GlmAssignment.from_bytes(expect(channel, "assignment", LIMIT))
    plan, design, table = assignment.plan, assignment.design(), assignment.table
    encoder, outcome = RowEncoder(table.features, table.schema), table.features.label.column
    rehearse(plan, outcome, design)
    channel.send({"m": "rehearsed"})
    body = expect(channel, "key", KEY_BYTES)
    if not ask(channel, 1):
        return
    with SecretBytes(body) as key:
        units = load_units(table, encoder, key)
    sums = measure(design, plan.multipliers(design), Cases.of(design, units, plan.counted is Counted.ROW))
    channel.send({"m": "result", "steps": 1}, glm_bytes(plan, outcome, design, sums))
