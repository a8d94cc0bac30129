"""`statistics`: ask for priced counts, sums, means and quantiles in words, and read the answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privgate.cli.options import DEFAULT, Key, Machine, Profile, commands, gateway
from privgate.cli.quotes import Home
from privgate.cli.requesting import request_job, say_how_many, show_quote
from privgate.cli.screen import dump, note, say, table

if TYPE_CHECKING:
    from privgate.statistics import Statistics

app = commands("Ask for priced statistics of a table, and read them.")


@app.command()
def ask(
    query: Annotated[
        list[str],
        typer.Argument(
            help="What to ask, one text each: 'count', 'profile', 'histogram ward smoker', 'mean age by ward', "
            "'sum dose', 'quantiles age at 0.25 0.5'; then may follow 'bins 20', 'per unit', 'weight 3'.",
            metavar="QUERY...",
        ),
    ],
    dataset: Annotated[str, typer.Option(help="dst_...")],
    purpose: Annotated[str, typer.Option(help="Why; a grant must cover it.")],
    epsilon: Annotated[str, typer.Option(help="Of all queries together; they share it by their weights.")],
    block: Annotated[str, typer.Option(help="Whose rows: train or holdout.")] = "train",
    home: Home = False,
    quote: Annotated[bool, typer.Option("--quote", help="Only say what it would cost; nothing is held.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Follow the job until it ends.")] = False,
    key: Key = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Request statistics: queued with its reservation, waiting for an approval, or refused with what would fit."""
    from privgate.sdk.requests import statistics_request
    from privgate.statistics import expected_noise, read_query, words

    queries = [read_query(sentence) for sentence in query]
    request = statistics_request(dataset, purpose=purpose, epsilon=epsilon, queries=queries, block=block, home=home)
    with gateway(profile) as connected:
        if quote:
            quoted = show_quote(connected, request, machine=machine)
            if not machine:
                facts = connected.datasets[dataset].facts(home_alone=home)
                told = zip(expected_noise(quoted, facts), words(quoted, facts), strict=True)
                table(
                    ["query", "noise reaches, at 95 %, plus or minus", "by noise"],
                    [[title, far, word] for (title, far), (_, word) in told],
                )
                say_how_many(words(quoted, facts))
            return
        request_job(connected, request, key=key, follow=follow, machine=machine)


@app.command("show")
def show_answers(
    source: Annotated[
        str,
        typer.Argument(help="rel_..., or a statistics.json or he-statistics.json that was fetched.", metavar="RELEASE"),
    ],
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """The answers, each with the interval that holds at 95 % what it would be without noise; covariances of sites."""
    found = _read(source, profile)
    if machine:
        dump(found.to_fields())
    else:
        say_answers(found)


def say_answers(found: Statistics) -> None:
    """Write each answer as a table, and each covariance as a matrix."""
    from privgate.site_results import SitesStatistics

    for answer in found:
        say(answer.title)
        header = [axis.column for axis in answer.query.axes] if not answer.query.at else ["quantile"]
        rows = [
            [*cell.where, *(each or "-" for each in (cell.value, cell.low, cell.high, cell.deviation))]
            for cell in answer
        ]
        table([*header, "value", "low", "high", "deviation"], rows)
    for together in found.covariances if isinstance(found, SitesStatistics) else ():
        say(together.title)
        table(["", "mean", *together.columns], together.table())
    note(found.legend)


@app.command()
def synthesise(
    source: Annotated[str, typer.Argument(help="rel_..., or a statistics.json that was fetched.", metavar="RELEASE")],
    rows: Annotated[int, typer.Argument(help="How many.", metavar="ROWS")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .csv, .jsonl or .parquet file that is not there yet.")],
    seed: Annotated[int, typer.Option("--seed", help="Another number, other rows.")] = 0,
    around: Annotated[str | None, typer.Option(help="The column to predict: keep its pairs first.")] = None,
    profile: Profile = DEFAULT,
) -> None:
    """Draw synthetic rows from released histograms: as many as you like, for nothing more. Ask `pairs` for them."""
    from privacy.schema import TableSchema
    from privgate.rowfiles import write_rows
    from privgate.synthesis import synthetic_rows

    found = _read(source, profile)
    with gateway(profile) as connected:
        schema = connected.datasets[found.dataset].schema
    drawn = list(synthetic_rows(found, schema, rows, seed, around=around))
    named = TableSchema(tuple(column for column in schema.columns if column.name in drawn[0]))
    write_rows(out, named, drawn)
    note(f"Wrote {out}: drawn from noisy histograms, nobody's rows.")


def _read(source: str, profile: str) -> Statistics:
    from privgate.site_results import statistics_of

    if not source.startswith("rel_"):
        return statistics_of(Path(source).read_bytes())
    with gateway(profile) as connected:
        return connected.releases[source].fetch().statistics()
