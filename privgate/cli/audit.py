"""`audit`: what is pinned, the log, the archive."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privgate.cli.options import DEFAULT, Machine, Profile, commands, gateway
from privgate.cli.screen import card, dump, note, show_all

if TYPE_CHECKING:
    from audit.trust import TrustFile

app = commands("The log: pin its keys, export it, read it.")


@app.command()
def trust(
    pin: Annotated[bool, typer.Option("--pin", help="Pin it. Compare it first, on another channel.")] = False,
    file: Annotated[Path | None, typer.Option(help="Pin this file in place of what the gateway says.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the trust file there.")] = None,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:  # fmt: skip
    """Show the keys to pin. Whoever pins without comparing trusts the gateway's own word about itself."""
    import json

    from audit.trust import TrustFile
    from privgate.client import profiles

    if file is not None:
        shown = TrustFile.from_bytes(file.read_bytes())
    else:
        with gateway(profile) as connected:
            shown = connected.trust()
    if machine:
        dump(json.loads(shown.to_bytes()))
    else:
        card("trust", _trust_lines(shown))
    if pin or file is not None:
        note(f"Pinned: {profiles.save_trust(profile, shown)}")
    if out is not None:
        with out.open("xb") as handle:
            handle.write(shown.to_bytes())
        note(f"Wrote {out}.")


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="A directory that does not exist yet.", metavar="DIRECTORY")],
    profile: Profile = DEFAULT,
) -> None:
    """Fetch your tenant's whole history, to be verified offline with `privgate verify`."""
    from privgate.client import profiles

    with gateway(profile) as connected:
        written = connected.export(directory)
    pinned = profiles.trust_path(profile)
    note(f"Wrote {written}. Now: privgate verify {written} --trust {pinned if pinned.exists() else 'FILE'} --advance")


@app.command()
def entries(
    first: Annotated[int, typer.Option(help="Begin at this counter of your tenant.")] = 0,
    limit: Annotated[int, typer.Option(help="How many.")] = 100,
    profile: Profile = DEFAULT,
    machine: Machine = False,
) -> None:
    """Your tenant's entries as the gateway tells them; only `export` and `verify` prove them."""
    from privgate.sdk.views import LogEntry

    with gateway(profile) as connected:
        show_all(islice(connected.entries(first), limit), LogEntry, machine=machine)


def _trust_lines(trust: TrustFile) -> list[tuple[str, object]]:
    seen = trust.last_seen
    return [
        ("origin", trust.origin),
        ("tenant", trust.tenant),
        *(("log key", key.written()) for key in trust.log_keys),
        *(("certificate key", key.written()) for key in trust.certificate_keys),
        *(("report key", key.written()) for key in trust.report_keys),
        *(("witness key", key.written()) for key in trust.witness_keys),
        ("checkpoint", f"size {seen.size}, root {seen.root}"),
    ]
