"""What the child of a synthetic table is told before it has a key. Pure.

Rules: `requested_assignment`. Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from privacy.jobs.assignment_head import Role
from privacy.jobs.requested_assignment import RequestedAssignment
from privacy.jobs.synthesis_plan import SynthesisPlan, require_own
from privacy.jobs.synthesis_spec import SynthesisSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisAssignment(RequestedAssignment[SynthesisPlan, SynthesisSpec]):
    """What to count and to choose from, and where."""

    ROLE: ClassVar[Role] = Role.SYNTHESIS
    PLAN: ClassVar = SynthesisPlan
    SPEC: ClassVar = SynthesisSpec

    def _require_own(self) -> None:
        require_own(self.plan, self.spec)
