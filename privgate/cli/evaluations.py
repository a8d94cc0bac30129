"""`evaluations`: ask for the figures of a released model on an owner's holdout, and read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privgate.cli.options import DEFAULT, Key, Machine, Profile, commands, gateway
from privgate.cli.quotes import Home
from privgate.cli.requesting import request_job, show_quote
from privgate.cli.screen import dump, table

if TYPE_CHECKING:
    from privgate.evaluations import Evaluation

app = commands("Ask for priced figures of a released model, and read them.")
Release = Annotated[str, typer.Argument(help="rel_..., a released model.", metavar="RELEASE")]
Subgroup = Annotated[
    list[str] | None, typer.Option(help="A column by whose categories figures and gaps are wanted; may be repeated.")
]
Share = Annotated[
    list[str] | None,
    typer.Option(help="part=0.5, may be repeated: outcomes or confusion, scores, subgroups; of a number errors."),
]
ErrorBound = Annotated[
    str | None, typer.Option(help="Of a number: the part of the label's range that an error counts at most.")
]


@app.command()
def ask(
    release: Release,
    purpose: Annotated[str, typer.Option(help="Why; a grant must cover it.")],
    epsilon: Annotated[str, typer.Option(help="Of this job alone, whatever is measured in it.")],
    dataset: Annotated[str | None, typer.Option(help="dst_...; by default the one that the model came from.")] = None,
    confusion: Annotated[
        bool, typer.Option("--confusion", help="Also precision, recall, specificity and F1 of each class.")
    ] = False,
    subgroup: Subgroup = None,
    share: Share = None,
    bins: Annotated[int | None, typer.Option(help="Cells of the histogram of scores: 2 to 64.")] = None,
    least_group: Annotated[int | None, typer.Option(help="Groups of fewer noisy rows are not shown.")] = None,
    error_bound: ErrorBound = None,
    home: Home = False,
    quote: Annotated[bool, typer.Option("--quote", help="Only say what it would cost; nothing is held.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Follow the job until it ends.")] = False,
    key: Key = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Ask for an evaluation on an owner's holdout: one price for everything that is measured in it."""
    from privgate.sdk.requests import evaluation_request

    choices: dict[str, Any] = {
        "confusion": True if confusion else None,
        "subgroups": subgroup or None,
        "shares": _shares(share or []) or None,
        "bins": bins,
        "least_group": least_group,
        "error_bound": error_bound,
        "home": home,
    }
    with gateway(profile) as connected:
        of = dataset or connected.releases[release].dataset
        request = evaluation_request(release, of, purpose=purpose, epsilon=epsilon, **choices)
        if quote:
            show_quote(connected, request, machine=machine)
            return
        request_job(connected, request, key=key, follow=follow, machine=machine)


@app.command("show")
def show_figures(
    source: Annotated[str, typer.Argument(help="rel_..., or an evaluation.json that was fetched.", metavar="RELEASE")],
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """The figures of a released evaluation, computed again from its noisy numbers, each with its interval."""
    from privgate.evaluations import Evaluation

    if source.startswith("rel_"):
        with gateway(profile) as connected:
            found = connected.releases[source].fetch().evaluation()
    else:
        found = Evaluation.read(Path(source).read_bytes())
    if machine:
        dump(dict(found))
        return
    say_figures(found)


def say_figures(found: Evaluation) -> None:
    """Write the figures as a table."""
    from privgate.evaluations import HEADER

    table(list(HEADER), [figure.cells for figure in found.figures])


def _shares(pairs: list[str]) -> dict[str, str]:
    """What `--share part=0.5` says."""
    from kernel.errors import InvalidError

    named = [pair.partition("=") for pair in pairs]
    if not all(part and equals and share for part, equals, share in named):
        raise InvalidError("write `--share part=0.5`", field="shares")
    return {part: share for part, _, share in named}
