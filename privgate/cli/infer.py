"""`infer`: ask a released model about rows of one's own, under encryption."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privgate.cli.exits import Exit
from privgate.cli.following import WAITS
from privgate.cli.options import DEFAULT, Machine, Profile, gateway
from privgate.cli.screen import card, dump, note, show

if TYPE_CHECKING:
    from privgate.sdk.jobs import Job
    from privgate.sdk.scores import Scores

Release = Annotated[
    str, typer.Argument(help="rel_..., a released model that a grant of yours lets you ask.", metavar="RELEASE")
]
Purpose = Annotated[str, typer.Option(help="Why; a grant must cover it.")]
Rows = Annotated[Path | None, typer.Option("--rows", help="Own rows, .csv, .jsonl or .parquet.", show_default=False)]
Out = Annotated[Path, typer.Option("--out", "-o", help="A fresh file for the scores, a line for each row.")]
Keep = Annotated[
    Path | None,
    typer.Option(
        "--keep",
        help="Folder that keeps the question, sealed, until its answer is read; by default OUT with .question behind.",
        show_default=False,
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="What opens that folder; by default a file in it.", show_default=False),
]
Quote = Annotated[bool, typer.Option("--quote", help="Only say what it would take, and who would learn what.")]


def attach(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command()(infer)


def infer(
    release: Release,
    purpose: Purpose,
    rows: Rows = None,
    out: Out = Path("scores.csv"),
    keep: Keep = None,
    key_file: KeyFile = None,
    quote: Quote = False,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Ask a released model about your own rows, which stay encrypted: you alone read the scores. It costs nothing.

    The same command again goes on where it was left: after a crash, or when it waited for somebody.
    """
    from kernel.errors import InvalidError
    from privgate.rowfiles import read_rows

    with gateway(profile) as connected:
        if quote:
            show(connected.quote_inference(release, purpose=purpose), machine=machine)
            return
        if rows is None:
            raise InvalidError("give your rows with `--rows FILE`", field="rows")
        if out.exists():
            raise InvalidError(f"`{out}` is there already and is not overwritten: name another file", field="out")
        scores = connected.infer(
            release,
            read_rows(rows),
            purpose=purpose,
            keep=keep or out.with_name(out.name + ".question"),
            key_file=key_file,
            on_waiting=_leave,
            on_progress=lambda progress: note(str(progress)),
            then=lambda found: found.write(out),
        )
    _say(scores, out, machine=machine)


def _leave(job: Job) -> None:
    """Whoever waits for a person comes back later."""
    assert job.state == WAITS
    note(
        f"It waits for an approval. The owner looks at it with `privgate jobs show {job.job}` and says yes with "
        f"`privgate jobs approve {job.job}`; then the same command goes on."
    )
    raise typer.Exit(Exit.CONFLICT)


def _say(scores: Scores, out: Path, *, machine: bool) -> None:
    scored = sum(numbers is not None for numbers in scores.outputs)
    stated = scores.certificate.predicate
    if machine:
        dump({"job": scores.job, "release": scores.release, "rows": len(scores.outputs), "scored": scored,
              "file": str(out), "charge": str(stated.charge), "error": scores.error,
              "positive": scores.positive})  # fmt: skip
        return
    guarantee = stated.model.guarantee
    card(
        "scores",
        [
            ("written", f"{out}: {scored} of {len(scores.outputs)} rows scored"),
            *((("true means", scores.positive),) if scores.positive else ()),
            ("precision", f"a score of size 1 is off by about {scores.error:g}"),
            ("charged", "nothing: the model was paid for when it was made"),
            ("the model's people", f"at most epsilon {guarantee.epsilon} at delta {guarantee.delta}, all together"),
            ("the gateway saw", "ciphertexts, and how many; no row, no score, not how many rows"),
            ("answer", f"{scores.release}, certified and published"),
        ],
    )
