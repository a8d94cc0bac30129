"""`login`, `logout`, `whoami`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, gateway
from privgate.cli.screen import note, show


def attach(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command()(login)
    app.command()(logout)
    app.command()(whoami)


def login(
    url: Annotated[str, typer.Argument(help="The gateway's address, https://...", metavar="URL")],
    profile: Profile = DEFAULT,
    ca: Annotated[
        Path | None, typer.Option(help="PEM of the certificate authority to trust; by default the system's.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="Trust file to pin, as the operator gave it to you on another channel.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token. Without it: $PRIVGATE_TOKEN, or a prompt. Never an argument."),
    ] = None,
) -> None:
    """Keep a sign-in: address, token, authority and, if given, the trust file."""
    from audit.trust import TrustFile
    from privgate.client import profiles
    from privgate.sdk.gateway import Gateway

    authority = None if ca is None else ca.read_text(encoding="ascii", errors="replace")
    pinned = None if trust is None else TrustFile.from_bytes(trust.read_bytes())
    kept = profiles.Profile(url=url, token=_token(token_file), authority=authority)
    with Gateway(kept) as signed_in:
        me = signed_in.whoami()
    profiles.save(profile, kept)
    note(f"Signed in as {me.principal} ({', '.join(me.roles) or 'no role yet'}); kept as `{profile}`.")
    if pinned is not None:
        profiles.save_trust(profile, pinned)
        note(f"Pinned the trust file of {pinned.origin}.")
    else:
        note("No trust file is pinned: nothing that is fetched can be verified. See `privgate audit trust --help`.")


def logout(profile: Profile = DEFAULT) -> None:
    """Forget a sign-in and what was pinned with it. The token stays valid until it is revoked or expires."""
    from privgate.client import profiles

    profiles.forget(profile)
    note(f"`{profile}` is forgotten.")


def whoami(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Who you are at the gateway."""
    with gateway(profile) as connected:
        show(connected.whoami(), machine=machine)


def _token(file: Path | None) -> str:
    import os

    if file is not None:
        return file.read_text(encoding="ascii", errors="replace").strip()
    if written := os.environ.get("PRIVGATE_TOKEN"):
        return written.strip()
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    return str(typer.prompt("Token", hide_input=True)).strip()
