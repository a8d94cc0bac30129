"""The table of kinds of job: what is particular to each, as far as it can be said without rows.

Rules
-----
1. A kind is added by a member of `JobKind`, its modules (request, plan and assignment, each on its head: `head`,
   `plan_head`, `assignment_head`; and a child) and one line in each table:
   `spec._SPECS`, `plan._PLANS`, `planning._PLANNERS`, `KINDS` here, `privacy.child.ROLES`, and in the gateway
   `launchers.runs.RUNS`; the type checker names the rest.
2. What a kind reads, holds and retries is its plan's to say, never its name's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from privacy.jobs.assignment_head import Role
from privacy.jobs.head import JobKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of job.

    Attributes:
        role: What its child is started for.
        artifact: The name of the file that is released.
        uses_release: Whether its request names, in `release`, a released model that it uses.
    """

    role: Role
    artifact: str
    uses_release: bool = False


KINDS: Final[Mapping[JobKind, Kind]] = {
    JobKind.TRAINING: Kind(role=Role.TRAIN, artifact="model.safetensors"),
    JobKind.EVALUATION: Kind(role=Role.EVALUATE, artifact="evaluation.json", uses_release=True),
    JobKind.TUNING: Kind(role=Role.TUNE, artifact="model.safetensors"),
    JobKind.STATISTICS: Kind(role=Role.STATISTICS, artifact="statistics.json"),
    JobKind.GLM: Kind(role=Role.GLM, artifact="glm.json"),
    JobKind.SYNTHESIS: Kind(role=Role.SYNTHESIS, artifact="synthesis.json"),
}


def kind_named(name: str) -> Kind:
    """The kind of a stored job."""
    return KINDS[JobKind(name)]
