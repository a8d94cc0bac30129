"""Builders for jobs: tables, requests, sealed parts, and the parent's side of a conversation with a real child."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from kernel.amounts import Delta, Share
from kernel.errors import PrivgateError
from kernel.ids import DatasetId, JobId, ReleaseId, TenantId, VersionId
from privacy.child import ROLES
from privacy.jobs.assignment import EvaluationAssignment, PartFile, Table, TrainingAssignment
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec
from privacy.jobs.model import initial_of
from privacy.jobs.plan import EvaluationPlan, TrainingPlan, plan_evaluation, plan_training
from privacy.jobs.spec import TrainingSpec, complete_evaluation, complete_training
from privacy.sandbox import spawn
from privacy.sandbox.endings import Ending
from privacy.sandbox.frames import Channel, ChannelClosedError
from privacy.sandbox.limits import Limits, probe
from privacy.schema import TableSchema
from privacy.sealing.deks import new_dek
from privacy.sealing.manifest import PartAddress, Split
from privacy.sealing.secret import SecretBytes
from privacy.sealing.tables import PartWriter
from privacy.training.dialogue import LARGEST_BODY
from privacy.units import PrivacyUnit, UnitKind

TENANT, DATASET, VERSION = TenantId.new(os.urandom), DatasetId.new(os.urandom), VersionId.new(os.urandom)
LIMITS = Limits(memory_bytes=8 * 2**30, cpu_seconds=120, wall_seconds=180, output_bytes=0)
RECORD = PrivacyUnit(kind=UnitKind.RECORD, noun="record")
PATIENT = PrivacyUnit(kind=UnitKind.COLUMN, noun="patient", column="patient", rows_per_unit=3)
SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "patient", "kind": "identifier"},
            {"name": "age", "kind": "numeric", "low": "0", "high": "100"},
            {"name": "dose", "kind": "numeric", "low": "-5", "high": "5"},
            {"name": "ward", "kind": "categorical", "categories": ["a", "b", "c"]},
            {"name": "stage", "kind": "ordinal", "categories": ["i", "ii", "iii"]},
            {"name": "smoker", "kind": "boolean"},
            {"name": "ill", "kind": "categorical", "categories": ["no", "yes"]},
        ]
    }
)


def facts(**changes: Any) -> DeclaredFacts:
    """About 600 units, a fifth of them held out, priced at order 8."""
    declared: dict[str, Any] = {
        "public_size": 600,
        "holdout_share": Share.parse("0.2"),
        "rows_per_unit": 1,
        "order": 8,
        "delta": Delta.parse("0.000001"),
    }
    return DeclaredFacts(**(declared | changes))


def request(**changes: Any) -> dict[str, Any]:
    """What a trainer writes who names only the label."""
    body: dict[str, Any] = {"dataset": str(DATASET), "purpose": "research", "epsilon": "3", "label": "ill"}
    return {name: value for name, value in (body | changes).items() if value is not None}


def spec(declared: DeclaredFacts | None = None, schema: TableSchema = SCHEMA, **changes: Any) -> TrainingSpec:
    """A request in its final form."""
    return complete_training(request(**changes), schema, declared or facts())


def plan(declared: DeclaredFacts | None = None, **changes: Any) -> TrainingPlan:
    """A calibrated plan on `SCHEMA`."""
    declared = declared or facts()
    return plan_training(spec(declared, **changes), SCHEMA, declared)


def people(count: int, seed: int = 7, rows_each: int = 1) -> pa.Table:
    """Rows of `SCHEMA` in which age, dose and smoking tell who is ill."""
    draw = np.random.default_rng(seed)
    rows = count * rows_each
    age, dose = draw.uniform(0, 100, rows), draw.uniform(-5, 5, rows)
    smoker = draw.random(rows) < 0.4
    ill = (age - 50) / 25 + dose / 2 + smoker + draw.normal(0, 0.5, rows) > 0.4
    return pa.table(
        {
            "patient": pa.array([f"p{number // rows_each}" for number in range(rows)], pa.string()),
            "age": pa.array(age, pa.float64()),
            "dose": pa.array(dose, pa.float64()),
            "ward": pa.array([("a", "b", "c")[place] for place in draw.integers(0, 3, rows)], pa.string()),
            "stage": pa.array([("i", "ii", "iii")[place] for place in draw.integers(0, 3, rows)], pa.string()),
            "smoker": pa.array(smoker, pa.bool_()),
            "ill": pa.array(["yes" if one else "no" for one in ill], pa.string()),
        }
    )


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """Ciphertext files on disk and the key that opens them."""

    key: SecretBytes
    parts: tuple[PartFile, ...]

    @property
    def paths(self) -> list[Path]:
        """What a child may read."""
        return [Path(part.path) for part in self.parts]


def seal(
    tables: Sequence[pa.Table], folder: Path, split: Split = Split.TRAIN, key: SecretBytes | None = None
) -> Sealed:
    """Seal each table as a part of one split, under a fresh key if none is given."""
    key, parts = key or new_dek(os.urandom), []
    folder.mkdir(exist_ok=True)
    for number, table in enumerate(tables):
        address = PartAddress.numbered(TENANT, DATASET, VERSION, split, number)
        path = folder / str(address.name)
        with path.open("wb") as sink, PartWriter(sink, table.schema, key, address) as writer:
            for batch in table.to_batches():
                writer.write(batch)
            writer.finish()
        parts.append(PartFile(path=str(path), aad=address.aad))
    return Sealed(key=key, parts=tuple(parts))


def training(
    sealed: Sealed,
    declared: DeclaredFacts | None = None,
    unit: PrivacyUnit = RECORD,
    schema: TableSchema = SCHEMA,
    **changes: Any,
) -> TrainingAssignment:
    """An assignment to train on sealed parts of a table, by default one of `SCHEMA`."""
    declared = declared or facts(rows_per_unit=unit.rows_per_unit)
    wanted = spec(declared, schema, **changes)
    return TrainingAssignment(
        tenant=TENANT,
        job=JobId.new(os.urandom),
        plan=plan_training(wanted, schema, declared),
        graph=wanted.model_graph(schema).graph,
        initial=initial_of(wanted.model),
        table=Table(features=wanted.features, schema=schema, unit=unit, parts=sealed.parts),
    )


def evaluation_request(**changes: Any) -> dict[str, Any]:
    """What a trainer writes who chooses nothing about an evaluation."""
    body = {
        "v": 1,
        "kind": "evaluation",
        "release": "rel_" + "a" * 26,
        "dataset": str(DATASET),
        "purpose": "research",
        "epsilon": "1",
    }
    return body | changes


def evaluation_plan(
    features: FeatureSpec | None = None,
    schema: TableSchema = SCHEMA,
    declared: DeclaredFacts | None = None,
    **changes: Any,
) -> EvaluationPlan:
    """A calibrated evaluation of a model with these features, by default one of `SCHEMA`'s own."""
    of = features or spec(schema=schema).features
    wanted = complete_evaluation(evaluation_request(**changes), of, schema)
    return plan_evaluation(wanted, of, schema, declared or facts())


def evaluation(sealed: Sealed, trained: TrainingAssignment, **changes: Any) -> EvaluationAssignment:
    """An assignment to evaluate what `trained` gave, on other parts."""
    of = trained.table
    declared = facts(rows_per_unit=of.unit.rows_per_unit)
    release = {"release": str(ReleaseId.new(os.urandom))}
    return EvaluationAssignment(
        tenant=TENANT,
        job=JobId.new(os.urandom),
        plan=evaluation_plan(of.features, of.schema, declared, **(release | changes)),
        graph=trained.graph,
        table=Table(features=of.features, schema=of.schema, unit=of.unit, parts=sealed.parts),
    )


@dataclass
class Transcript:
    """What a parent saw of one child: every frame, what it kept, and how it ended."""

    frames: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    savepoints: dict[int, bytes] = field(default_factory=dict)
    artifact: bytes | None = None
    ending: Ending | None = None

    @property
    def forms(self) -> list[tuple[dict[str, Any], int]]:
        """The frames, with the figures of a self-test, which are random, reduced to their names."""
        return [
            ({n: sorted(v) if n == "self_test" else v for n, v in header.items()}, size) for header, size in self.frames
        ]

    @property
    def started(self) -> list[int]:
        """The steps that were announced."""
        return [header["upto"] for header, _ in self.frames if header["m"] == "need"]


GO, STOP, KILL = "go", "stop", "kill"
Answer = Callable[[int], str]


def converse(
    assignment: TrainingAssignment | EvaluationAssignment,
    key_body: bytes,
    readable: Sequence[Path],
    answer: Answer = lambda _: GO,
    limits: Limits = LIMITS,
) -> Transcript:
    """Run an assignment in a real confined child, playing its parent.

    Args:
        assignment: What the child is told.
        key_body: Keys and what follows them, handed over after the rehearsal.
        readable: The ciphertext files.
        answer: What to say to `need`: go, stop, or kill the child instead.
        limits: What it may use.
    """
    seen = Transcript()
    role = assignment.to_json()["role"]
    with spawn.spawn(role, limits=limits, readable=readable, minimum=probe()) as child:
        try:
            child.channel.send({"m": "assignment"}, assignment.to_bytes())
            _converse(child.channel, seen, key_body, answer, child.kill)
        except ChannelClosedError:
            pass
        seen.ending = child.wait(60)
    return seen


def converse_here(
    assignment: TrainingAssignment | EvaluationAssignment, key_body: bytes, answer: Answer = lambda _: GO
) -> Transcript:
    """The same conversation with the same runner in a thread of this process: quick, not confined, cannot be killed."""
    seen = Transcript()
    role = assignment.to_json()["role"]
    (ours, their_end), (theirs, our_end) = os.pipe(), os.pipe()
    deadline = time.monotonic() + 300
    channel, child = Channel(ours, our_end, deadline=deadline), Channel(theirs, their_end, deadline=deadline)
    thread = threading.Thread(target=_run_here, args=(role, child, seen))
    thread.start()
    try:
        channel.send({"m": "assignment"}, assignment.to_bytes())
        _converse(channel, seen, key_body, answer, lambda: None)
    except ChannelClosedError:
        pass
    thread.join()
    channel.close()
    return seen


def _run_here(role: str, channel: Channel, seen: Transcript) -> None:
    try:
        importlib.import_module(ROLES[role]).main(channel, {"role": role})
        seen.ending = Ending.FINISHED
    except PrivgateError:
        seen.ending = Ending.REFUSED
    except Exception:  # noqa: BLE001 - as the child's main does: an ending, no text
        seen.ending = Ending.CRASHED
    finally:
        channel.close()


def _converse(channel: Channel, seen: Transcript, key_body: bytes, answer: Answer, kill: Callable[[], None]) -> None:
    while seen.artifact is None:
        header, body = channel.receive(LARGEST_BODY)
        seen.frames.append((header, len(body)))
        match header["m"]:
            case "rehearsed":
                channel.send({"m": "key"}, key_body)
            case "need":
                said = answer(header["upto"])
                if said == KILL:
                    kill()
                else:
                    channel.send({"m": said})
            case "savepoint":
                seen.savepoints[header["step"]] = body
            case "result":
                seen.artifact = body


def keys_for(sealed: Sealed, job_key: bytes = bytes(32), savepoint: bytes = b"") -> bytes:
    """What a training child gets after its rehearsal."""
    return sealed.key.reveal() + job_key + savepoint


def columns_of(table: pa.Table) -> Mapping[str, Any]:
    """Arrow columns by name."""
    return {name: table.column(name) for name in table.column_names}
