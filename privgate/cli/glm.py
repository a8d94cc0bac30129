"""`glm`: read a released generalised linear model as a paper prints it; `jobs submit --family` asks for one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, commands, gateway
from privgate.cli.screen import dump, note, say, table

if TYPE_CHECKING:
    from privgate.glm import GlmTable

app = commands("Read coefficients with standard errors that include the noise.")


@app.command("show")
def show_coefficients(
    source: Annotated[
        str, typer.Argument(help="rel_..., or a glm.json or he-glm.json that was fetched.", metavar="RELEASE")
    ],
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Coefficients, standard errors, intervals at 95 %, p-values and ratios, of a model of one table or of sites."""
    found = _read(source, profile)
    if machine:
        dump(found.to_fields())
        return
    say_coefficients(found)


def say_coefficients(found: GlmTable) -> None:
    """Write the coefficients as a table, or that noise drowned them."""
    say(found.title)
    if found.drowned:
        note(found.drowned)
        return
    table(list(found.header), [list(row) for row in found.rows])
    note(found.legend)


def _read(source: str, profile: str) -> GlmTable:
    from privgate.site_results import glm_of

    if not source.startswith("rel_"):
        return glm_of(Path(source).read_bytes())
    with gateway(profile) as connected:
        return connected.releases[source].fetch().glm()
