"""The training child: assignment, rehearsal, key, rows, run, result. Child only.

Rules
-----
1. Whatever can be wrong is found before `rehearsed`; after the key the run has one outcome, whatever the rows are.
2. What is sent: `rehearsed`, `need`, encrypted savepoints, and at the end the weights with the number of steps.
   Nothing is derived from rows or their number except the noised weights.
3. One thread, denormals flushed: a row must not be able to slow a step down.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from privacy.graph.weights import pack_weights
from privacy.jobs.assignment import LIMIT, Role, TrainingAssignment, require_role
from privacy.jobs.plan import performance_of
from privacy.sandbox.frames import Channel
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.training.dialogue import LARGEST_BODY, ask, expect
from privacy.training.loading import load_units
from privacy.training.opacus_engine import OpacusEngine
from privacy.training.plan_runner import RunState, Stopped, first_state, released_weights, run_plan
from privacy.training.preflight import rehearse
from privacy.training.rows import RowEncoder
from privacy.training.savepoints import open_state, seal_state


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Run one training assignment over the pipe.

    Args:
        channel: The pipe; the assignment is its next frame.
        request: The first frame's header, which named the role.

    Raises:
        PrivgateError: The assignment is wrong, the engine fails its rehearsal, or a part or savepoint does not open.
    """
    require_role(request, Role.TRAIN)
    quiet_arithmetic()
    assignment = TrainingAssignment.from_bytes(expect(channel, "assignment", LIMIT))
    plan, model = assignment.plan, assignment.model()
    encoder = RowEncoder(assignment.table.features, assignment.table.schema)
    engine = OpacusEngine(model, plan.loss)
    performance = performance_of(plan, model)
    rehearse(plan, performance, model, encoder, assignment.table.schema, engine)
    channel.send({"m": "rehearsed"})
    body = expect(channel, "key", LARGEST_BODY)
    with SecretBytes(body[:KEY_BYTES]) as data_key, SecretBytes(body[KEY_BYTES : 2 * KEY_BYTES]) as job_key:
        state = _start(assignment, engine.size, job_key, body[2 * KEY_BYTES :])
        units = load_units(assignment.table, encoder, data_key)
        dialogue = PipeDialogue(channel, assignment, job_key)
        try:
            state = run_plan(plan, performance, engine, units, dialogue, state)
        except Stopped:
            return
    weights = released_weights(plan, model.graph, state)
    channel.send({"m": "result", "steps": state.step}, pack_weights(model.graph, weights))


def quiet_arithmetic() -> None:
    """One thread, and denormals flushed to zero in it."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


class PipeDialogue:
    """The parent's side of a run, over the pipe."""

    def __init__(self, channel: Channel, assignment: TrainingAssignment, job_key: SecretBytes) -> None:
        self._channel = channel
        self._assignment = assignment
        self._key = job_key

    def may_start(self, upto: int) -> bool:
        """Announce steps; true when the parent has recorded that they start."""
        return ask(self._channel, upto)

    def save(self, state: RunState) -> None:
        """Send an encrypted savepoint."""
        of = self._assignment
        sealed = seal_state(state, of.plan.digest, self._key, of.tenant, of.job)
        self._channel.send({"m": "savepoint", "step": state.step}, sealed)


def _start(assignment: TrainingAssignment, size: int, job_key: SecretBytes, sealed: bytes) -> RunState:
    if not assignment.savepoint:
        return first_state(assignment.graph)
    digest = assignment.plan.digest
    return open_state(sealed, digest, assignment.savepoint, size, job_key, assignment.tenant, assignment.job)
