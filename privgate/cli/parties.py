"""`parties`: the agents that take part in jobs on data that stays with its sites."""

from __future__ import annotations

from typing import Annotated

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, commands, gateway
from privgate.cli.screen import note, show, show_all

app = commands("Agents of sites and key holders. `privgate site enrol` and `privgate keyholder enrol` let them in.")
Party = Annotated[str, typer.Argument(help="pty_...", metavar="PARTY")]


@app.command("list")
def list_parties(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Every agent that was enrolled, with the fingerprint that people compare."""
    from privgate.sdk.collections import Party as View

    with gateway(profile) as connected:
        show_all(connected.parties, View, machine=machine)


@app.command()
def disable(party: Party, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """End an agent's access, for good."""
    with gateway(profile) as connected:
        show(connected.disable_party(party), machine=machine)
    note("Jobs that wait for it fail at their deadline.")
