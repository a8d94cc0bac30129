"""`report`: issue a compliance report, fetch it, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privgate.cli.options import DEFAULT, Key, Machine, Profile, commands, gateway
from privgate.cli.screen import note, show, show_all

app = commands("Compliance reports, derived from the log and signed.")
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write report.json and report.html to this directory.")]


@app.command()
def issue(
    out: Out = None,
    from_size: Annotated[int, typer.Option("--from", help="The period's begin, as a size of the log.")] = 0,
    until_size: Annotated[
        int | None, typer.Option("--until", help="Its end; by default the newest checkpoint.", show_default=False)
    ] = None,
    framework: Annotated[
        list[str] | None, typer.Option(help="gdpr, pipl, ...; may be repeated. All of them by default.")
    ] = None,
    key: Key = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Have a report derived and signed. The same period gives the same findings, whoever derives them."""
    with gateway(profile) as connected:
        issued = connected.issue_report(from_size=from_size, until_size=until_size, frameworks=framework or (), key=key)
        show(issued, machine=machine)
        if out is not None:
            _write(connected.report_json(issued), connected.report_html(issued), out)


@app.command("list")
def list_reports(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Reports that were issued."""
    from privgate.sdk.views import Report

    with gateway(profile) as connected:
        show_all(connected.reports, Report, machine=machine)


@app.command()
def get(
    report: Annotated[str, typer.Argument(help="rpt_...", metavar="REPORT")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory for report.json and report.html.")] = Path(),
    profile: Profile = DEFAULT,
) -> None:
    """Fetch a report, verify its signature with the pinned trust file, then write it."""
    with gateway(profile) as connected:
        _write(connected.report_json(report), connected.report_html(report), out)


def _write(document: bytes, page: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("report.json", document), ("report.html", page.encode("utf-8"))):
        with (folder / name).open("xb") as file:
            file.write(content)
        note(f"Wrote {folder / name}.")
