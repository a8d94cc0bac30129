"""`datasets`: draft, check, add, upload, show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from privgate.cli.exits import Exit
from privgate.cli.options import DEFAULT, Key, Machine, Profile, commands, gateway
from privgate.cli.problems import show_problems
from privgate.cli.screen import dump, note, say, show, show_all

app = commands("Declare a dataset, check a file, upload it, read a card.")
Dataset = Annotated[str, typer.Argument(help="dst_...", metavar="DATASET")]
File = Annotated[Path, typer.Argument(help="The file with the rows.", metavar="FILE")]
Delimiter = Annotated[str, typer.Option(help="What stands between the fields of a CSV file.")]


@app.command()
def draft(
    file: File,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the declaration there.")] = None,
    delimiter: Delimiter = ",",
    unit_column: Annotated[
        str | None, typer.Option(help="The column that says whose row it is, if a person may have several rows.")
    ] = None,
) -> None:
    """Draft a declaration from a CSV file's header. Bounds and categories stay `?`: computed ones give rows away."""
    from privgate import declaring

    drafted = declaring.draft(file, delimiter=delimiter, unit_column=unit_column)
    written = json.dumps(drafted, indent=2, ensure_ascii=out is None)
    if out is None:
        say(written)
    else:
        with out.open("x", encoding="utf-8") as handle:
            handle.write(written + "\n")
        note(f"Wrote {out}. Replace every `?` from public knowledge, then: privgate datasets check FILE --schema {out}")


@app.command()
def check(
    file: File,
    schema: Annotated[Path, typer.Option(help="The declaration, or a schema alone.")],
    delimiter: Delimiter = ",",
    machine: Machine = False,
) -> None:
    """Check a file against its declaration on this machine. Nothing is sent; no value is shown."""
    from privgate import declaring
    from privgate.cli.documents import read_document

    problems = declaring.check(file, declaring.declared_schema(read_document(schema)), delimiter=delimiter)
    if machine:
        dump([problem.to_json() for problem in problems])
    elif problems:
        show_problems((p.row, p.column, p.rule.value) for p in problems)
    if problems:
        more = " or more; the first of them stand here" if len(problems) == declaring.MOST_PROBLEMS else ""
        note(f"{len(problems)} problem{'' if len(problems) == 1 else 's'}{more}.")
        raise typer.Exit(Exit.FAILED)
    note("Every row fits the declaration.")


@app.command()
def add(
    declaration: Annotated[Path, typer.Argument(help="JSON or YAML, as `draft` writes it.", metavar="DECLARATION")],
    population: Annotated[str | None, typer.Option(help="pop_..., in place of the declaration's.")] = None,
    key: Key = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Register a dataset: schema, unit, purposes, legal basis, retention. No row is sent."""
    from kernel.errors import InvalidError
    from privgate import declaring
    from privgate.cli.documents import read_document

    body = read_document(declaration) | ({} if population is None else {"population": population})
    declaring.require_complete(body)
    try:
        with gateway(profile) as connected:
            made = connected.register_dataset(**body, key=key)
    except TypeError:
        raise InvalidError(
            "a declaration has title, population, schema, unit, sensitivity, purposes, legal_basis and "
            "retention_until, and may have description, special_condition, basis_until and site",
            field=declaration.name,
        ) from None
    show(made, machine=machine)


@app.command()
def upload(
    dataset: Dataset,
    file: File,
    form: Annotated[str | None, typer.Option("--format", help="csv, parquet or jsonl; by default by name.")] = None,
    delimiter: Delimiter = ",",
    no_header: Annotated[bool, typer.Option("--no-header", help="The columns stand in the schema's order.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is sealed.")] = False,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Send rows. They are encrypted as they arrive and sealed all or nothing; what is wrong is told to you alone."""
    from privgate.sdk.errors import UploadRefusedError

    with gateway(profile) as connected:
        version = connected.upload(dataset, file, form=form, header=not no_header, delimiter=delimiter, wait=False)
        note(f"Sent as {version.version}.")
        try:
            found = version if no_wait else connected.wait_for_version(version)
        except UploadRefusedError as refused:
            _show_problems(refused, machine=machine)
            raise
    show(found, machine=machine)


@app.command()
def card(dataset: Dataset, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """A dataset's card: what anybody who may see it sees."""
    with gateway(profile) as connected:
        show(connected.datasets[dataset], machine=machine)


@app.command()
def dummy(
    dataset: Dataset,
    rows: Annotated[int, typer.Argument(help="How many.", metavar="ROWS")],
    out: Annotated[Path, typer.Option("--out", "-o", help="A .csv, .jsonl or .parquet file that is not there yet.")],
    seed: Annotated[int, typer.Option("--seed", help="Another number, other rows.")] = 0,
    profile: Profile = DEFAULT,
) -> None:
    """Make rows up from a dataset's declaration alone. They are public, and their figures mean nothing."""
    from privgate.dummy import dummy_rows
    from privgate.rowfiles import write_rows

    with gateway(profile) as connected:
        found = connected.datasets[dataset]
    write_rows(out, found.schema, dummy_rows(found.schema, found.privacy_unit, rows, seed))
    note(f"Wrote {out}: made up, nobody's rows.")


@app.command("list")
def list_datasets(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """The catalogue."""
    from privgate.sdk.datasets import Dataset as View

    with gateway(profile) as connected:
        show_all(connected.datasets, View, machine=machine)


@app.command()
def versions(dataset: Dataset, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """All uploads of your dataset, the oldest first, and where each stands."""
    from privgate.sdk.views import Version as View

    with gateway(profile) as connected:
        show_all(connected.versions(dataset), View, machine=machine)


@app.command()
def erase(
    dataset: Dataset,
    version: Annotated[
        str, typer.Argument(help="ver_..., as `privgate datasets versions` lists it.", metavar="VERSION")
    ],
    profile: Profile = DEFAULT,
) -> None:
    """Destroy the key of a version that jobs no longer read: nobody opens its rows again. What is spent stays spent."""
    with gateway(profile) as connected:
        connected.erase_version(dataset, version)
    note(f'{version} is erased. Backups of the gateway from before still hold its key: see OPERATIONS, "Erasing rows".')


@app.command()
def retire(dataset: Dataset, profile: Profile = DEFAULT) -> None:
    """End a dataset's use. What was spent stays spent."""
    with gateway(profile) as connected:
        connected.retire_dataset(dataset)
    note(f"{dataset} is retired.")


def _show_problems(refused: Exception, *, machine: bool) -> None:
    from privgate.sdk.errors import UploadRefusedError

    assert isinstance(refused, UploadRefusedError)
    found = (refused.version.problems or {}).get("problems", ())
    if machine:
        dump(refused.version.to_json())
    else:
        show_problems((p.get("row"), p.get("column"), str(p.get("rule"))) for p in found)
