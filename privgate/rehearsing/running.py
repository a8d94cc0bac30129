"""The run of a rehearsal: what a job's child does, step by step, in this process. Needs the extra `train`.

Rules
-----
1. The order is that of a job: assignment, second accountant, hostile rows, steps with noise, savepoints, packed
   weights, self-test. Whatever ends a job before its envelope opens ends the rehearsal, with a sentence.
2. One thread and flushed denormals while it runs, as in the child; afterwards torch is as it was.
3. A shortened run is the same plan with fewer steps: everything but their number stays.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from kernel.errors import CorruptError, InvalidError
from kernel.ids import JobId, TenantId
from privacy.accounting.google import agree
from privacy.graph.weights import pack_weights, unpack_initial, unpack_weights
from privacy.jobs.assignment import Table, TrainingAssignment
from privacy.jobs.model import initial_of
from privacy.jobs.plan import MOST_CHUNKS, TrainingPlan, performance_of
from privacy.jobs.spec import TrainingSpec
from privacy.schema import TableSchema
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.secret import SecretBytes
from privacy.selftest.claims import Claims
from privacy.selftest.rehearsal import CHECK_OF, rehearse
from privacy.selftest.report import failed, judge
from privacy.selftest.witness import Witness
from privacy.training.choosing import choose_engine
from privacy.training.dialogue import LARGEST_BODY
from privacy.training.plan_runner import Units, run_plan
from privacy.training.preflight import RehearsalError
from privacy.training.rows import RowEncoder
from privacy.training.runner import quiet_arithmetic
from privacy.training.savepoints import open_state, seal_state
from privacy.training.state import RunState, first_state, released_weights
from privacy.units import PrivacyUnit

Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a run of the plan gave.

    Attributes:
        weights: As a release packs them.
        steps: How many were run.
        seconds_per_step: On this machine, in one thread.
        seconds_before: Of everything before the first step.
        units_at_once, micro_batches: How a step is cut.
        failed_checks: Names of the self-test's checks that did not pass: none, if all is well.
        savepoint_bytes: How long a savepoint is.
    """

    weights: bytes
    steps: int
    seconds_per_step: float
    seconds_before: float
    units_at_once: int
    micro_batches: int
    failed_checks: tuple[str, ...]
    savepoint_bytes: int


def run(
    spec: TrainingSpec,
    plan: TrainingPlan,
    schema: TableSchema,
    unit: PrivacyUnit,
    units: Units,
    steps: int,
    on_progress: Progress | None = None,
) -> Ran:
    """Run a plan on rows that are in memory.

    Args:
        spec: The request in its final form.
        plan: What was made of it.
        schema: The declared columns.
        unit: Who is protected.
        units: The rows, by unit.
        steps: How many steps to run; at most the plan's.
        on_progress: Called with the steps done and those to do, before each tenth and at the end.

    Raises:
        InvalidError: The engine does not compute what it must on this model: the gateway would end the job.
        UnavailableError: The second accountant does not confirm the price.
    """
    with as_in_a_child():
        begun = time.perf_counter()
        assignment = _assigned(spec, plan, schema, unit)
        model = assignment.model()
        agree(plan.uses(), order=plan.order, delta=plan.delta)
        encoder, engine = RowEncoder(spec.features, schema), choose_engine(model, plan.loss, plan)
        performance = performance_of(plan, model)
        try:
            rehearsed = rehearse(plan, performance, model, encoder, schema, engine)
        except RehearsalError as error:
            raise _unrehearsed(error) from None
        short, before = shortened(plan, steps), time.perf_counter() - begun
        given = None if assignment.initial is None else unpack_initial(model.graph, assignment.initial)
        witness, dialogue = Witness(Claims.of(short)), _Nobody(assignment, short, on_progress)
        state = first_state(model.graph, given=given)
        begun = time.perf_counter()
        state = run_plan(short, performance, engine, units, dialogue, state, witness)
        seconds = time.perf_counter() - begun
        dialogue.tell()
        weights = pack_weights(model.graph, released_weights(short, model.graph, state))
        unpack_weights(model.graph, weights)
        found = judge(witness.report(rehearsed), Claims.of(short), short.uses())
    return Ran(
        weights=weights,
        steps=state.step,
        seconds_per_step=seconds / state.step,
        seconds_before=before,
        units_at_once=performance.units_at_once,
        micro_batches=performance.least_micro_batches,
        failed_checks=tuple(check.value for check in failed(found)),
        savepoint_bytes=dialogue.savepoint_bytes,
    )


def shortened(plan: TrainingPlan, steps: int) -> TrainingPlan:
    """The plan with so many of its steps."""
    if steps >= plan.recipe.steps:
        return plan
    recipe = dataclasses.replace(plan.recipe, steps=steps)
    return dataclasses.replace(plan, recipe=recipe, savepoint_interval=math.ceil(steps / MOST_CHUNKS))


def most_memory() -> int | None:
    """The most that this process has had in memory, in bytes; nothing where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


@contextmanager
def as_in_a_child() -> Iterator[None]:
    """Arithmetic as a job's child has it; what was set before comes back."""
    threads, flushed = torch.get_num_threads(), _flushes()
    quiet_arithmetic()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)


def _flushes() -> bool:
    smallest = torch.tensor([2.0**-1074], dtype=torch.float64)
    return float(smallest.mul(1.0)) == 0.0


def _assigned(spec: TrainingSpec, plan: TrainingPlan, schema: TableSchema, unit: PrivacyUnit) -> TrainingAssignment:
    """What a child would be told, through the same bytes."""
    written = TrainingAssignment(
        tenant=TenantId.new(os.urandom),
        job=JobId.new(os.urandom),
        plan=plan,
        graph=spec.model_graph(schema).graph,
        table=Table(features=spec.features, schema=schema, unit=unit, parts=()),
        initial=initial_of(spec.model),
    )
    return TrainingAssignment.from_bytes(written.to_bytes())


def _unrehearsed(error: RehearsalError) -> InvalidError:
    return InvalidError(
        f"the engine fails on this model and made-up rows: {error.message} (check `{CHECK_OF[error.message].value}`); "
        "the gateway would end the job before its envelope opens",
        field="model",
    )


@dataclass
class _Nobody:
    """The parent's side, with nobody to ask: savepoints are sealed and opened under a key that is thrown away."""

    assignment: TrainingAssignment
    plan: TrainingPlan
    on_progress: Progress | None
    savepoint_bytes: int = 0
    key: SecretBytes = field(default_factory=lambda: SecretBytes.random(KEY_BYTES, os.urandom))
    done: int = 0

    def may_start(self, upto: int) -> bool:
        """Nothing private is read: yes."""
        self.tell()
        self.done = upto
        return True

    def tell(self) -> None:
        """Say how far it is."""
        if self.on_progress is not None:
            self.on_progress(self.done, self.plan.recipe.steps)

    def save(self, state: RunState) -> None:
        """Seal a savepoint as a child does, and hold it to what a parent takes."""
        of, size = self.assignment, len(state.weights)
        sealed = seal_state(state, self.plan, self.key, of.tenant, of.job)
        if len(sealed) > LARGEST_BODY:
            raise CorruptError("a savepoint is longer than a frame")
        open_state(sealed, self.plan, state.step, size, self.key, of.tenant, of.job)
        self.savepoint_bytes = len(sealed)
