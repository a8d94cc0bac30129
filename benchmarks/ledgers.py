"""`reserve_charge_ms` and `ledger_check_us`: what the ledger costs a job.

Milliseconds, with each commit durable, on SQLite and PostgreSQL: two works are timed together, the one that reserves,
and the one that touches and charges; each holds the population's lock, changes the ledger, writes its log entries and
commits with fsync. Microseconds: the check alone, a pure function of the rows that were read, once with the price that
the quote worked out and once where it has to be worked out first.
"""

from __future__ import annotations

import os
import statistics
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
from kernel.clock import SystemClock
from kernel.events import Parameter
from kernel.ids import DecisionId, GrantId, JobId, PopulationId, PrincipalId, Slug, TenantId
from kernel.permit import Permit
from privacy.accounting.mechanisms import PoissonSampledGaussian
from privacy.budget import ledger
from privacy.budget.balances import Standing, TrainerAccount
from privacy.budget.populations import Budget, Population
from privacy.budget.reservations import Block, BlockUse
from privacy.units import Adjacency, UnitKind

CHECKS = 2000
JOBS = 400
WARM_UP = 20
STEPS = 200


def measure() -> Iterator[Line]:
    """Measure the check, and the whole on every database that is here."""
    for case, fresh in (("priced by the quote", False), ("priced anew", True)):
        yield Line(quantity="ledger_check_us", case=case, value=_check(fresh=fresh) * 1e6, unit="us")
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


def _check(*, fresh: bool) -> float:
    """Median seconds of one check.

    Args:
        fresh: Whether each check is about a mechanism that was never priced before.
    """
    population, permit = _population(), _permit()
    trainer = TrainerAccount(population=population.id, principal=permit.principal)
    standing = Standing(account=ledger.create(population).after.account, trainer=trainer)
    manifest, expires_at = Digest.of(b"manifest"), SystemClock().now() + timedelta(days=1)
    took = []
    for number in range(CHECKS):
        uses = (_use(f"8.{number:04}1" if fresh else "8"),)
        start = time.perf_counter()
        answer = ledger.reserve(standing, permit, uses=uses, manifest=manifest, expires_at=expires_at)
        took.append(time.perf_counter() - start)
        if not isinstance(answer, ledger.Reserved) or answer.change is None:
            raise RuntimeError("the benchmark's budget is spent: make it larger")
    return statistics.median(took)


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


def _use(noise: str = "8") -> BlockUse:
    mechanism = PoissonSampledGaussian(sampling_rate=Parameter("0.01"), noise_multiplier=Parameter(noise), steps=STEPS)
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
