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
    from privgate.sdk.promises import epsilon_of, promises

    with gateway(profile) as connected:
        found = connected.releases[release]
        if found.state == "held":
            note(f"It is held. Its door-keeper (`policy show`) lets it go: privgate releases check {release} release")
        fetched = found.download(out)
    if machine:
        files = {name: str(out / name) for name in fetched.files}
        epsilon = epsilon_of(fetched.certificate)
        dump({"release": release, "files": files, "log_index": fetched.entry.index, "epsilon": epsilon})
        return
    card(
        "verified",
        [
            ("artefact", f"{fetched.certificate.artifact_name} {fetched.certificate.artifact}"),
            *promises(fetched.certificate),
            ("published as log entry", fetched.entry.index),
            ("files", ", ".join(str(out / name) for name in fetched.files)),
        ],
    )


@app.command()
def shapes(
    release: Release,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write them as a picture (.svg) as well.")] = None,
    profile: Profile = DEFAULT,
) -> None:
    """Fetch, verify, and show what each column adds to the score of an additive model."""
    with gateway(profile) as connected:
        found = connected.releases[release].fetch().shapes()
    note(found.text())
    if out is not None:
        note(str(found.save(out)))


@app.command()
def export(
    release: Release,
    onnx: Annotated[Path, typer.Option("--onnx", help="The file to write; its record is written beside it.")],
    int8: Annotated[bool, typer.Option("--int8", help="Round the layers' weights to 8 bits.")] = False,
    calibrate: Annotated[
        Path | None, typer.Option(help="With --int8: public rows (.csv, .jsonl, .parquet) that fix how inputs round.")
    ] = None,
    origin: Annotated[str, typer.Option(help="Whose those rows are: public, dummy or dp-synthetic.")] = "public",
    prune: Annotated[str | None, typer.Option(help="Share of the layers' weights to set to zero, as in 0.5.")] = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Fetch, verify, and write a model as one ONNX file: raw columns in, probabilities out, certificate inside."""
    from privgate.rowfiles import read_rows

    rows = None if calibrate is None else read_rows(calibrate)
    with gateway(profile) as connected:
        model = connected.releases[release].fetch().derived()
    if prune is not None:
        model = model.pruned(prune)
    written = model.export_onnx(onnx, int8=int8, calibrate=rows, origin=origin)
    steps = [str(step["step"]) for step in written.lineage.steps]
    if machine:
        files = {"onnx": str(written.path), "lineage": str(written.lineage_path)}
        dump({"release": release, "files": files, "digest": written.digest, "bytes": written.size, "steps": steps})
        return
    card(
        "exported",
        [
            ("file", f"{written.path} {written.digest}"),
            ("bytes", written.size),
            ("record", written.lineage_path),
            ("steps", ", ".join(steps)),
            ("cost", "none: post-processing. Figures of an evaluation are about the release, not about this file."),
        ],
    )


@app.command("verify-onnx")
def verify_onnx(
    file: Annotated[Path, typer.Argument(help="What `export` wrote.", metavar="FILE")],
    trust: Annotated[
        Path | None, typer.Option(help="Trust file to believe; by default the one pinned with the profile.")
    ] = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Is an ONNX file what its certificate says? Needs no gateway. Exit code 9 if it is not to be believed."""
    from audit.trust import TrustFile
    from privgate.client import profiles
    from privgate.export import open_onnx
    from privgate.sdk.errors import NotPinnedError

    pinned = profiles.load_trust(profile) if trust is None else TrustFile.from_bytes(trust.read_bytes())
    if pinned is None:
        raise NotPinnedError
    found = open_onnx(file, pinned)
    predicate, steps = found.certificate.predicate, [str(step["step"]) for step in found.lineage.steps]
    if machine:
        dump({"release": predicate.release, "exact": found.exact, "steps": steps, "log_index": found.entry.index})
        return
    whole = "the certified ones themselves" if found.exact else "made from the certified ones, by its maker's word"
    alone, total = predicate.this_job_alone, predicate.guarantee
    card(
        "verified",
        [
            ("release", predicate.release),
            ("weights", whole),
            ("steps since", ", ".join(steps)),
            ("this job alone", f"epsilon {alone.epsilon} at delta {alone.delta}"),
            ("everything from these people", f"at most epsilon {total.epsilon} at delta {total.delta}"),
            ("published as log entry", found.entry.index),
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
