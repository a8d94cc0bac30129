"""The local launcher: one attempt of a job in a confined child on this machine.

Rules
-----
1. Everything that can fail for the job's own reasons fails before the envelope opens: assignment, rehearsal, and the
   second accountant's opinion.
2. No data key is unwrapped before the hold is touched. Then the manifest that the reservation pinned is opened, and
   every part must be byte for byte the one it names.
3. The answer to a frame is given after the commit that it stands for.
4. Whatever happens in the child, the worker learns one of: finished, cancelled, died.
5. A result is read as what a hostile program wrote: weights of this very graph, or an evaluation of this very plan,
   and not a byte beside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.launchers.parts import listed_parts, verify_parts
from gateway.records import JobRecord, TaskRecord
from gateway.services import run_job
from gateway.services.certify import SecondOpinion
from gateway.services.collaborators import Collaborators
from gateway.services.job_facts import read_plan, training_spec_of
from gateway.services.owner_facts import read_manifest
from gateway.services.release_desk import open_artifact
from gateway.services.run_job import Opened, Steps
from gateway.unit_of_work import Reading
from kernel.amounts import Delta
from kernel.errors import CorruptError, PrivgateError, StaleError
from kernel.ids import JobId
from privacy.accounting.mechanisms import MechanismUse
from privacy.evaluation.report import read_evaluation
from privacy.graph.spec import ModelGraph
from privacy.graph.weights import pack_weights, unpack_weights
from privacy.jobs.assignment import EvaluationAssignment, PartFile, Table, TrainingAssignment
from privacy.jobs.model import initial_of
from privacy.jobs.plan import EvaluationPlan, Plan, TrainingPlan
from privacy.jobs.spec import TrainingSpec
from privacy.sandbox.frames import Channel
from privacy.sandbox.limits import Level, Limits
from privacy.sandbox.spawn import spawn
from privacy.schema import TableSchema
from privacy.sealing.deks import expand
from privacy.sealing.manifest import Split
from privacy.sealing.stores import BlobPath
from privacy.selftest.claims import Claims
from privacy.selftest.report import REHEARSED, Check, SelfTest, failed, judge, require_whole
from privacy.units import PrivacyUnit

LARGEST_BODY = 128 * 2**20
JOB_KEY = b"privgate/job-key/v1\x00"
ROUGH = 10

Opinion = Callable[[tuple[MechanismUse, ...], int, Delta], SecondOpinion]


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """How far children are confined, and what each kind may use."""

    minimum: Level
    job: Limits
    ingest: Limits


@dataclass(frozen=True, slots=True)
class Finished:
    """The child's result, with what the certificate will need."""

    opened: Opened
    artifact: bytes
    self_test: SelfTest | None


@dataclass(frozen=True, slots=True)
class SelfTestFailed:
    """The run is over, but the mechanism did not do what it claims: nothing of it may leave."""

    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job was cancelled; the child was told to stop."""


@dataclass(frozen=True, slots=True)
class Died:
    """The child or its preparation failed.

    Attributes:
        touched: Whether the envelope was open.
        rehearsal: The check at which the child's rehearsal failed, if that was it: for the operator's log alone.
    """

    touched: bool
    rehearsal: Check | None = None


End = Finished | SelfTestFailed | Cancelled | Died


@dataclass(frozen=True, slots=True)
class _Prepared:
    job: JobRecord
    plan: Plan
    graph: ModelGraph
    assignment: bytes
    parts: tuple[PartFile, ...]
    steps: int


def run_in_child(on: Collaborators, task: TaskRecord, confinement: Confinement, opinion: Opinion) -> End:
    """Run a job's next attempt to its end.

    Raises:
        StaleError: Another worker took the task over.
    """
    with tempfile.TemporaryDirectory(prefix="privgate-parts-") as spool:
        try:
            prepared = _prepare(on, JobId(task.subject), Path(spool))
            opinion(prepared.plan.uses(), prepared.plan.order, prepared.plan.delta)
        except PrivgateError:
            return Died(touched=False)
        return _converse(on, task, confinement, prepared)


def _converse(on: Collaborators, task: TaskRecord, confinement: Confinement, prepared: _Prepared) -> End:
    role = "train" if isinstance(prepared.plan, TrainingPlan) else "evaluate"
    readable = [Path(part.path) for part in prepared.parts]
    opened: Opened | None = None
    try:
        with spawn(role, limits=confinement.job, readable=readable, minimum=confinement.minimum) as child:
            child.channel.send({"m": "assignment"}, prepared.assignment)
            if (unmet := _unmet(child.channel)) is not None:
                return Died(touched=False, rehearsal=unmet)
            opened = run_job.open_envelope(on, task)
            if opened is None:
                return Cancelled()
            with opened.key:
                child.channel.send({"m": "key"}, _key_body(on, opened, prepared))
            result = _Dialogue(on, task, opened, prepared, child.channel).result()
            if result is None:
                return Cancelled()
            _check_form(prepared, result.artifact)
            self_test = _read_self_test(prepared, result.self_test)
    except StaleError:
        raise
    except (PrivgateError, OSError):
        return Died(touched=opened is not None)
    return _judged(prepared.plan, Finished(opened, result.artifact, self_test))


def _read_self_test(prepared: _Prepared, written: Any) -> SelfTest | None:
    """Read a training's self-test; raise `PrivgateError` if it is missing, malformed or where none belongs."""
    if isinstance(prepared.plan, TrainingPlan):
        return require_whole(SelfTest.from_fields(written), prepared.steps - prepared.job.savepoint_step)
    if written is not None:
        raise CorruptError("an evaluation has no self-test")
    return None


def _judged(plan: Plan, finished: Finished) -> End:
    """The verdict on a self-test, from its figures; the child tells none."""
    if not isinstance(plan, TrainingPlan) or finished.self_test is None:
        return finished
    checks = failed(judge(finished.self_test, Claims.of(plan), plan.uses()))
    return SelfTestFailed(checks) if checks else finished


def _prepare(on: Collaborators, job_id: JobId, spool: Path) -> _Prepared:
    with on.database.read() as reading:
        job = reading.jobs.get(id=job_id)
        plan = read_plan(job.kind, job.plan)
        dataset = reading.datasets.get(id=job.dataset)
        reservation = reading.ledger.read(job.population, job=job_id).reservation
        if reservation is None:
            raise CorruptError("a queued job has no reservation")
        version = reading.versions.get(dataset=job.dataset, manifest_digest=reservation.manifest)
        training = isinstance(plan, TrainingPlan)
        spec = TrainingSpec.from_json(job.spec) if training else _spec_of(plan, reading, job)
    split = Split.TRAIN if training else Split.HOLDOUT
    schema, parts = TableSchema.from_json(dataset.schema), listed_parts(on.blobs, version, split, spool)
    unit = PrivacyUnit.from_json(dataset.unit)
    table = Table(features=spec.features, schema=schema, unit=unit, parts=parts)
    graph = spec.model_graph(schema).graph
    assignment: TrainingAssignment | EvaluationAssignment
    if isinstance(plan, TrainingPlan):
        assignment = TrainingAssignment(
            tenant=job.tenant,
            job=job.id,
            plan=plan,
            graph=graph,
            table=table,
            initial=initial_of(spec.model),
            savepoint=job.savepoint_step,
            attempt=job.attempts + 1,
            started=job.steps_started,
        )
        return _Prepared(job, plan, graph, assignment.to_bytes(), parts, plan.recipe.steps)
    assignment = EvaluationAssignment(tenant=job.tenant, job=job.id, plan=plan, graph=graph, table=table)
    return _Prepared(job, plan, graph, assignment.to_bytes(), parts, 1)


def _spec_of(plan: Plan, reading: Reading, job: JobRecord) -> TrainingSpec:
    assert isinstance(plan, EvaluationPlan)
    return training_spec_of(reading, job.tenant, plan.release)


def _key_body(on: Collaborators, opened: Opened, prepared: _Prepared) -> bytes:
    """What follows the point of no return: keys, then the savepoint or the released weights."""
    manifest = read_manifest(on, opened.version, opened.key)
    split = Split.TRAIN if isinstance(prepared.plan, TrainingPlan) else Split.HOLDOUT
    verify_parts(manifest, split, prepared.parts)
    if isinstance(prepared.plan, EvaluationPlan):
        return opened.key.reveal() + _weights(on, prepared.plan)
    job_key = expand(opened.key, JOB_KEY + opened.job.id.encode("ascii"))
    return opened.key.reveal() + job_key + _savepoint(on, prepared.job)


def _weights(on: Collaborators, plan: EvaluationPlan) -> bytes:
    with on.database.read() as reading:
        release = reading.releases.get(id=plan.release)
        wrapped = reading.deks.get(release.artifact_dek)
    return open_artifact(on, release, wrapped)


def _savepoint(on: Collaborators, job: JobRecord) -> bytes:
    if job.savepoint_blob is None:
        return b""
    with on.blobs.open(BlobPath(job.savepoint_blob)) as blob:
        return blob.read()


def _unmet(channel: Channel) -> Check | None:
    """The check that a rehearsal did not pass, if there is one.

    A child that is asked this has been given no key, so that even one that lies can tell nothing of rows. What it says
    is one of a closed list of names all the same.
    """
    header, _ = channel.receive(0)
    failures = {check: {"m": "unrehearsed", "check": check.value} for check in REHEARSED}
    for check, failure in failures.items():
        if header == failure:
            return check
    if header != {"m": "rehearsed"}:
        raise CorruptError("a child sent something else than `rehearsed`")
    return None


def _check_form(prepared: _Prepared, artifact: bytes) -> None:
    """Return if this is the result of such a job, written in the one way; raise `PrivgateError` otherwise."""
    if isinstance(prepared.plan, EvaluationPlan):
        read_evaluation(prepared.plan, artifact)
    elif pack_weights(prepared.graph, unpack_weights(prepared.graph, artifact)) != artifact:
        raise CorruptError("a child's result is not written as weights are")


@dataclass(frozen=True, slots=True)
class _Result:
    artifact: bytes
    self_test: Any


class _Dialogue:
    """The parent's side of a run: each `need` is made durable, then answered."""

    def __init__(
        self, on: Collaborators, task: TaskRecord, opened: Opened, prepared: _Prepared, channel: Channel
    ) -> None:
        self._on, self._task, self._opened = on, task, opened
        self._channel = channel
        self._total = prepared.steps
        self._upto = prepared.job.savepoint_step if isinstance(prepared.plan, TrainingPlan) else 0

    def result(self) -> _Result | None:
        """Answer the child until its result; nothing if it was told to stop because of a cancellation."""
        while True:
            header, body = self._channel.receive(LARGEST_BODY)
            match header:
                case {"m": "need", "upto": int(upto)}:
                    if not self._start(upto):
                        return None
                case {"m": "savepoint", "step": int(step)} if step == self._upto:
                    attempt = self._opened.attempt
                    run_job.keep_savepoint(self._on, self._task, self._opened.job.id, step, body, attempt)
                case {"m": "result", "steps": int(steps), **rest} if steps == self._upto == self._total:
                    if not set(rest) <= {"self_test"}:
                        raise CorruptError("a child's result has members that do not belong there")
                    return _Result(body, rest.get("self_test"))
                case _:
                    raise CorruptError("a child sent a frame that does not belong here")

    def _start(self, upto: int) -> bool:
        if not self._upto < upto <= self._total:
            raise CorruptError("a child asked for steps that are not its own")
        percent = ROUGH * (ROUGH * self._upto // self._total)
        answer = run_job.start_steps(self._on, self._task, self._opened.job.id, upto - self._upto, percent)
        self._channel.send({"m": "go" if answer is Steps.GO else "stop"})
        if answer is Steps.UNCOVERED:
            raise CorruptError("a child asked for more steps than are held")
        self._upto = upto
        return answer is Steps.GO
