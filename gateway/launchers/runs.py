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
from privacy.glm.report import require_glm
from privacy.graph.spec import ModelGraph
from privacy.graph.weights import pack_weights, unpack_weights
from privacy.jobs.assignment import (
    EvaluationAssignment,
    GlmAssignment,
    PartFile,
    StatisticsAssignment,
    SynthesisAssignment,
    Table,
    TrainingAssignment,
    TuningAssignment,
)
from privacy.jobs.model import initial_of
from privacy.jobs.plan import EvaluationPlan, GlmPlan, StatisticsPlan, SynthesisPlan, TrainingPlan, TuningPlan
from privacy.jobs.spec import GlmSpec, JobKind, StatisticsSpec, SynthesisSpec, TrainingSpec, TuningSpec
from privacy.schema import TableSchema
from privacy.sealing.deks import expand
from privacy.sealing.stores import BlobPath
from privacy.selftest.claims import Claims
from privacy.selftest.report import Check, SelfTest, failed, judge, require_whole
from privacy.statistics.report import read_statistics
from privacy.synthesis.report import read_synthesis
from privacy.units import PrivacyUnit

JOB_KEY = b"privgate/job-key/v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """What an assignment is written from: the job, and what was declared of its dataset.

    Attributes:
        job: As it is stored.
        schema, unit: The dataset's.
        parts: The ciphertext files of the job's block.
        others: Those of its further blocks, in the order in which the plan names them.
    """

    job: JobRecord
    schema: TableSchema
    unit: PrivacyUnit
    parts: tuple[PartFile, ...]
    others: tuple[tuple[PartFile, ...], ...] = ()


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

    def read_candidate(self, written: Any) -> tuple[int, ...] | None:
        """Read which candidate was selected; raise `PrivgateError` if it is none, or where none belongs."""


class NoCandidates:
    """What runs share in which nothing is selected."""

    __slots__ = ()

    def read_candidate(self, written: Any) -> tuple[int, ...] | None:
        """There are none, and none may be named."""
        if written is not None:
            raise CorruptError("this kind of job selects nothing")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class OneStep(NoCandidates):
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
class TrainingRun(NoCandidates):
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
        require_weights(self.graph, artifact)

    def read_self_test(self, written: Any) -> SelfTest | None:
        """Always there, over all steps of this attempt."""
        return require_whole(SelfTest.from_fields(written), self.steps - self.first)

    def failed_checks(self, self_test: SelfTest | None) -> tuple[Check, ...]:
        """Every check of the figures against what the plan claims."""
        return () if self_test is None else failed(judge(self_test, Claims.of(self.plan), self.plan.uses()))


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsRun(OneStep):
    """The run of statistics: noisy numbers out."""

    plan: StatisticsPlan
    spec: StatisticsSpec

    def require_form(self, artifact: bytes) -> None:
        """Statistics of this very request and plan."""
        read_statistics(self.spec, self.plan, artifact)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisRun(OneStep):
    """The run of a synthetic table: noisy counts along a chosen tree out."""

    plan: SynthesisPlan
    spec: SynthesisSpec

    def require_form(self, artifact: bytes) -> None:
        """Counts of this very request and plan, of some tree that spans all columns."""
        read_synthesis(self.spec, self.plan, artifact)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlmRun(OneStep):
    """The run of a generalised linear model: noisy sums and their table out."""

    told: GlmAssignment

    def require_form(self, artifact: bytes) -> None:
        """A table that follows from the noisy sums of this very plan."""
        require_glm(self.told.plan, self.told.table.features.label.column, self.told.design(), artifact)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRun(OneStep):
    """The run of a tuning: one step, after which the best try's weights, self-test and candidate are there."""

    plan: TuningPlan
    graph: ModelGraph

    def require_form(self, artifact: bytes) -> None:
        """Weights of this very graph."""
        require_weights(self.graph, artifact)

    def read_self_test(self, written: Any) -> SelfTest | None:
        """That of the best try, over all of its steps."""
        return require_whole(SelfTest.from_fields(written), self.plan.training.recipe.steps)

    def failed_checks(self, self_test: SelfTest | None) -> tuple[Check, ...]:
        """Every check of the figures against what a try claims, whichever candidate it was."""
        one = self.plan.training
        return () if self_test is None else failed(judge(self_test, Claims.of(one), one.uses()))

    def read_candidate(self, written: Any) -> tuple[int, ...] | None:
        """One of this very search."""
        self.plan.candidate(written)
        return tuple(written)


def require_weights(graph: ModelGraph, artifact: bytes) -> None:
    """Return if these are weights of this graph, written in the one way; raise `PrivgateError` otherwise."""
    if pack_weights(graph, unpack_weights(graph, artifact)) != artifact:
        raise CorruptError("a child's result is not written as weights are")


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


def _tuning(reading: Reading, of: Declarations) -> Run:  # noqa: ARG001 - the table's
    job, plan, spec = of.job, TuningPlan.from_fields(of.job.plan), TuningSpec.from_json(of.job.spec)
    graph, (scored,) = spec.model_graph(of.schema).graph, of.others
    assignment = TuningAssignment(
        tenant=job.tenant,
        job=job.id,
        plan=plan,
        graph=graph,
        table=_table(spec.training, of),
        scored=scored,
        initial=initial_of(spec.model),
    )
    return TuningRun(plan=plan, graph=graph, assignment=assignment.to_bytes())


def _evaluation(reading: Reading, of: Declarations) -> Run:
    job, plan = of.job, EvaluationPlan.from_fields(of.job.plan)
    spec = training_spec_of(reading, job.tenant, ReleaseId(plan.release))
    graph = spec.model_graph(of.schema).graph
    assignment = EvaluationAssignment(tenant=job.tenant, job=job.id, plan=plan, graph=graph, table=_table(spec, of))
    design = Design.of(plan, spec.features, of.schema)
    return EvaluationRun(plan=plan, design=design, assignment=assignment.to_bytes())


def _statistics(reading: Reading, of: Declarations) -> Run:  # noqa: ARG001 - the table's
    job, plan = of.job, StatisticsPlan.from_fields(of.job.plan)
    spec = StatisticsSpec.from_json(job.spec)
    assignment = StatisticsAssignment(
        tenant=job.tenant, job=job.id, plan=plan, spec=spec, schema=of.schema, unit=of.unit, parts=of.parts
    )
    return StatisticsRun(plan=plan, spec=spec, assignment=assignment.to_bytes())


def _synthesis(reading: Reading, of: Declarations) -> Run:  # noqa: ARG001 - the table's
    job, plan = of.job, SynthesisPlan.from_fields(of.job.plan)
    spec = SynthesisSpec.from_json(job.spec)
    assignment = SynthesisAssignment(
        tenant=job.tenant, job=job.id, plan=plan, spec=spec, schema=of.schema, unit=of.unit, parts=of.parts
    )
    return SynthesisRun(plan=plan, spec=spec, assignment=assignment.to_bytes())


def _glm(reading: Reading, of: Declarations) -> Run:  # noqa: ARG001 - the table's
    job, plan = of.job, GlmPlan.from_fields(of.job.plan)
    told = GlmAssignment(tenant=job.tenant, job=job.id, plan=plan, table=_table(GlmSpec.from_json(job.spec), of))
    return GlmRun(told=told, assignment=told.to_bytes())


def _table(spec: TrainingSpec | GlmSpec, of: Declarations) -> Table:
    return Table(features=spec.features, schema=of.schema, unit=of.unit, parts=of.parts)


def _savepoint(on: Collaborators, job: JobRecord) -> bytes:
    if job.savepoint_blob is None:
        return b""
    with on.blobs.open(BlobPath(job.savepoint_blob)) as blob:
        return blob.read()


RUNS: Final[Mapping[JobKind, Callable[[Reading, Declarations], Run]]] = {
    JobKind.TRAINING: _training,
    JobKind.EVALUATION: _evaluation,
    JobKind.TUNING: _tuning,
    JobKind.STATISTICS: _statistics,
    JobKind.GLM: _glm,
    JobKind.SYNTHESIS: _synthesis,
}
"""For each kind of job: what prepares its next attempt; raises `PrivgateError` if it cannot be prepared."""
