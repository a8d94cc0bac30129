"""What the bundle verifier answers."""

from __future__ import annotations

from dataclasses import dataclass

from audit.checkpoint import Checkpoint
from audit.findings import StepResult, Verdict
from audit.verify import Outcome
from kernel.ids import TenantId

EXIT_CODES = {Outcome.VERIFIED: 0, Outcome.FAILED: 1, Outcome.UNANCHORED: 9, Outcome.CANNOT_TELL: 10}
"""What the command returns; 9 is the code of everything that cannot be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleVerdict:
    """The answer: numbered steps, what they come to, and what they cannot show.

    Attributes:
        steps: One result for each step, in order, numbered without a gap.
        anchored: Whether a trust file counted. Without one nothing here says who made the evidence.
        checkpoint: The log's checkpoint, where it could be read; believe it only if the outcome is VERIFIED.
        tenant: Whose evidence it is, where that could be told.
        entries: How many entries of the tenant were opened.
        trusted: What stays a matter of trust, in sentences.
    """

    steps: tuple[StepResult, ...]
    anchored: bool
    checkpoint: Checkpoint | None
    tenant: TenantId | None
    entries: int
    trusted: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        """FAILED before UNANCHORED before CANNOT TELL before VERIFIED."""
        verdicts = {step.verdict for step in self.steps}
        if Verdict.NOT_OK in verdicts:
            return Outcome.FAILED
        if not self.anchored:
            return Outcome.UNANCHORED
        return Outcome.CANNOT_TELL if Verdict.CANNOT_TELL in verdicts else Outcome.VERIFIED

    @property
    def absent(self) -> tuple[str, ...]:
        """The titles of the steps about parts that need not be here and are not."""
        return tuple(step.title for step in self.steps if step.verdict is Verdict.NOT_HERE)

    @property
    def untold(self) -> tuple[str, ...]:
        """The titles of the steps that could not tell."""
        return tuple(step.title for step in self.steps if step.verdict is Verdict.CANNOT_TELL)

    @property
    def ok(self) -> bool:
        """Whether everything that is here was checked and holds, under a trust file that counts."""
        return self.outcome is Outcome.VERIFIED

    @property
    def exit_code(self) -> int:
        """0 only if `ok`."""
        return EXIT_CODES[self.outcome]

    def step(self, title: str) -> StepResult:
        """The step with this title; raise `KeyError` if there is none."""
        for found in self.steps:
            if found.title == title:
                return found
        raise KeyError(title)
