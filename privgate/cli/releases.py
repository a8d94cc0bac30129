"""`releases`: the desk, and what leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, commands, gateway
from privgate.cli.screen import card, dump, note, show, show_all

app = commands("What leaves: check it, fetch it, verify it.")
Release = Annotated[str, typer.Argument(help="rel_...", metavar="RELEASE")]


@app.command("list")
def list_releases(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Releases that you asked for, that come from your data, or that you may check."""
    from privgate.sdk.releases import Release as View

    with gateway(profile) as connected:
        show_all(connected.releases, View, machine=machine)


@app.command("show")
def show_release(release: Release, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """A release and where it stands."""
    with gateway(profile) as connected:
        show(connected.releases[release], machine=machine)


@app.command()
def get(
    release: Release,
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for the files.")] = Path("release"),
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Fetch a release, verify certificate, artefact and receipt with the pinned trust file, then write the files."""
    with gateway(profile) as connected:
        fetched = connected.releases[release].download(out)
    predicate = fetched.certificate.predicate
    alone, total = predicate.this_job_alone, predicate.guarantee
    if machine:
        files = {name: str(out / name) for name in fetched.files}
        dump({"release": release, "files": files, "log_index": fetched.entry.index, "epsilon": str(alone.epsilon)})
        return
    card(
        "verified",
        [
            ("artefact", f"{fetched.certificate.artifact_name} {fetched.certificate.artifact}"),
            ("this job alone", f"epsilon {alone.epsilon} at delta {alone.delta}"),
            ("everything from these people", f"epsilon {total.epsilon} at delta {total.delta}"),
            ("published as log entry", fetched.entry.index),
            ("files", ", ".join(str(out / name) for name in fetched.files)),
        ],
    )


@app.command()
def check(
    release: Release,
    verdict: Annotated[str, typer.Argument(help="release or refuse.", metavar="VERDICT")],
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """The door-keeper's answer to a held release. Never by the one who asked for it."""
    with gateway(profile) as connected:
        show(connected.check_release(release, verdict), machine=machine)


@app.command()
def recall(release: Release, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Close a release's download. What was disclosed stays disclosed."""
    with gateway(profile) as connected:
        show(connected.recall_release(release), machine=machine)
    note("Whoever fetched it before still has it.")
