"""The tuning child: assignment, rehearsal, key, rows of both blocks, all tries, the best one. Child only.

Rules
-----
1. Whatever can be wrong is found before `rehearsed`, at the least and at the largest clip that a candidate may have;
   after the key there is one outcome, whatever the rows are.
2. One `need` stands for the whole selection. Nothing is sent between it and the result: no progress, no savepoint.
3. What is sent of the best try: its weights, its candidate's places and its self-test. Of the others nothing, and no
   score.
4. One thread, denormals flushed: a row must not be able to slow a try down.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, TypeAlias

from numpy.typing import NDArray

from kernel.ids import Entropy
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.graph.check import CheckedGraph
from privacy.graph.weights import pack_weights, unpack_initial
from privacy.jobs.assignment import LIMIT, Role, TuningAssignment, require_role
from privacy.jobs.plan import Performance, TrainingPlan, TuningPlan, performance_of
from privacy.jobs.search import Figure
from privacy.jobs.tuning_plan import score_deviation
from privacy.sandbox.frames import Channel
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.selftest.claims import Claims
from privacy.selftest.rehearsal import CHECK_OF, rehearse
from privacy.selftest.report import Check, SelfTest
from privacy.selftest.witness import Witness
from privacy.training.choosing import choose_engine
from privacy.training.dialogue import LARGEST_BODY, ask, expect
from privacy.training.engine import Engine
from privacy.training.loading import load_units
from privacy.training.plan_runner import Units, run_plan
from privacy.training.preflight import RehearsalError
from privacy.training.rows import RowEncoder, Rows
from privacy.training.runner import quiet_arithmetic
from privacy.training.state import RunState, first_state, released_weights
from privacy.tuning.scoring import right_predictions
from privacy.tuning.selecting import select

Weights: TypeAlias = Mapping[str, NDArray[Any]]


def main(channel: Channel, request: Mapping[str, Any]) -> None:
    """Run one tuning assignment over the pipe.

    Args:
        channel: The pipe; the assignment is its next frame.
        request: The first frame's header, which named the role.

    Raises:
        PrivgateError: The assignment is wrong, the engine fails its rehearsal, or a part does not open.
    """
    require_role(request, Role.TUNE)
    quiet_arithmetic()
    assignment = TuningAssignment.from_bytes(expect(channel, "assignment", LIMIT))
    plan, model = assignment.plan, assignment.model()
    encoder = RowEncoder(assignment.table.features, assignment.table.schema)
    engine = choose_engine(model, plan.training.loss, plan.training)
    performance = performance_of(plan.training, model)
    try:
        for one in _rehearsed_plans(plan):
            rehearsed = rehearse(one, performance, model, encoder, assignment.table.schema, engine)
    except RehearsalError as error:
        # The name may be told: rows were made up, and this process has had no key yet.
        channel.send({"check": CHECK_OF[error.message].value, "m": "unrehearsed"})
        raise
    channel.send({"m": "rehearsed"})
    body = expect(channel, "key", LARGEST_BODY)
    if not ask(channel, 1):
        return
    with SecretBytes(body[:KEY_BYTES]) as key:
        units = load_units(assignment.table, encoder, key)
        held_out = load_units(assignment.holdout(), encoder, key).used_rows()
    tries = Attempts(assignment, model, engine, performance, units, held_out, rehearsed)
    best = select(plan.tries, plan.search, tries.attempt, ExactSource())
    weights, self_test = best.result
    result = {"m": "result", "steps": 1, "candidate": list(best.places), "self_test": self_test.to_fields()}
    channel.send(result, pack_weights(model.graph, weights))


def _rehearsed_plans(plan: TuningPlan) -> list[TrainingPlan]:
    """Plans at the least and at the largest clip: nothing else that candidates differ in is rehearsed."""
    one = plan.training
    clips = next((s.values for s in plan.search.figures if s.figure is Figure.CLIP), (one.recipe.clip,))
    ends = {min(clips, key=lambda clip: clip.number), max(clips, key=lambda clip: clip.number)}
    return [dataclasses.replace(one, recipe=dataclasses.replace(one.recipe, clip=clip)) for clip in ends]


class Attempts:
    """Tries on the rows of one assignment, each with randomness of its own."""

    def __init__(
        self,
        assignment: TuningAssignment,
        model: CheckedGraph,
        engine: Engine,
        performance: Performance,
        units: Units,
        held_out: Rows,
        rehearsed: tuple[Check, ...],
        entropy: Entropy = os.urandom,
    ) -> None:
        self._assignment, self._plan, self._model = assignment, assignment.plan, model
        self._engine, self._performance = engine, performance
        self._units, self._held_out = units, held_out
        self._rehearsed, self._entropy = rehearsed, entropy
        self._variance = Fraction(score_deviation(assignment.plan)) ** 2

    def attempt(self, places: tuple[int, ...]) -> tuple[int, tuple[Weights, SelfTest]]:
        """Train and score one candidate.

        Guarantee: To people who train, what the plan's `training` costs; to people held out, one sum of sensitivity
        `rows_per_unit` with Gaussian noise of the plan's multiplier.
        """
        plan = self._plan.candidate(places)
        witness = Witness(Claims.of(plan), entropy=self._entropy)
        state = run_plan(
            plan, self._performance, self._engine, self._units, _Unheard(), self._start(), witness, self._entropy
        )
        weights = released_weights(plan, self._model.graph, state)
        return self._score(weights), (weights, witness.report(self._rehearsed))

    def _start(self) -> RunState:
        graph, initial = self._assignment.graph, self._assignment.initial
        return first_state(graph, self._entropy, None if initial is None else unpack_initial(graph, initial))

    def _score(self, weights: Weights) -> int:
        right = right_predictions(self._model, weights, self._held_out, self._plan.target)
        return right + ExactSource(self._entropy).gaussian(self._variance)


class _Unheard:
    """A run's dialogue with nobody: its steps were announced with the selection, and nothing is saved."""

    def may_start(self, upto: int) -> bool:  # noqa: ARG002 - a protocol's name
        """The selection was let go as a whole."""
        return True

    def save(self, state: RunState) -> None:
        """A run without savepoints is never asked this."""
        raise AssertionError(state.step)
