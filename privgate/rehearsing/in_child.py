"""Jobs of the other kinds, rehearsed by their own child: real parts under a key that is thrown away. Extra `train`.

Rules
-----
1. The child is the gateway's, role by role, with the frames of docs/formats/job-child.md; here it runs in a thread of
   this process, unconfined, for its rows are nobody's secret.
2. Rows are sealed as an upload's are, and met as often as there are units declared, up to `MOST_ROWS` rows.
3. What comes back is read as strictly as a gateway reads it.
"""

from __future__ import annotations

import importlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import DatasetId, JobId, TenantId, VersionId
from privacy.accounting.google import agree
from privacy.child import ROLES
from privacy.jobs.assignment import (
    Assignment,
    EvaluationAssignment,
    GlmAssignment,
    PartFile,
    StatisticsAssignment,
    SynthesisAssignment,
    Table,
    TuningAssignment,
)
from privacy.jobs.model import initial_of
from privacy.jobs.plan import EvaluationPlan, GlmPlan, Plan, StatisticsPlan, SynthesisPlan, TuningPlan
from privacy.jobs.spec import GlmSpec, JobSpec, StatisticsSpec, SynthesisSpec, TrainingSpec, TuningSpec
from privacy.sandbox.frames import Channel, ChannelClosedError
from privacy.schema import TableSchema
from privacy.sealing.deks import KEY_BYTES
from privacy.sealing.manifest import PartAddress, Split
from privacy.sealing.secret import SecretBytes
from privacy.sealing.tables import PartWriter
from privacy.training.dialogue import LARGEST_BODY
from privacy.units import PrivacyUnit
from privgate.rehearsing.own_rows import OwnRows, Row, sealed_columns
from privgate.rehearsing.running import as_in_a_child, most_memory

MOST_ROWS: Final = 100_000
SILENCE_SECONDS: Final = 4 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a child gave.

    Attributes:
        artifact: The bytes that would be released.
        header: What stood beside them.
        units: How many units there were to read; `met`: under how many names they were met.
        seconds: How long the child took, from its assignment to its result.
        memory_bytes: The most that this process has had in memory; absent where the system does not say.
    """

    artifact: bytes
    header: dict[str, Any]
    units: int
    met: int
    seconds: float
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a job is rehearsed on.

    Attributes:
        spec, plan: What was completed and planned.
        schema, unit: What the owner declared.
        rows: Dummy rows, or the trainer's own.
        declared: About how many units each side of the split has, by declaration.
        model: Of an evaluation: the request that made the model, and its weights.
    """

    spec: JobSpec
    plan: Plan
    schema: TableSchema
    unit: PrivacyUnit
    rows: Sequence[Row]
    declared: dict[Split, int]
    model: tuple[TrainingSpec, bytes] | None = None


def answer(of: Trial) -> Answered:
    """Run the job's child on sealed rows.

    Raises:
        PrivgateError: What ends the job before its envelope opens.
    """
    key = SecretBytes.random(KEY_BYTES, os.urandom)
    with tempfile.TemporaryDirectory(prefix="privgate-rehearsal-") as folder, as_in_a_child():
        parts = _Parts(of, key, Path(folder))
        assignment = _assignment(of, parts)
        agree(of.plan.uses(), order=of.plan.order, delta=of.plan.delta)
        after = b"" if of.model is None else of.model[1]
        begun = time.perf_counter()
        header, artifact = _converse(str(assignment.to_json()["role"]), assignment.to_bytes(), key.reveal() + after)
        seconds = time.perf_counter() - begun
    return Answered(
        artifact=artifact,
        header=header,
        units=parts.units,
        met=parts.met,
        seconds=seconds,
        memory_bytes=most_memory(),
    )


def _assignment(of: Trial, parts: _Parts) -> Assignment:
    who: dict[str, Any] = {"tenant": parts.tenant, "job": JobId.new(os.urandom)}

    def table(spec: TrainingSpec | GlmSpec, split: Split) -> Table:
        return Table(features=spec.features, schema=of.schema, unit=of.unit, parts=parts.of(split))

    match of.spec, of.plan:
        case TuningSpec() as spec, TuningPlan() as plan:
            return TuningAssignment(
                **who,
                plan=plan,
                graph=spec.model_graph(of.schema).graph,
                table=table(spec.training, Split.TRAIN),
                scored=parts.of(Split.HOLDOUT),
                initial=initial_of(spec.model),
            )
        case StatisticsSpec() as spec, StatisticsPlan() as plan:
            own = parts.of(Split(plan.block.value))
            return StatisticsAssignment(**who, plan=plan, spec=spec, schema=of.schema, unit=of.unit, parts=own)
        case SynthesisSpec() as spec, SynthesisPlan() as plan:
            own = parts.of(Split(plan.block.value))
            return SynthesisAssignment(**who, plan=plan, spec=spec, schema=of.schema, unit=of.unit, parts=own)
        case GlmSpec() as spec, GlmPlan() as plan:
            return GlmAssignment(**who, plan=plan, table=table(spec, Split.TRAIN))
        case _, EvaluationPlan() as plan if of.model is not None:
            made, _ = of.model
            graph = made.model_graph(of.schema).graph
            return EvaluationAssignment(**who, plan=plan, graph=graph, table=table(made, Split.HOLDOUT))
        case _:
            raise InvalidError("this kind of job is not rehearsed", field="kind")


class _Parts:
    """Sealed parts, one for each side of the split that is asked for."""

    def __init__(self, of: Trial, key: SecretBytes, folder: Path) -> None:
        self._of, self._key, self._folder = of, key, folder
        self.tenant, self._dataset = TenantId.new(os.urandom), DatasetId.new(os.urandom)
        self._version = VersionId.new(os.urandom)
        known = OwnRows.of(of.rows, of.schema, of.unit)
        self.units, self.met = len(np.unique(known.units)), 0
        self._numbers = known.units
        self._columns = sealed_columns(of.schema, of.rows, _needed(of))

    def of(self, split: Split) -> tuple[PartFile, ...]:
        """The file of one side."""
        address = PartAddress.numbered(self.tenant, self._dataset, self._version, split, 0)
        path, table = self._folder / str(address.name), self._table(split)
        with path.open("xb") as sink, PartWriter(sink, table.schema, self._key, address) as writer:
            for batch in table.to_batches(max_chunksize=4096):
                writer.write(batch)
            writer.finish()
        return (PartFile(path=str(path), aad=address.aad),)

    def _table(self, split: Split) -> Any:
        """The rows as often as there are units declared; each time they are about other units."""
        rows, declared = len(self._numbers), max(1, self._of.declared[split])
        times = min(max(1, -(-declared // max(1, self.units))), max(1, MOST_ROWS // max(1, rows)))
        numbers = (np.arange(times)[:, None] * self.units + self._numbers[None, :]).reshape(-1)
        keep = np.flatnonzero(numbers < declared)
        places = keep % rows
        self.met = max(self.met, len(np.unique(numbers[keep])))
        taken = {name: column.take(pa.array(places)) for name, column in self._columns.items()}
        if self._of.unit.column is not None:
            taken[self._of.unit.column] = pa.array([f"unit-{number}" for number in numbers[keep].tolist()])
        shape = pa.schema([pa.field(name, column.type, nullable=False) for name, column in taken.items()])
        return pa.table(list(taken.values()), schema=shape)


def _needed(of: Trial) -> set[str]:
    """The columns that the job reads, the unit's aside."""
    match of.spec:
        case StatisticsSpec() as spec:
            axes = {axis.column for query in spec.queries for axis in query.axes}
            return axes | {query.summed.column for query in spec.queries if query.summed is not None}
        case SynthesisSpec() as spec:
            return {axis.column for axis in spec.axes}
        case GlmSpec() as spec:
            features = spec.features
        case TuningSpec() as spec:
            features = spec.training.features
        case _ if of.model is not None:
            features = of.model[0].features
        case _:
            return set()
    places = of.plan.columns if isinstance(of.plan, EvaluationPlan) else ()
    return (
        {of.schema.columns[place].name for place in places}
        | {feature.column for feature in features.columns}
        | {features.label.column}
    )


@dataclass
class _Child:
    """A role's runner in a thread, and how it ended."""

    role: str
    channel: Channel
    error: BaseException | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=f"rehearsal-{self.role}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        runner: Callable[..., None] = importlib.import_module(ROLES[self.role]).main
        try:
            runner(self.channel, {"role": self.role})
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self.error = error
        finally:
            self.channel.close()


def _converse(role: str, assignment: bytes, key_body: bytes) -> tuple[dict[str, Any], bytes]:
    """The parent's side: hand everything over, allow every step, take the result."""
    (ours, their_end), (theirs, our_end) = os.pipe(), os.pipe()
    deadline = time.monotonic() + SILENCE_SECONDS
    channel = Channel(ours, our_end, deadline=deadline)
    child = _Child(role, Channel(theirs, their_end, deadline=deadline))
    try:
        channel.send({"m": "assignment"}, assignment)
        while True:
            header, body = channel.receive(LARGEST_BODY)
            match header["m"]:
                case "rehearsed":
                    channel.send({"m": "key"}, key_body)
                case "need":
                    channel.send({"m": "go"})
                case "result":
                    return {name: value for name, value in header.items() if name != "m"}, body
                case _:
                    raise InvalidError("the engine fails on this model and made-up rows", field="model")
    except ChannelClosedError:
        child.thread.join()
        if isinstance(child.error, PrivgateError):
            raise child.error from None
        raise CorruptError("the job's child ended without a result") from child.error
    finally:
        channel.close()
        child.thread.join()
