"""`rehearse`: try a request out on this machine, before it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privgate.cli import quotes
from privgate.cli.exits import Exit
from privgate.cli.options import DEFAULT, Machine, Profile, gateway
from privgate.cli.screen import note, show

Rows = Annotated[
    Path | None,
    typer.Option("--rows", help="Own rows, .csv, .jsonl or .parquet; without them dummy rows.", show_default=False),
]
Test = Annotated[
    Path | None,
    typer.Option("--test", help="Own rows to judge the model on; else a fifth of --rows is kept back."),
]
Steps = Annotated[int | None, typer.Option("--steps", help="Run only so many of the plan's steps.")]
Seed = Annotated[int, typer.Option("--seed", help="Of dummy rows: another number, other rows.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write the rehearsed model and what was found there.")]


def attach(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(rehearse)


def rehearse(
    spec: quotes.Spec = None,
    dataset: quotes.Dataset = None,
    purpose: quotes.Purpose = None,
    epsilon: quotes.Epsilon = None,
    label: quotes.Label = None,
    model: quotes.Model = None,
    recipe: quotes.Recipe = None,
    rows: Rows = None,
    test: Test = None,
    steps: Steps = None,
    seed: Seed = 0,
    out: Out = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Try a training out here: the gateway's plan, shapes and refusals, on dummy or own rows. Nothing is spent."""
    request = quotes.written_request(spec, dataset, purpose, epsilon, label=label, model=model, recipe=recipe)
    with gateway(profile) as connected:
        found = connected.rehearse_request(
            request,
            rows=rows,
            test=test,
            steps=steps,
            seed=seed,
            on_progress=lambda done, of: note(f"{done} of {of} steps"),
        )
    show(found, machine=machine)
    if out is not None:
        note("Wrote " + ", ".join(map(str, found.write(out))) + ": a rehearsal, not a release.")
    if found.failed_checks:
        raise typer.Exit(Exit.FAILED)
