"""The command line's tree."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from privgate import __version__
from privgate.cli import (
    audit,
    datasets,
    evaluations,
    glm,
    grants,
    infer,
    jobs,
    keyholder,
    login,
    parties,
    people,
    policy,
    populations,
    quotes,
    rehearse,
    releases,
    reports,
    site,
    statistics,
    synthesis,
    verify,
)
from privgate.cli.exits import explain


class Guarded(TyperGroup):
    """The root: an error becomes a sentence and an exit code; a bug stays a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            code = explain(error)
            if code is None:
                raise
            raise typer.Exit(int(code)) from None


app = typer.Typer(
    cls=Guarded,
    help="Private training under one budget, with evidence anybody can recompute.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"privgate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Private training under one budget, with evidence anybody can recompute."""


for module in (login, quotes, rehearse, infer, verify):
    module.attach(app)
app.add_typer(datasets.app, name="datasets")
app.add_typer(populations.app, name="populations")
app.add_typer(grants.app, name="grants")
app.add_typer(jobs.app, name="jobs")
app.add_typer(evaluations.app, name="evaluations")
app.add_typer(glm.app, name="glm")
app.add_typer(statistics.app, name="statistics")
app.add_typer(synthesis.app, name="synthesis")
app.add_typer(releases.app, name="releases")
app.add_typer(audit.app, name="audit")
app.add_typer(reports.app, name="report")
app.add_typer(people.app, name="people")
app.add_typer(policy.app, name="policy")
app.add_typer(parties.app, name="parties")
app.add_typer(site.app, name="site")
app.add_typer(keyholder.app, name="keyholder")
