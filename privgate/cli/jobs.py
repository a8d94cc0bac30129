"""`jobs`: request, follow, list, approve, cancel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from privgate.cli import quotes
from privgate.cli.following import show_followed
from privgate.cli.options import DEFAULT, Key, Machine, Profile, commands, gateway
from privgate.cli.requesting import request_job
from privgate.cli.screen import dump, say, show, show_all

LONGEST_TEXT = 400
app = commands("Request private jobs and follow them.")
Job = Annotated[str, typer.Argument(help="job_...", metavar="JOB")]
Follow = Annotated[bool, typer.Option("--follow", help="Follow the job until it ends.")]


@app.command()
@quotes.from_flags
def submit(
    request: dict[str, Any],
    follow: Follow = False,
    key: Key = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Request a job: it is queued with its reservation, waits for an approval, or is refused with what would fit."""
    with gateway(profile) as connected:
        request_job(connected, request, key=key, follow=follow, machine=machine)


@app.command("follow")
def follow_job(job: Job, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Follow a job until it ends or is found waiting; progress is coarse, and appears at fixed ticks."""
    with gateway(profile) as connected:
        show_followed(connected.jobs[job], machine=machine)


@app.command("list")
def list_jobs(profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Jobs that you asked for, or that read your data."""
    from privgate.sdk.jobs import Job as View

    with gateway(profile) as connected:
        show_all(connected.jobs, View, machine=machine)


@app.command("show")
def show_job(job: Job, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """A job and its request in final form: what an approval binds."""
    with gateway(profile) as connected:
        found = connected.jobs[job]
    if machine:
        dump(found.to_json() | {"request": found.request})
        return
    show(found, machine=False)
    say(json.dumps(_short(found.request), indent=2, ensure_ascii=True))


@app.command()
def cancel(job: Job, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Stop a job. What was started is charged."""
    with gateway(profile) as connected:
        show(connected.cancel(job), machine=machine)


@app.command()
def approve(job: Job, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Say yes to a job that waits for you, the data's owner: to exactly the request that `jobs show` shows."""
    with gateway(profile) as connected:
        show(connected.approve(job), machine=machine)


@app.command()
def refuse(job: Job, profile: Profile = DEFAULT, machine: Machine = False) -> None:
    """Say no to a job that waits for you, the data's owner."""
    with gateway(profile) as connected:
        show(connected.disapprove(job), machine=machine)


def _short(value: Any) -> Any:
    """A request with long texts, such as given weights, cut on the screen; `--json` has all of it."""
    if isinstance(value, Mapping):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(item) for item in value]
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:40]}... ({len(value)} characters, all of them with --json)"
    return value
