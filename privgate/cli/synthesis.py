"""`synthesis`: ask for a synthetic table's counts once, and draw rows from them for ever."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privgate.cli.options import DEFAULT, Key, Machine, Profile, commands, gateway
from privgate.cli.requesting import request_job, show_quote
from privgate.cli.screen import dump, note, table

if TYPE_CHECKING:
    from privgate.synthetic import SyntheticTable

Source = Annotated[
    str, typer.Argument(help="rel_..., or a synthesis.json that was fetched.", metavar="RELEASE", show_default=False)
]

app = commands("Ask for a synthetic table, and draw its rows.")


@app.command()
def ask(
    dataset: Annotated[str, typer.Option(help="dst_...")],
    purpose: Annotated[str, typer.Option(help="Why; a grant must cover it.")],
    epsilon: Annotated[str, typer.Option(help="Of this job alone; rows cost nothing more.")],
    column: Annotated[
        list[str] | None, typer.Option(help="A column of the table, may be repeated; all that can be counted, without.")
    ] = None,
    around: Annotated[
        str | None, typer.Option(help="The column to predict: every pair of the others is counted for each cell of it.")
    ] = None,
    bins: Annotated[int | None, typer.Option(help="Into how many cells of one width a number is cut.")] = None,
    edges: Annotated[
        list[str] | None,
        typer.Option(help="Where a number is cut instead, such as age=18,30,45,65; may be repeated.", metavar="CUTS"),
    ] = None,
    per: Annotated[str | None, typer.Option(help="row: all rows of a person count; unit: the first alone.")] = None,
    block: Annotated[str, typer.Option(help="Whose rows: train or holdout.")] = "train",
    home: Annotated[
        bool,
        typer.Option("--home", help="Only people who were new in the version's home block; only they are charged."),
    ] = False,
    quote: Annotated[bool, typer.Option("--quote", help="Only say what it would cost; nothing is held.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Follow the job until it ends.")] = False,
    key: Key = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Request a synthetic table: it is queued with its reservation, waits for an approval, or is refused."""
    from privgate.sdk.requests import synthesis_request

    request = synthesis_request(
        dataset,
        purpose=purpose,
        epsilon=epsilon,
        columns=column,
        around=around,
        bins=bins,
        edges=None if edges is None else dict(map(_cuts, edges)),
        per=per,
        block=block,
        home=home,
    )
    with gateway(profile) as connected:
        if quote:
            show_quote(connected, request, machine=machine)
            return
        request_job(connected, request, key=key, follow=follow, machine=machine)


@app.command("show")
def show_pairs(source: Source, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Which columns hang together in a released table, and how far beyond the noise."""
    found = _read(source, profile)
    if machine:
        pairs = [{"first": p.first, "second": p.second, "apart": f"{p.apart:.0f}"} for p in found.pairs]
        dump({"dataset": found.dataset, "around": found.around, "columns": list(found.columns), "pairs": pairs})
    else:
        say_pairs(found)


@app.command()
def rows(
    source: Source,
    count: Annotated[int, typer.Argument(help="How many.", metavar="ROWS")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .csv, .jsonl or .parquet file that is not there yet.")],
    seed: Annotated[int, typer.Option("--seed", help="Another number, other rows.")] = 0,
    profile: Profile = DEFAULT,
) -> None:
    """Draw synthetic rows from a released table: as many as you like, for nothing more."""
    from privacy.schema import TableSchema
    from privgate.rowfiles import write_rows

    found = _read(source, profile)
    with gateway(profile) as connected:
        schema = connected.datasets[found.dataset].schema
    drawn = list(found.rows(schema, count, seed))
    named = TableSchema(tuple(column for column in schema.columns if column.name in drawn[0]))
    write_rows(out, named, drawn)
    note(f"Wrote {out}: drawn from noisy counts, nobody's rows.")


def say_pairs(found: SyntheticTable) -> None:
    """Write what hangs together as a table."""
    ties = [[pair.first, pair.second, f"{pair.apart:.0f}" if pair.apart > 0 else "-"] for pair in found.pairs]
    table(["column", "hangs together with", "rows beyond independence and noise"], ties)
    if found.around is not None:
        note(f"Each of these was counted for every cell of `{found.around}`.")
    note(
        "What holds beyond these pairs is not in the rows; a figure from them is about noisy counts, not about people."
    )


def _cuts(written: str) -> tuple[str, list[str]]:
    from kernel.errors import InvalidError

    name, equals, cuts = written.rpartition("=")
    if not equals or not name:
        raise InvalidError("`edges` reads like age=18,30,45,65", field="edges")
    return name, [cut.strip() for cut in cuts.split(",")]


def _read(source: str, profile: str) -> SyntheticTable:
    from privgate.synthetic import SyntheticTable

    if not source.startswith("rel_"):
        return SyntheticTable.read(Path(source).read_bytes())
    with gateway(profile) as connected:
        return connected.releases[source].fetch().synthetic_table()
