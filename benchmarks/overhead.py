"""`gateway_overhead_ratio`: a whole Adult job through the gateway against the same training called directly.

Through the gateway: request, decision, reservation, confined child with its rehearsal, durable steps and savepoints,
charge, second accountant, certificate, held release, and the wait for the tick at which its end becomes visible.
Directly: a fresh process that opens the same sealed parts and runs the same plan with the same engine, nothing else.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.house import PURPOSE, House
from benchmarks.lines import Line
from gateway.launchers.parts import listed_parts
from gateway.records import DatasetRecord, JobRecord, JobState, VersionRecord
from gateway.services.request_job import request_job
from kernel.ids import DekId
from privacy.jobs.assignment import Table, TrainingAssignment
from privacy.jobs.plan import TrainingPlan
from privacy.jobs.spec import TrainingSpec
from privacy.schema import TableSchema
from privacy.sealing.lifecycle import open_dek
from privacy.sealing.manifest import Split
from privacy.units import PrivacyUnit
from privgate.demo.tables import Declared, declared, write_table

PAIRS = 5
EPSILON = "0.3"


def measure() -> Iterator[Line]:
    """Pairs that take turns; needs UCI Adult."""
    table = declared("adult")
    with tempfile.TemporaryDirectory(prefix="privgate-bench-") as name:
        folder = Path(name)
        house = House.build(folder)
        dataset = house.dataset(dict(table.schema), 30_000, "20", "0.0000003")
        write_table(table, folder / "adult.csv")
        with (folder / "adult.csv").open("rb") as content:
            staged = house.stage(dataset, content)
        house.worker.step()
        version = house.require_sealed(staged)
        ratios = []
        for _ in range(PAIRS):
            through, job = _through(house, dataset, table)
            ratios.append(through / _directly(house, dataset, version, job, folder))
        house.gateway.close()
    yield Line(
        quantity="gateway_overhead_ratio", case="Adult, logistic, 160 steps", value=statistics.median(ratios),
        unit="ratio", baseline="the same plan and engine on the same sealed parts in a fresh process",
    )  # fmt: skip


def _through(house: House, dataset: DatasetRecord, table: Declared) -> tuple[float, JobRecord]:
    body = {"kind": "training", "dataset": dataset.id, "purpose": PURPOSE, **table.training, "epsilon": EPSILON}
    start = time.perf_counter()
    job = request_job(house.gateway.on, house.trainer, body)
    if not isinstance(job, JobRecord):
        raise TypeError("the benchmark's job was refused")
    house.worker.step()
    took = time.perf_counter() - start
    with house.gateway.on.database.read() as reading:
        ended = reading.jobs.get(id=job.id)
    if ended.state is not JobState.FINISHED:
        raise RuntimeError(f"the benchmark's job is {ended.state.value}")
    return took, ended


def _directly(house: House, dataset: DatasetRecord, version: VersionRecord, job: JobRecord, folder: Path) -> float:
    spec, schema = TrainingSpec.from_json(job.spec), TableSchema.from_json(dataset.schema)
    parts = listed_parts(house.gateway.on.blobs, version, Split.TRAIN, folder)
    unit = PrivacyUnit.from_json(dataset.unit)
    assignment = TrainingAssignment(
        tenant=job.tenant,
        job=job.id,
        plan=TrainingPlan.from_fields(job.plan),
        graph=spec.model_graph(schema).graph,
        table=Table(features=spec.features, schema=schema, unit=unit, parts=parts),
    )
    with house.gateway.on.database.read() as reading:
        wrapped = reading.deks.get(version.dek or DekId(""))
    with open_dek(wrapped, house.gateway.on.keyring) as key:
        given = key.reveal() + assignment.to_bytes()
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "benchmarks.direct"], input=given, check=True)
        return time.perf_counter() - start
