"""The training child: assignment, rehearsal, key, rows, run, result. Child only.

Rules
-----
1. Whatever can be wrong is found before `rehearsed`; after the key the run has one outcome, whatever the rows are.
2. What is sent: `rehearsed` (or which check of made-up rows failed), `need`, encrypted savepoints, and at the end the
   weights with the number of steps and the self-test's figures. Nothing is derived from rows or their number except
   the noised weights.
3. One thread, denormals flushed: a row must not be able to slow a step down.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from kernel.errors import CorruptError
from privacy.graph.weights import pack_weights, unpack_initial
from privacy.jobs.assignment import LIMIT, Role, TrainingAssignment, require_role
from privacy.jobs.plan import performance_of
from privacy.sandbox.frames import Channel
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.selftest.claims import Claims
from privacy.selftest.rehearsal import CHECK_OF, rehearse
from privacy.selftest.witness import Witness
from privacy.training.choosing import choose_engine
from privacy.training.dialogue import LARGEST_BODY, ask, expect
from privacy.training.loading import load_units
from privacy.training.plan_runner import Stopped, run_plan
from privacy.training.preflight import RehearsalError
from privacy.training.rows import RowEncoder
from privacy.training.savepoints import open_state, seal_state
from privacy.training.state import RunState, first_state, released_weights


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
    engine = choose_engine(model, plan.loss, plan)
    performance = performance_of(plan, model)
    try:
        rehearsed = rehearse(plan, performance, model, encoder, assignment.table.schema, engine)
    except RehearsalError as error:
        # The name may be told: rows were made up, and this process has had no key, savepoint or answer yet.
        channel.send({"check": CHECK_OF[error.message].value, "m": "unrehearsed"})
        raise
    channel.send({"m": "rehearsed"})
    body = expect(channel, "key", LARGEST_BODY)
    with SecretBytes(body[:KEY_BYTES]) as data_key, SecretBytes(body[KEY_BYTES : 2 * KEY_BYTES]) as job_key:
        state = _start(assignment, engine.size, job_key, body[2 * KEY_BYTES :])
        witness = Witness(Claims.of(plan))
        units = load_units(assignment.table, encoder, data_key)
        dialogue = PipeDialogue(channel, assignment, job_key)
        try:
            state = run_plan(plan, performance, engine, units, dialogue, state, witness)
        except Stopped:
            return
    weights = released_weights(plan, model.graph, state)
    result = {"m": "result", "steps": state.step, "self_test": witness.report(rehearsed).to_fields()}
    channel.send(result, pack_weights(model.graph, weights))


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
        sealed = seal_state(state, of.plan, self._key, of.tenant, of.job)
        self._channel.send({"m": "savepoint", "step": state.step}, sealed)


def _start(assignment: TrainingAssignment, size: int, job_key: SecretBytes, sealed: bytes) -> RunState:
    of = assignment
    if of.savepoint:
        state = open_state(sealed, of.plan, of.savepoint, size, job_key, of.tenant, of.job)
        if state.attempt >= of.attempt or state.started > of.started:
            raise CorruptError("a savepoint of this attempt or a later one, or of more steps than are recorded")
    else:
        given = None if of.initial is None else unpack_initial(of.graph, of.initial)
        state = first_state(of.graph, given=given)
    # What an earlier attempt started and lost is in the parent's number, not in the savepoint.
    return dataclasses.replace(state, attempt=of.attempt, started=of.started)
