"""What plans of every kind share: whose request, at which order, how private; and how noise is found for it.

Rules
-----
1. A kind's plan derives from `RepeatedPlan` where an interrupted job is made anew, whole, and from `NoisedPlan` or
   `PlanHead` where it is otherwise. It says only what is its own, and which uses follow from it.
2. A plan that cannot be priced cannot be made.

Form: docs/formats/job-spec.md, "What is planned from it".
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from kernel.amounts import Delta, Epsilon
from kernel.canonical import Digest, digest_of
from kernel.checks import whole
from kernel.events import Parameter, Record
from privacy.accounting.calibration import calibrate
from privacy.accounting.mechanisms import MechanismUse
from privacy.budget.reservations import BlockUse
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.head import JobKind
from privacy.jobs.spec import JobSpec
from privacy.units import LARGEST_ROWS_PER_UNIT

REPEATS = 1
_START: Final = Parameter(1)


@dataclass(frozen=True, kw_only=True)
class PlanHead(Record, ABC):
    """What every plan says.

    Attributes:
        kind: Which kind.
        request: Digest of the request that it belongs to.
        order: The population's order of prices.
        epsilon, delta: What the job alone was calibrated to.
    """

    kind: ClassVar[JobKind]

    request: Digest
    order: int
    epsilon: Epsilon
    delta: Delta

    def __post_init__(self) -> None:
        self.uses()

    @property
    def digest(self) -> Digest:
        """What identifies it in the child, in savepoints and in the result."""
        return digest_of(f"{self.kind}-plan/v1", self.to_fields())

    @property
    @abstractmethod
    def retries(self) -> int:
        """How many further attempts the hold covers."""

    @abstractmethod
    def uses(self) -> tuple[MechanismUse, ...]:
        """What it composes if it runs once through."""

    @abstractmethod
    def holds(self) -> tuple[BlockUse, ...]:
        """What must be held before it starts, replays and repetitions included."""

    @abstractmethod
    def with_noise(self, noise_multiplier: Parameter) -> Self:
        """The same job with other noise, for calibration; its `epsilon` is then no statement."""

    def blocks_apart(self) -> tuple[tuple[MechanismUse, ...], ...]:
        """What it composes once through, for each side of the split by itself; nobody is on two of them.

        The first is the one for which noise is calibrated.
        """
        return (self.uses(),)

    def calibrated(self) -> Self:
        """The same job with the least noise that keeps it within its epsilon.

        Raises:
            InvalidError: No noise does.
        """
        return self.with_noise(calibrate(lambda z: self.with_noise(z).blocks_apart()[0], self.epsilon, self.delta))


@dataclass(frozen=True, kw_only=True)
class NoisedPlan(PlanHead):
    """A plan whose noise is one multiplier.

    Attributes:
        noise_multiplier: From which all of its noise follows.
        rows_per_unit: The most rows of one unit.
    """

    noise_multiplier: Parameter
    rows_per_unit: int

    def __post_init__(self) -> None:
        whole(1, LARGEST_ROWS_PER_UNIT, rows_per_unit=self.rows_per_unit)
        super().__post_init__()

    def with_noise(self, noise_multiplier: Parameter) -> Self:
        """The same job with other noise, for calibration; its `epsilon` is then no statement."""
        return dataclasses.replace(self, noise_multiplier=noise_multiplier)


@dataclass(frozen=True, kw_only=True)
class RepeatedPlan(NoisedPlan):
    """A plan of a job that is made anew, whole, where it was interrupted.

    Attributes:
        repeats: How many repetitions, after a worker was lost, the hold covers.
    """

    repeats: int

    def __post_init__(self) -> None:
        whole(0, 100, repeats=self.repeats)
        super().__post_init__()

    @property
    def retries(self) -> int:
        """How many further attempts the hold covers."""
        return self.repeats


def head_of(spec: JobSpec, facts: DeclaredFacts) -> dict[str, Any]:
    """The members of `PlanHead` for a request."""
    return {"request": spec.digest, "order": facts.order, "epsilon": spec.epsilon, "delta": facts.delta}


def noised_head(spec: JobSpec, facts: DeclaredFacts) -> dict[str, Any]:
    """The members of `NoisedPlan` for a request, with some noise that is still to be calibrated."""
    return head_of(spec, facts) | {"noise_multiplier": _START, "rows_per_unit": facts.rows_per_unit}


def repeated_head(spec: JobSpec, facts: DeclaredFacts) -> dict[str, Any]:
    """The members of `RepeatedPlan` for a request, with some noise that is still to be calibrated."""
    return noised_head(spec, facts) | {"repeats": REPEATS}
