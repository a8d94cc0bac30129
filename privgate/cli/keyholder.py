"""`keyholder`: the agent that makes a key for each job, adds the sites' uploads itself, and decrypts once a round."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from privgate.cli import agents
from privgate.cli.options import commands

if TYPE_CHECKING:
    from privgate.agents.agent import Agent
    from privgate.agents.channel import Channel
    from privgate.agents.home import Home

app = commands("Hold the keys of jobs on encrypted sums: one key for a job, one decryption for a round.")


def _make(home: Home, channel: Channel, tell: Callable[[str], None]) -> Agent:
    from kernel.clock import SystemClock
    from privacy.homomorphic.documents.parties import PartyKind
    from privgate.agents.home import require_kind
    from privgate.agents.keyholder.agent import KeyHolder

    require_kind(home.who, PartyKind.KEYHOLDER)
    return KeyHolder(home, channel, SystemClock(), tell)


agents.attach(app, "keyholder", _make)
