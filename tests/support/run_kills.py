"""A training run that is killed at random moments, its worker or its child, and begun again until it ends.

Rules
-----
1. The job is an ordinary one: book-keeping engine, adaptive clipping, ten chunks with a savepoint after each.
2. The moment is a time, not a named point: whatever the process is doing then. The seed draws victims and times; what
   they hit depends on the machine.
3. As many kills as the job's hold covers, then nobody disturbs it: it must end, and finished. A child that is killed
   before its attempt opened the envelope costs nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from gateway.records import JobState
from gateway.services.request_job import request_job
from gateway.wiring import build
from kernel.ids import DatasetId, JobId
from privacy.budget.reservations import ReservationState
from privacy.jobs.engines import EngineName
from privacy.jobs.plan import RESUMES, TrainingPlan, read_plan
from privacy.jobs.recipe import Clipping
from tests.support import crashes, declarations
from tests.support.crash_looks import look
from tests.support.crashes import LaterClock, Place, Stage

RECIPE = {"steps": 8000, "clipping": "adaptive"}
_LAPSE = timedelta(seconds=30)
"""Later than any lease of whoever died."""
_PATIENCE = 120


@dataclass(frozen=True)
class Fate:
    """What became of one run.

    Attributes:
        victims: Who was killed, in order: worker or child.
        attempts: How many attempts the job had.
        started: Steps that were started, over all attempts.
        steps: Steps of the plan.
    """

    victims: tuple[str, ...]
    attempts: int
    started: int
    steps: int


def waiting_job(place: Place) -> Place:
    """A place in which such a job is queued."""
    crashes.prepared(place, "enrol", "register", "upload", "seal")
    with closing(build(place.settings)) as gateway:
        stage = Stage(place, gateway)
        body = declarations.training(DatasetId(stage.known["dataset"]), "2") | {"recipe": RECIPE}
        stage.once("job", lambda: declarations.queued(request_job(stage.on, stage.caller("trainer"), body)).id)
    return place


def killed_at_random(place: Place, draw: random.Random, seconds: float, archive: Path) -> Fate:
    """Run a waiting job, kill it up to as often as its hold covers, run it to its end, and look.

    Args:
        place: Where it waits; used up.
        draw: Draws victims and moments.
        seconds: About how long an undisturbed run takes.
        archive: A folder to make for the auditor's export.

    Raises:
        AssertionError: It was charged too little, lost more than a chunk for a kill, or does not end.
    """
    victims = []
    for number in range(draw.randint(1, RESUMES)):
        process = _running(place, _LAPSE * number)
        time.sleep(draw.uniform(0, seconds))
        victims.append(_kill(process, draw.choice(("worker", "child"))))
    ahead = _LAPSE * (RESUMES + 1)
    crashes.play(place, "run", lambda _: None, ahead)
    with closing(build(place.settings, clock=LaterClock(ahead * 2))) as gateway:
        stage = Stage(place, gateway)
        stage.settle()
        look(stage, place.acknowledged(), archive)
        return _fate(stage, tuple(victims))


def undisturbed(place: Place) -> float:
    """Seconds that a run takes which nobody kills."""
    begun = time.monotonic()
    process = _running(place, timedelta())
    process.join(_PATIENCE)
    assert process.exitcode == 0, process.exitcode
    return time.monotonic() - begun


def _fate(stage: Stage, victims: tuple[str, ...]) -> Fate:
    with stage.on.database.read() as reading:
        job = reading.jobs.get(id=JobId(stage.known["job"]))
        plan = read_plan(job.kind, job.plan)
        reservation = reading.ledger.read(job.population, job=job.id).reservation
    assert isinstance(plan, TrainingPlan)
    assert (plan.engine, plan.recipe.clipping) == (EngineName.BOOKKEEPING, Clipping.ADAPTIVE)
    assert reservation is not None
    assert job.attempts <= 1 + len(victims), (job.attempts, victims)
    steps, started = plan.recipe.steps, job.steps_started
    charged = [charge.times for charge in reservation.charges]
    assert job.state is JobState.FINISHED, f"after {victims} the job is {job.state.value}"
    assert reservation.state is ReservationState.CHARGED
    # Never too little: the charge is of all that was started, and at least of a whole run.
    assert charged == [started]
    # At most one chunk lost for each attempt that died.
    assert steps <= started <= steps + (job.attempts - 1) * plan.savepoint_interval, (started, job.attempts)
    return Fate(victims, job.attempts, started, steps)


def _running(place: Place, ahead: timedelta) -> BaseProcess:
    play: Callable[..., Any] = crashes.play
    process = multiprocessing.get_context("fork").Process(target=play, args=(place, "run", lambda _: None, ahead))
    process.start()
    return process


def _kill(process: BaseProcess, victim: str) -> str:
    """Kill the worker, or its child if it has one just now, and see the worker through to its end."""
    assert process.pid is not None
    if victim == "child":
        for child in _children(process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        # The worker notices and takes the next attempt, or puts the job back; either way it ends by itself.
        process.join(_PATIENCE)
        assert process.exitcode is not None, "the worker hangs after its child died"
        return victim
    process.kill()
    process.join()
    return victim


def _children(process: int) -> list[int]:
    """The processes that a process started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):
            found += [int(text) for text in (task / "children").read_text().split()]
    return found + [later for child in found for later in _children(child)]
