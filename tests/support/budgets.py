"""Builders for budgets: one for each noun, every value with a sensible default."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from kernel.amounts import Delta, Epsilon, Share
from kernel.canonical import Digest
from kernel.events import Parameter
from kernel.ids import DecisionId, GrantId, Identifier, JobId, PopulationId, PrincipalId, Slug, TenantId
from kernel.permit import Permit
from privacy.accounting.mechanisms import Gaussian, PoissonSampledGaussian, PureDp
from privacy.budget import ledger
from privacy.budget.balances import Standing
from privacy.budget.fold import LedgerState
from privacy.budget.populations import Budget, Population
from privacy.budget.reservations import Block, BlockUse
from privacy.events.budget import BudgetEvent, BudgetExpired
from privacy.replay import Posted
from privacy.units import Adjacency, UnitKind

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SOON = NOW + timedelta(hours=1)
ALL = Share.parse("1")
MANIFEST = Digest.of(b"manifest")

I = TypeVar("I", bound=Identifier)  # noqa: E741
_numbers = itertools.count(1)


def fresh(kind: type[I]) -> I:
    """An identifier that no other call returns."""
    number = next(_numbers)
    return kind.new(lambda size: hashlib.sha256(number.to_bytes(8, "big")).digest()[:size])


def budget(epsilon: str = "3", delta: str = "0.000001") -> Budget:
    """A budget as `allot` makes it."""
    return Budget.allot(Epsilon.parse(epsilon), Delta.parse(delta))


def population(**changes: Any) -> Population:
    """A population of about 600 patients with a fifth held out."""
    facts: dict[str, Any] = {
        "id": fresh(PopulationId),
        "tenant": fresh(TenantId),
        "owner": fresh(PrincipalId),
        "unit_kind": UnitKind.COLUMN,
        "unit_noun": Slug("patient"),
        "unit_domain": Slug("patients-by-mrn"),
        "adjacency": Adjacency.ADD_OR_REMOVE_ONE_UNIT,
        "public_size": 600,
        "holdout_share": Share.parse("0.2"),
        "budget": budget(),
    }
    return Population(**(facts | changes))


def permit(**changes: Any) -> Permit:
    """Leave for one job, of a fresh principal unless given."""
    job = changes.get("job") or fresh(JobId)
    facts: dict[str, Any] = {
        "decision": fresh(DecisionId),
        "decision_leaf": Digest.of(b"decision of " + job.encode()),
        "request": Digest.of(b"request of " + job.encode()),
        "job": job,
        "principal": fresh(PrincipalId),
        "grant": fresh(GrantId),
        "trainer_share": ALL,
    }
    return Permit(**(facts | changes | {"job": job}))


def training(noise: str = "20", steps: int = 200, rate: str = "0.1", block: Block = Block.TRAIN) -> BlockUse:
    """Poisson-sampled Gaussian steps on a block."""
    return BlockUse(
        block=block,
        mechanism=PoissonSampledGaussian(sampling_rate=Parameter(rate), noise_multiplier=Parameter(noise), steps=steps),
    )


def counts(noise: str = "10", count: int = 1, block: Block = Block.HOLDOUT) -> BlockUse:
    """Noisy counts on a block."""
    return BlockUse(block=block, mechanism=Gaussian(noise_multiplier=Parameter(noise), count=count))


def pure(epsilon: str = "0.1", count: int = 1, block: Block = Block.TRAIN) -> BlockUse:
    """Pure DP runs on a block."""
    return BlockUse(block=block, mechanism=PureDp(epsilon=Parameter(epsilon), count=count))


class Book:
    """One ledger in memory with its events, driven by the verbs: what a service does, without a store."""

    def __init__(self, of: Population | None = None) -> None:
        change = ledger.create(of or population())
        self.events: list[BudgetEvent] = [change.event]
        assert isinstance(change.event, BudgetEvent)
        self.state = LedgerState(change.event)  # type: ignore[arg-type]

    @property
    def id(self) -> PopulationId:
        """The population's identifier."""
        return self.state.population

    def standing(self, principal: PrincipalId | None = None, job: JobId | None = None) -> Standing:
        """The rows that a verb reads."""
        return self.state.standing(principal, job)

    def keep(self, change: ledger.Change | None) -> ledger.Change | None:
        """Append a change, if there is one."""
        if change is not None:
            self.events.append(change.event)
            self.state.keep(change.after)
        return change

    def reserve(self, uses: Sequence[BlockUse], leave: Permit | None = None) -> ledger.Reserved | ledger.Exhausted:
        """Reserve for a job, of a fresh one unless given."""
        leave = leave or permit()
        standing = self.standing(leave.principal, leave.job)
        answer = ledger.reserve(standing, leave, uses=uses, manifest=MANIFEST, expires_at=SOON)
        if isinstance(answer, ledger.Reserved):
            self.keep(answer.change)
        return answer

    def hold(self, *uses: BlockUse, **changes: Any) -> JobId:
        """Reserve for a fresh job and insist that it fits."""
        leave = permit(**changes)
        answer = self.reserve(uses, leave)
        assert isinstance(answer, ledger.Reserved)
        return leave.job

    def touch(self, job: JobId, attempt: int = 1) -> None:
        """Open the envelope."""
        self.keep(ledger.touch(self.standing(job=job), attempt=attempt, now=NOW))

    def spend(self, *uses: BlockUse, started: Sequence[int] | None = None, **changes: Any) -> JobId:
        """Reserve, touch and charge a fresh job, whole unless told otherwise."""
        job = self.hold(*uses, **changes)
        self.touch(job)
        self.keep(ledger.charge(self.standing(job=job), started or [use.mechanism.times for use in uses]))
        return job


def posted(events: Sequence[Any], at: datetime | None = None) -> list[Posted]:
    """Events as log entries in the given order, all at one time, or each when the builders say it happened."""
    times = [at or (SOON if event.TYPE == BudgetExpired.TYPE else NOW) for event in events]
    return [Posted(index=i, at=time, event=event) for i, (time, event) in enumerate(zip(times, events, strict=True))]
