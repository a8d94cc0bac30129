"""`rehearse`: try a request out on this machine, before it costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privgate.cli import quotes
from privgate.cli.exits import Exit
from privgate.cli.options import DEFAULT, Machine, Profile, gateway
from privgate.cli.screen import note, show

if TYPE_CHECKING:
    from privgate.sdk.rehearsals import JobRehearsal, Rehearsal

Rows = Annotated[
    Path | None,
    typer.Option("--rows", help="Own rows, .csv, .jsonl or .parquet; without them dummy rows.", show_default=False),
]
Test = Annotated[
    Path | None,
    typer.Option("--test", help="Training: own rows to judge the model on; else a fifth of --rows is kept back."),
]
Steps = Annotated[int | None, typer.Option("--steps", help="Training: run only so many of the plan's steps.")]
Seed = Annotated[int, typer.Option("--seed", help="Of dummy rows: another number, other rows.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write what was found, and a rehearsed model, there.")]


def attach(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(rehearse)


@quotes.from_flags
def rehearse(
    request: dict[str, Any],
    rows: Rows = None,
    test: Test = None,
    steps: Steps = None,
    seed: Seed = 0,
    out: Out = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Try a job out here: the gateway's plan, shapes and refusals, on dummy or own rows. Nothing is spent."""
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
    if not machine:
        say_result(found)
    if out is not None:
        note("Wrote " + ", ".join(map(str, found.write(out))) + ": a rehearsal, not a release.")
    if found.failed_checks:
        raise typer.Exit(Exit.FAILED)


def say_result(found: Rehearsal | JobRehearsal) -> None:
    """What a job of another kind than a training answered."""
    match getattr(found, "kind", None):
        case "statistics":
            from privgate.cli.statistics import say_answers

            say_answers(found.found)  # type: ignore[union-attr]
        case "synthesis":
            from privgate.cli.synthesis import say_pairs

            say_pairs(found.found)  # type: ignore[union-attr]
        case "glm":
            from privgate.cli.glm import say_coefficients

            say_coefficients(found.found)  # type: ignore[union-attr]
        case "evaluation":
            from privgate.cli.evaluations import say_figures
            from privgate.evaluations import Evaluation

            say_figures(Evaluation.read(found.artifact))  # type: ignore[union-attr]
        case _:
            pass
