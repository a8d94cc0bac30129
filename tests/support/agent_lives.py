"""Lives of an agent that end by SIGKILL: each at a crash point at which none before it ended.

A life is a process: it opens the agent's home, connects to the gateway over mutual TLS, computes in confined children,
and polls until it is killed or the job has ended here. Nothing of it survives but its home.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection

from kernel.clock import SystemClock
from kernel.ids import JobId
from privgate.agents.agent import Agent
from privgate.agents.channel import HttpsChannel
from privgate.agents.home import Home
from privgate.agents.keyholder.agent import KeyHolder
from privgate.agents.site.agent import Site
from privgate.agents.site.datasets import SiteDatasets
from tests.support.federation import Member

KILLED = -signal.SIGKILL
LIFE_SECONDS = 120.0
POLL_SECONDS = 0.05


def lived(member: Member, job: str) -> list[str]:
    """Let an agent live as often as it takes to pass every point; the points, in the order in which it died there."""
    died: list[str] = []
    while (point := _life(member, JobId(job), frozenset(died))) is not None:
        died.append(point)
    return died


def _life(member: Member, job: JobId, before: frozenset[str]) -> str | None:
    """One life: where it was killed, or nothing if it came to the job's end."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_live, args=(member, job, before, theirs))
    process.start()
    theirs.close()
    process.join(LIFE_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"the agent neither dies nor ends, after {sorted(before)}: {member.agent.told()}")
    if process.exitcode == 0:
        return None
    assert process.exitcode == KILLED, (process.exitcode, member.agent.told())
    found = ours.recv()
    ours.close()
    return str(found)


def _live(member: Member, job: JobId, before: frozenset[str], tell: Connection) -> None:
    def point(name: str) -> None:
        if name not in before:
            tell.send(name)
            os.kill(os.getpid(), signal.SIGKILL)

    with member.home(point) as home, HttpsChannel(home.access()) as channel:
        agent = _agent(member, home, channel)
        agent.poll()
        while not home.log.history.of(job).ended:
            time.sleep(POLL_SECONDS)
            agent.poll()
    sys.exit(0)


def _agent(member: Member, home: Home, channel: HttpsChannel) -> Agent:
    def tell(sentence: str) -> None:
        with (member.agent.folder / "agent.log").open("a", encoding="utf-8") as file:
            file.write(sentence + "\n")

    (member.agent.folder / "agent.log").touch()
    if member.agent.kind == "keyholder":
        return KeyHolder(home, channel, SystemClock(), tell)
    return Site(home, channel, SystemClock(), tell, SiteDatasets(member.agent.home))
