"""`policy`: purposes, and who must approve and check what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, commands, gateway
from privgate.cli.screen import show, show_all

app = commands("The tenant's purposes and policy.")


@app.command("show")
def show_policy(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """The policy with its epoch."""
    with gateway(profile) as connected:
        show(connected.policy(), machine=machine)


@app.command("set")
def set_policy(
    file: Annotated[Path, typer.Argument(help="JSON or YAML with approvals, ceilings and checked_by.", metavar="FILE")],
    epoch: Annotated[
        int | None, typer.Option(help="Only if the policy still is at this epoch.", show_default=False)
    ] = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Replace the policy as a whole (administrators)."""
    from privgate.cli.documents import read_document

    body = read_document(file)
    with gateway(profile) as connected:
        show(connected.set_policy(body, epoch=epoch), machine=machine)


@app.command()
def purposes(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """What data here may be used for."""
    from privgate.sdk.views import Purpose

    with gateway(profile) as connected:
        show_all(connected.purposes, Purpose, machine=machine)


@app.command("define-purpose")
def define_purpose(
    purpose: Annotated[str, typer.Argument(help="research/oncology", metavar="PURPOSE")],
    within: Annotated[list[str] | None, typer.Option(help="A purpose that it is part of; may be repeated.")] = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Define a purpose as part of others (administrators)."""
    with gateway(profile) as connected:
        show(connected.define_purpose(purpose, within or ()), machine=machine)
