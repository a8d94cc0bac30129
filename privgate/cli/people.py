"""`people`: who was let in, with which roles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, commands, gateway
from privgate.cli.screen import note, say, show_all

app = commands("Who was let in, with which roles (administrators).")
Principal = Annotated[str, typer.Argument(help="prn_...", metavar="PRINCIPAL")]
Role = Annotated[str, typer.Argument(help="admin, owner, trainer, checker or auditor.", metavar="ROLE")]
TokenFile = Annotated[Path | None, typer.Option(help="Write the token there, readable by you alone.")]
Days = Annotated[int, typer.Option(help="How long the token lives.")]


@app.command("list")
def list_people(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Everybody who was let in."""
    from privgate.sdk.views import Principal as PrincipalView

    with gateway(profile) as connected:
        show_all(connected.principals, PrincipalView, machine=machine)


@app.command()
def enrol(
    name: Annotated[str, typer.Argument(help="Name of the person or service.", metavar="NAME")],
    role: Annotated[list[str] | None, typer.Option(help="A role to give; may be repeated.")] = None,
    token_file: TokenFile = None,
    days: Days = 90,
    profile: Profile = DEFAULT,
) -> None:
    """Let somebody in. The token is written once, to a file or to standard output."""
    with _hand_over(token_file) as hand_out, gateway(profile) as connected:
        token = connected.enrol(name, *(role or ()), token_days=days)
        hand_out(token.token)
    note(f"Enrolled {token.principal}; credential {token.credential}.")


@app.command()
def token(principal: Principal, token_file: TokenFile = None, days: Days = 90, profile: Profile = DEFAULT) -> None:
    """Issue a further token; it is written once."""
    with _hand_over(token_file) as hand_out, gateway(profile) as connected:
        issued = connected.issue_token(principal, token_days=days)
        hand_out(issued.token)
    note(f"Issued credential {issued.credential}.")


@app.command("give-role")
def give_role(principal: Principal, role: Role, profile: Profile = DEFAULT) -> None:
    """Give a role."""
    with gateway(profile) as connected:
        connected.assign_role(principal, role)
    note(f"{principal} is {role} now.")


@app.command("take-role")
def take_role(principal: Principal, role: Role, profile: Profile = DEFAULT) -> None:
    """Take a role away."""
    with gateway(profile) as connected:
        connected.remove_role(principal, role)
    note(f"{principal} is not {role} any more.")


@app.command()
def disable(principal: Principal, profile: Profile = DEFAULT) -> None:
    """End somebody's access for good, with every token."""
    with gateway(profile) as connected:
        connected.disable(principal)
    note(f"{principal} is disabled.")


@app.command("revoke-token")
def revoke_token(
    credential: Annotated[str, typer.Argument(help="tok_...", metavar="CREDENTIAL")], profile: Profile = DEFAULT
) -> None:
    """Make a token worthless."""
    with gateway(profile) as connected:
        connected.revoke_token(credential)
    note(f"{credential} is revoked.")


@contextmanager
def _hand_over(file: Path | None) -> Iterator[Callable[[str], None]]:
    """Make the file before the token is issued: a token that then cannot be written would be lost, and be valid."""
    import os

    if file is None:
        yield say
        return
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        try:
            yield lambda written: print(written, file=handle, flush=True)
        except BaseException:
            if file.stat().st_size == 0:
                file.unlink()
            raise
