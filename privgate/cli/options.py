"""Options that many commands share, and the way from them to a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from privgate.sdk.gateway import Gateway

Profile = Annotated[
    str, typer.Option("--profile", "-p", envvar="PRIVGATE_PROFILE", help="Whose sign-in to use.", metavar="NAME")
]
Machine = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]
Key = Annotated[
    str | None,
    typer.Option("--key", help="Idempotency key: sent twice, it is done once.", metavar="TEXT", show_default=False),
]
DEFAULT = "default"


def gateway(profile: str) -> Gateway:
    """Connect with a profile."""
    from privgate.sdk.gateway import connect

    return connect(profile)


def commands(summary: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(help=summary, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
