"""Following a job on the screen until it ends, and what to do then.

Rules
-----
1. Whoever waits for a person is told whom, and by which command it goes on: nothing would happen for hours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from privgate.cli.exits import Exit
from privgate.cli.screen import note, show

if TYPE_CHECKING:
    from privgate.sdk.jobs import Job

WAITS = "awaiting-approval"


def show_followed(job: Job, *, machine: bool) -> None:
    """Follow a job and show it as it then stands; exit code 8 if it waits for a person.

    Raises:
        JobEndedError: It failed, or was cancelled or refused.
    """
    after = followed(job)
    show(after, machine=machine)
    if after.state == WAITS:
        raise typer.Exit(Exit.CONFLICT)


def followed(job: Job) -> Job:
    """Write each new state and tenth of a job, wait for its end, and say how to fetch what came of it.

    A job that waits for an approval is returned at once, for that may take days.

    Raises:
        JobEndedError: It failed, or was cancelled or refused.
    """
    if job.state == WAITS:
        note(_how_it_goes_on(job.job))
        return job
    told: list[str] = []
    for progress in job.follow():
        if str(progress) not in told[-1:]:
            told.append(str(progress))
            note(told[-1])
    ended = job.wait()
    if ended.release is not None:
        note(_what_next(ended.result().state, ended.release))
    return ended


def _how_it_goes_on(job: str) -> str:
    return (
        f"It waits for an approval, so there is nothing to follow yet. Its owner looks at it with `privgate jobs show "
        f"{job}` and says yes with `privgate jobs approve {job}`; then `privgate jobs follow {job}` follows it."
    )


def _what_next(state: str, release: str) -> str:
    if state == "held":
        return f"Its release is held: its door-keeper lets it go with `privgate releases check {release} release`."
    return f"Its release is {state}: `privgate releases get {release}`."
