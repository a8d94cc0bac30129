"""Following a job on the screen until it ends, and what to do then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privgate.cli.screen import note

if TYPE_CHECKING:
    from privgate.sdk.jobs import Job


def followed(job: Job) -> Job:
    """Write each new state and tenth of a job, wait for its end, and say how to fetch what came of it.

    Raises:
        JobEndedError: It failed, or was cancelled or refused.
    """
    if job.state == "awaiting-approval":
        note("It waits for its owner's approval (`jobs approve`); it will be followed once it has it.")
    told: list[str] = []
    for progress in job.follow():
        if str(progress) not in told[-1:]:
            told.append(str(progress))
            note(told[-1])
    ended = job.wait()
    if ended.release is not None:
        note(_what_next(ended.result().state, ended.release))
    return ended


def _what_next(state: str, release: str) -> str:
    if state == "held":
        return f"Its release is held: its door-keeper lets it go with `privgate releases check {release} release`."
    return f"Its release is {state}: `privgate releases get {release}`."
