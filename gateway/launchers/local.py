"""The local launcher: one attempt of a job in a confined child on this machine.

Rules
-----
1. Everything that can fail for the job's own reasons fails before the envelope opens: assignment, rehearsal, and the
   second accountant's opinion.
2. No data key is unwrapped before the hold is touched. Then the manifest that the reservation pinned is opened, and
   every part must be byte for byte the one it names.
3. The answer to a frame is given after the commit that it stands for.
4. Whatever happens in the child, the worker learns one of: finished, cancelled, died.
5. A result is read as what a hostile program wrote. What it must look like, the job's kind says (`launchers.runs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gateway.launchers.parts import listed_parts, paid_home_only, verify_homes, verify_parts
from gateway.launchers.runs import RUNS, Declarations, Run
from gateway.records import TaskRecord
from gateway.services import run_job
from gateway.services.collaborators import Collaborators
from gateway.services.opinions import Opinion
from gateway.services.owner_facts import read_manifest
from gateway.services.run_job import Opened, Steps
from gateway.spools import spool
from kernel.errors import CorruptError, Kind, PrivgateError, StaleError, UnavailableError
from kernel.ids import JobId
from privacy.jobs.assignment import PartFile, Role
from privacy.jobs.kinds import kind_named
from privacy.jobs.plan import Plan, read_plan
from privacy.jobs.spec import JobKind
from privacy.sandbox.endings import Ending
from privacy.sandbox.frames import Channel
from privacy.sandbox.limits import Level, Limits
from privacy.sandbox.spawn import Child, spawn
from privacy.schema import TableSchema
from privacy.sealing.manifest import Split
from privacy.selftest.report import REHEARSED, Check, SelfTest
from privacy.units import PrivacyUnit

LARGEST_BODY = 128 * 2**20
ROUGH = 10


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
    candidate: tuple[int, ...] | None = None


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
        outside: Whether it was none of the job's doing: a store did not answer, a child did not come up or was killed.
        rehearsal: The check at which the child's rehearsal failed, if that was it: for the operator's log alone.
        cause: What went wrong before there was a child, if that was it: for the operator's log alone.
    """

    touched: bool
    outside: bool = False
    rehearsal: Check | None = None
    cause: Kind | None = None


End = Finished | SelfTestFailed | Cancelled | Died


@dataclass(frozen=True, slots=True)
class _Prepared:
    plan: Plan
    role: Role
    home_only: bool
    parts: Mapping[Split, tuple[PartFile, ...]]
    run: Run


def run_in_child(on: Collaborators, task: TaskRecord, confinement: Confinement, opinion: Opinion) -> End:
    """Run a job's next attempt to its end.

    Raises:
        StaleError: Another worker took the task over.
    """
    with spool() as folder:
        try:
            prepared = _prepare(on, JobId(task.subject), folder)
            opinion(prepared.plan.uses(), prepared.plan.order, prepared.plan.delta)
        except PrivgateError as error:
            return Died(touched=False, outside=isinstance(error, UnavailableError), cause=error.kind)
        return _converse(on, task, confinement, prepared)


def _converse(on: Collaborators, task: TaskRecord, confinement: Confinement, prepared: _Prepared) -> End:
    readable = [Path(part.path) for parts in prepared.parts.values() for part in parts]
    try:
        with spawn(
            prepared.role.value, limits=confinement.job, readable=readable, minimum=confinement.minimum
        ) as child:
            return _Conversation(on, task, prepared, child).end()
    except UnavailableError:
        # No child came up.
        return Died(touched=False, outside=True)


_DEATH_SECONDS = 2.0
"""How long a child that fell silent has to be found dead."""


class _Conversation:
    """What is said with a child, from its assignment to its result."""

    def __init__(self, on: Collaborators, task: TaskRecord, prepared: _Prepared, child: Child) -> None:
        self._on, self._task, self._prepared, self._child = on, task, prepared, child
        self._opened: Opened | None = None

    def end(self) -> End:
        """Hold it to its end."""
        try:
            return self._held()
        except StaleError:
            raise
        except (PrivgateError, OSError):
            touched = self._opened is not None
            return Died(touched=touched, outside=self._child.wait(_DEATH_SECONDS) is Ending.KILLED_MEMORY)

    def _held(self) -> End:
        on, prepared, channel, run = self._on, self._prepared, self._child.channel, self._prepared.run
        channel.send({"m": "assignment"}, run.assignment)
        if (unmet := _unmet(channel)) is not None:
            return Died(touched=False, rehearsal=unmet)
        opened = self._opened = run_job.open_envelope(on, self._task)
        if opened is None:
            return Cancelled()
        with opened.key:
            channel.send({"m": "key"}, _key_body(on, opened, prepared))
        result = _Dialogue(on, self._task, opened, prepared, channel).result()
        if result is None:
            return Cancelled()
        run.require_form(result.artifact)
        self_test, candidate = run.read_self_test(result.self_test), run.read_candidate(result.candidate)
        checks = run.failed_checks(self_test)
        return SelfTestFailed(checks) if checks else Finished(opened, result.artifact, self_test, candidate)


def _prepare(on: Collaborators, job_id: JobId, copies: Path) -> _Prepared:
    with on.database.read() as reading:
        job = reading.jobs.get(id=job_id)
        plan = read_plan(job.kind, job.plan)
        dataset = reading.datasets.get(id=job.dataset)
        reservation = reading.ledger.read(job.population, job=job_id).reservation
        if reservation is None:
            raise CorruptError("a queued job has no reservation")
        version = reading.versions.get(dataset=job.dataset, manifest_digest=reservation.manifest)
        home_only = paid_home_only(reservation, version)
        listed = partial(listed_parts, on.blobs, version, spool=copies, home_only=home_only)
        parts = {split: listed(split=split) for split in splits_of(plan)}
        first, *others = parts.values()
        declared = Declarations(
            job=job,
            schema=TableSchema.from_json(dataset.schema),
            unit=PrivacyUnit.from_json(dataset.unit),
            parts=first,
            others=tuple(others),
        )
        run = RUNS[JobKind(job.kind)](reading, declared)
    return _Prepared(plan, kind_named(job.kind).role, home_only, parts, run)


def splits_of(plan: Plan) -> tuple[Split, ...]:
    """The sides of the split whose rows the job reads, that of its own block first."""
    return tuple(dict.fromkeys(Split(use.block.value) for use in plan.holds()))


def _key_body(on: Collaborators, opened: Opened, prepared: _Prepared) -> bytes:
    """What follows the point of no return: the data key, and what the kind of job needs besides."""
    manifest = read_manifest(on, opened.version, opened.key)
    if prepared.home_only:
        verify_homes(on.blobs, opened.version, manifest)
    for split, parts in prepared.parts.items():
        verify_parts(manifest, split, parts, home_only=prepared.home_only)
    return opened.key.reveal() + prepared.run.after_key(on, opened)


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


@dataclass(frozen=True, slots=True)
class _Result:
    artifact: bytes
    self_test: Any
    candidate: Any


class _Dialogue:
    """The parent's side of a run: each `need` is made durable, then answered."""

    def __init__(
        self, on: Collaborators, task: TaskRecord, opened: Opened, prepared: _Prepared, channel: Channel
    ) -> None:
        self._on, self._task, self._opened = on, task, opened
        self._channel = channel
        self._upto, self._total = prepared.run.first, prepared.run.steps

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
                    if not set(rest) <= {"self_test", "candidate"}:
                        raise CorruptError("a child's result has members that do not belong there")
                    return _Result(body, rest.get("self_test"), rest.get("candidate"))
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
