"""`reserve_charge_ms`: what the ledger costs a job, each commit durable, on SQLite and PostgreSQL.

Two works are timed together: the one that reserves, and the one that touches and charges; each holds the population's
lock, changes the ledger, writes its log entries and commits with fsync.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from benchmarks.databases import DATABASES, opened
from benchmarks.lines import Line, percentile
from gateway.unit_of_work import Database, Work
from kernel.amounts import Delta, Epsilon, Share
from kernel.canonical import Digest
from kernel.events import Parameter
from kernel.ids import DecisionId, GrantId, JobId, PopulationId, PrincipalId, Slug, TenantId
from kernel.permit import Permit
from privacy.accounting.mechanisms import PoissonSampledGaussian
from privacy.budget import ledger
from privacy.budget.balances import Standing
from privacy.budget.populations import Budget, Population
from privacy.budget.reservations import Block, BlockUse
from privacy.units import Adjacency, UnitKind

JOBS = 400
WARM_UP = 20
STEPS = 200


def measure() -> Iterator[Line]:
    """Measure on every database that is here."""
    for name in DATABASES:
        with ExitStack() as held, tempfile.TemporaryDirectory(prefix="privgate-bench-") as folder:
            database = opened(name, Path(folder), held)
            if database is None:
                continue
            took = sorted(_run(database))
        for case, share in (("p50", 0.5), ("p99", 0.99)):
            yield Line(
                quantity="reserve_charge_ms", case=f"{name} {case}", value=percentile(took, share) * 1000, unit="ms"
            )


def _run(database: Database) -> list[float]:
    population = _population()
    with database.work(population.tenant) as work:
        work.tenants.add(population.tenant, work.now)
        work.policy.create(population.tenant)
        change = ledger.create(population)
        work.ledger.append(change)
        work.record(change.event)
        work.commit("population")
    took = []
    for number in range(JOBS):
        start = time.perf_counter()
        _one_job(database, population, _permit())
        if number >= WARM_UP:
            took.append(time.perf_counter() - start)
    return took


def _one_job(database: Database, population: Population, permit: Permit) -> None:
    with database.work(population.tenant) as work:
        standing = work.ledger.lock(population.id, principal=permit.principal, job=permit.job)
        answer = ledger.reserve(
            standing, permit, uses=(_use(),), manifest=Digest.of(b"manifest"), expires_at=work.now + timedelta(days=1)
        )
        if not isinstance(answer, ledger.Reserved) or answer.change is None:
            raise RuntimeError("the benchmark's budget is spent: make it larger")
        work.ledger.append(answer.change)
        work.record(answer.change.event)
        work.commit("reserve")
    with database.work(population.tenant) as work:
        standing = work.ledger.lock(population.id, job=permit.job)
        touched = _kept(work, ledger.touch(standing, attempt=1, now=work.now))
        _kept(work, ledger.charge(touched, (STEPS,)))
        work.commit("charge")


def _kept(work: Work, change: ledger.Change | None) -> Standing:
    if change is None:
        raise RuntimeError("a fresh job cannot have been charged before")
    work.ledger.append(change)
    work.record(change.event)
    return change.after


def _use() -> BlockUse:
    mechanism = PoissonSampledGaussian(sampling_rate=Parameter("0.01"), noise_multiplier=Parameter("8"), steps=STEPS)
    return BlockUse(block=Block.TRAIN, mechanism=mechanism)


def _population() -> Population:
    return Population(
        id=PopulationId.new(os.urandom),
        tenant=TenantId.new(os.urandom),
        owner=PrincipalId.new(os.urandom),
        unit_kind=UnitKind.RECORD,
        unit_noun=Slug("patient"),
        unit_domain=Slug("patients"),
        adjacency=Adjacency.ADD_OR_REMOVE_ONE_UNIT,
        public_size=10_000,
        holdout_share=Share.parse("0.2"),
        budget=Budget.allot(Epsilon.parse("10"), Delta.parse("0.000001")),
    )


def _permit() -> Permit:
    job = JobId.new(os.urandom)
    return Permit(
        decision=DecisionId.new(os.urandom),
        decision_leaf=Digest.of(b"decision of " + job.encode("ascii")),
        request=Digest.of(b"request of " + job.encode("ascii")),
        job=job,
        principal=PrincipalId.new(os.urandom),
        grant=GrantId.new(os.urandom),
        trainer_share=Share.parse("1"),
    )
