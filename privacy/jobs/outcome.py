"""What a finished run hands back: an artefact's digest and how often each mechanism was started.

Rules
-----
1. There is one kind of outcome, whatever the rows were (RULES 11). A run that was cancelled or failed has none.
2. It says nothing about rows: no counts, no losses, no durations.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernel.canonical import Digest
from kernel.checks import whole
from kernel.ids import JobId
from privacy.budget.reservations import LARGEST_RUN


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A finished run, not yet paid for and not yet public.

    Attributes:
        artifact: Digest of the bytes that may leave once they are.
        started: For each hold of the job's reservation, in order, how often its mechanism was started over all
            attempts, replays included.
    """

    job: JobId
    artifact: Digest
    started: tuple[int, ...]

    def __post_init__(self) -> None:
        for times in self.started:
            whole(1, LARGEST_RUN, started=times)
