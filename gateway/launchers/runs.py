"""What the launcher must know of each kind of job: its assignment, what follows the key, the form of its result.

Rules
-----
1. A kind's run is a class here or in a module of its own, and a line in `RUNS`.
2. A result is read as what a hostile program wrote: exactly what such a plan can give, and not a byte beside.
3. Nothing here depends on rows: what is prepared is known before the envelope opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.records import JobRecord
from gateway.services.collaborators import Collaborators
from gateway.services.job_facts import training_spec_of
from gateway.services.release_desk import open_artifact
from gateway.services.run_job import Opened
from gateway.unit_of_work import Reading
from kernel.errors import CorruptError
from kernel.ids import ReleaseId
from privacy.evaluation.design import Design
from privacy.evaluation.report import read_evaluation
from privacy.graph.spec import ModelGraph
from privacy.graph.weights import pack_weights, unpack_weights
from privacy.jobs.assignment import EvaluationAssignment, PartFile, Table, TrainingAssignment
from privacy.jobs.model import initial_of
from privacy.jobs.plan import EvaluationPlan, TrainingPlan
from privacy.jobs.spec import JobKind, TrainingSpec
from privacy.schema import TableSchema
from privacy.sealing.deks import expand
from privacy.sealing.stores import BlobPath
from privacy.selftest.claims import Claims
from privacy.selftest.report import Check, SelfTest, failed, judge, require_whole
from privacy.units import PrivacyUnit

JOB_KEY = b"privgate/job-key/v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """What an assignment is written from: the job, and what was declared of its dataset.

    Attributes:
        job: As it is stored.
        schema, unit: The dataset's.
        parts: The ciphertext files of the job's block.
    """

    job: JobRecord
    schema: TableSchema
    unit: PrivacyUnit
    parts: tuple[PartFile, ...]


class Run(Protocol):
    """One attempt of a job, as far as it is particular to the job's kind."""

    @property
    def assignment(self) -> bytes:
        """What the child is told before it has a key."""

    @property
    def first(self) -> int:
        """The step after which this attempt starts."""

    @property
    def steps(self) -> int:
        """The steps of one undisturbed run."""

    def after_key(self, on: Collaborators, opened: Opened) -> bytes:
        """What follows the data key in the frame that hands it over."""

    def require_form(self, artifact: bytes) -> None:
        """Return if this is the result of such a job, written in the one way; raise `PrivgateError` otherwise."""

    def read_self_test(self, written: Any) -> SelfTest | None:
        """Read the self-test; raise `PrivgateError` if it is missing, malformed or where none belongs."""

    def failed_checks(self, self_test: SelfTest | None) -> tuple[Check, ...]:
        """The verdict on a self-test, from its figures; the child tells none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OneStep:
    """What runs share that have one step, no savepoint and no self-test."""

    assignment: bytes

    @property
    def first(self) -> int:
        """Every attempt starts anew."""
        return 0

    @property
    def steps(self) -> int:
        """One."""
        return 1

    def after_key(self, on: Collaborators, opened: Opened) -> bytes:  # noqa: ARG002 - the protocol's
        """Nothing but the key is needed."""
        return b""

    def read_self_test(self, written: Any) -> SelfTest | None:
        """There is none, and none may be sent."""
        if written is not None:
            raise CorruptError("this kind of job has no self-test")
        return None

    def failed_checks(self, self_test: SelfTest | None) -> tuple[Check, ...]:  # noqa: ARG002 - the protocol's
        """None: nothing was tested."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """The run of a training: from its last savepoint, to weights."""

    job: JobRecord
    plan: TrainingPlan
    graph: ModelGraph
    assignment: bytes

    @property
    def first(self) -> int:
        """The step of the last savepoint."""
        return self.job.savepoint_step

    @property
    def steps(self) -> int:
        """As planned."""
        return self.plan.recipe.steps

    def after_key(self, on: Collaborators, opened: Opened) -> bytes:
        """The key of the job's savepoints, and the last of them."""
        job_key = expand(opened.key, JOB_KEY + opened.job.id.encode("ascii"))
        return job_key + _savepoint(on, self.job)

    def require_form(self, artifact: bytes) -> None:
        """Weights of this very graph."""
        if pack_weights(self.graph, unpack_weights(self.graph, artifact)) != artifact:
            raise CorruptError("a child's result is not written as weights are")

    def read_self_test(self, written: Any) -> SelfTest | None:
        """Always there, over all steps of this attempt."""
        return require_whole(SelfTest.from_fields(written), self.steps - self.first)

    def failed_checks(self, self_test: SelfTest | None) -> tuple[Check, ...]:
        """Every check of the figures against what the plan claims."""
        return () if self_test is None else failed(judge(self_test, Claims.of(self.plan), self.plan.uses()))


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRun(OneStep):
    """The run of an evaluation: a released model's weights in, noisy counts out."""

    plan: EvaluationPlan
    design: Design

    def after_key(self, on: Collaborators, opened: Opened) -> bytes:  # noqa: ARG002 - the protocol's
        """The released weights."""
        with on.database.read() as reading:
            release = reading.releases.get(id=self.plan.release)
            wrapped = reading.deks.get(release.artifact_dek)
        return open_artifact(on, release, wrapped)

    def require_form(self, artifact: bytes) -> None:
        """An evaluation of this very plan."""
        read_evaluation(artifact, self.design)


def _training(reading: Reading, of: Declarations) -> Run:  # noqa: ARG001 - the table's
    job, plan = of.job, TrainingPlan.from_fields(of.job.plan)
    spec = TrainingSpec.from_json(job.spec)
    graph = spec.model_graph(of.schema).graph
    assignment = TrainingAssignment(
        tenant=job.tenant,
        job=job.id,
        plan=plan,
        graph=graph,
        table=_table(spec, of),
        initial=initial_of(spec.model),
        savepoint=job.savepoint_step,
        attempt=job.attempts + 1,
        started=job.steps_started,
    )
    return TrainingRun(job=job, plan=plan, graph=graph, assignment=assignment.to_bytes())


def _evaluation(reading: Reading, of: Declarations) -> Run:
    job, plan = of.job, EvaluationPlan.from_fields(of.job.plan)
    spec = training_spec_of(reading, job.tenant, ReleaseId(plan.release))
    graph = spec.model_graph(of.schema).graph
    assignment = EvaluationAssignment(tenant=job.tenant, job=job.id, plan=plan, graph=graph, table=_table(spec, of))
    design = Design.of(plan, spec.features, of.schema)
    return EvaluationRun(plan=plan, design=design, assignment=assignment.to_bytes())


def _table(spec: TrainingSpec, of: Declarations) -> Table:
    return Table(features=spec.features, schema=of.schema, unit=of.unit, parts=of.parts)


def _savepoint(on: Collaborators, job: JobRecord) -> bytes:
    if job.savepoint_blob is None:
        return b""
    with on.blobs.open(BlobPath(job.savepoint_blob)) as blob:
        return blob.read()


RUNS: Final[Mapping[JobKind, Callable[[Reading, Declarations], Run]]] = {
    JobKind.TRAINING: _training,
    JobKind.EVALUATION: _evaluation,
}
"""For each kind of job: what prepares its next attempt; raises `PrivgateError` if it cannot be prepared."""
