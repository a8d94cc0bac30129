"""`verify`: everything that can be found out offline from a directory and a pinned trust file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privgate.cli.options import Machine


def attach(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(verify)


def verify(
    path: Annotated[Path, typer.Argument(help="A bundle, an archive, or the files of a release.", metavar="PATH")],
    trust: Annotated[
        Path | None, typer.Option(help="The trust file that you pinned. Without it the answer is UNANCHORED.")
    ] = None,
    advance: Annotated[
        bool, typer.Option("--advance", help="If it ends VERIFIED, pin this checkpoint in your trust file.")
    ] = False,
    pin: Annotated[
        list[Path] | None,
        typer.Option(help="The `identity.json` of a site or key holder, from itself; once for each that took part."),
    ] = None,
    machine: Machine = False,
) -> None:
    """Verify evidence offline, step by step. Exit code 0 only if everything that is here was checked and holds."""
    from privgate.verify import main_verify

    raise typer.Exit(main_verify(path, trust, as_json=machine, pin=advance, parties=pin or ()))
