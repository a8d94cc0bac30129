"""What `site` and `keyholder` have in common: making a home, pinning others, enrolling, rules, running, the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privgate.cli.options import DEFAULT, Machine, Profile
from privgate.cli.screen import card, dump, note, say

if TYPE_CHECKING:
    from privacy.sealing.keyring_file import Unlock
    from privgate.agents.agent import Agent
    from privgate.agents.channel import Channel
    from privgate.agents.home import Home

Place = Annotated[Path, typer.Option("--home", envvar="PRIVGATE_HOME", help="The agent's own directory.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="File that opens the home's vault; by default HOME.key, beside the home.", show_default=False),
]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="File with the passphrase that opens the vault, in place of a key file.")
]
Make = Callable[["Home", "Channel", Callable[[str], None]], "Agent"]


def attach(app: typer.Typer, kind: str, make: Make) -> None:
    """Add the commands that both kinds of agent have.

    Args:
        app: The group.
        kind: `site` or `keyholder`.
        make: How an agent of that kind is made.
    """
    _attach_init(app, kind)
    for command in (identity, trust, enrol, renew, rules, allow):
        app.command()(command)
    _attach_run(app, make)
    app.command()(log)


def _attach_init(app: typer.Typer, kind: str) -> None:
    @app.command()
    def init(
        name: Annotated[str, typer.Argument(help="What others call it: a short name.", metavar="NAME")],
        home: Place,
        key_file: KeyFile = None,
        passphrase_file: PassphraseFile = None,
    ) -> None:
        """Draw the agent's keys and make its home. Without a passphrase a new key file is written."""
        import os

        from kernel.ids import Slug
        from privacy.homomorphic.documents.parties import PartyKind
        from privacy.sealing.private_files import make_key_file
        from privgate.agents.home import Home

        if passphrase_file is None:
            key_file = key_file or _key_beside(home)
            if not key_file.exists():
                make_key_file(key_file, os.urandom)
        opens = unlock(home, key_file, passphrase_file)
        made = Home.create(home.absolute(), PartyKind(kind), Slug(name), opens, os.urandom)
        note(f"Made {home}. Give its identity to the others by a way that the gateway's operator does not control.")
        say(made.fingerprint)


def _attach_run(app: typer.Typer, make: Make) -> None:
    @app.command()
    def run(
        home: Place,
        once: Annotated[bool, typer.Option("--once", help="Go through all work once, and end.")] = False,
        every: Annotated[float, typer.Option(help="Seconds between two looks at the gateway.", min=0.05)] = 2.0,
        key_file: KeyFile = None,
        passphrase_file: PassphraseFile = None,
    ) -> None:
        """Take part in jobs until told to stop."""
        from kernel.clock import SystemClock
        from privgate.agents.renewing import RenewingChannel

        with (
            opened(home, key_file, passphrase_file) as agent,
            RenewingChannel(agent, SystemClock(), note) as channel,
        ):
            _work(make(agent, channel, note), once=once, every=every)


def identity(
    home: Place,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write `identity.json` there.")] = None,
    machine: Machine = False,
) -> None:
    """Show who the agent is: what others pin, and the fingerprint that people compare."""
    from privgate.agents.home import identity_of

    who = identity_of(home)
    if out is not None:
        with out.open("xb") as file:
            file.write(who.to_bytes())
        note(f"Wrote {out}.")
    if machine:
        dump(who.to_json() | {"fingerprint": who.fingerprint})
    else:
        card(who.kind.value, [("name", who.name), ("fingerprint", who.fingerprint)])


def trust(
    files: Annotated[list[Path], typer.Argument(help="Identities, or the gateway's trust file.", metavar="FILE...")],
    home: Place,
    fingerprint: Annotated[
        str | None, typer.Option(help="What the other person read out: the one file must have it.")
    ] = None,
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Pin identities, or the gateway's trust file. What is pinned is believed, so compare it first."""
    from audit.trust import TrustFile
    from kernel.errors import InvalidError
    from privacy.homomorphic.documents.parties import Identity
    from privgate.cli.documents import read_document

    if fingerprint is not None and len(files) != 1:
        raise InvalidError("a fingerprint is of one file", field="fingerprint")
    with opened(home, key_file, passphrase_file) as agent:
        for file in files:
            if "origin" in read_document(file):
                agent.trust_gateway(TrustFile.from_bytes(file.read_bytes()))
                note(f"Pinned the gateway of {file}.")
                continue
            who = Identity.from_bytes(file.read_bytes())
            if fingerprint is not None and who.fingerprint != fingerprint:
                raise InvalidError("this identity has another fingerprint: do not trust it", field="fingerprint")
            agent.trust(who)
            note(f"Pinned the {who.kind} `{who.name}`: {who.fingerprint}.")


def enrol(
    url: Annotated[str, typer.Argument(help="Where the gateway listens for parties, https://...", metavar="URL")],
    home: Place,
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
    profile: Profile = DEFAULT,
) -> None:
    """Enrol the agent at a gateway, as its owner who is signed in; keep its number and certificate."""
    from privgate.agents.enrolling import enrol as ask

    with opened(home, key_file, passphrase_file) as agent:
        say(ask(agent, url, profile))


def renew(
    home: Place,
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
    profile: Profile = DEFAULT,
) -> None:
    """Renew the agent's certificate as its owner, who is signed in. `run` does it by itself while it has not ended."""
    from privgate.agents.renewing import renew_as_owner
    from privgate.agents.requesting import Term

    with opened(home, key_file, passphrase_file) as agent:
        after = renew_as_owner(agent, profile)
    note(f"Good until {Term.of(after.certificate).ends.date()}; the next `run` takes it up. Nobody has to pin anew.")


Adders = Annotated[
    list[str] | None,
    typer.Option(
        help="key-holder, or semi-honest-gateway: who may add encrypted sums; twice for both. A gateway that adds "
        "and lies can have one site's numbers decrypted.",
        show_default=False,
    ),
]
NoiseAdders = Annotated[
    list[str] | None,
    typer.Option(
        help="sites, or gateway-and-key-holder: who may add noise; twice for both. The two together know theirs.",
        show_default=False,
    ),
]


def rules(
    home: Place,
    outcome: Annotated[
        list[str] | None, typer.Option(help="exact or noised; twice for both.", show_default=False)
    ] = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="A kind of job; again for more.", show_default=False)
    ] = None,
    least_sites: Annotated[int | None, typer.Option(help="Not with fewer sites.", show_default=False)] = None,
    rounds_at_most: Annotated[int | None, typer.Option(help="Not with more rounds.", show_default=False)] = None,
    least_noise_multiplier: Annotated[
        str | None, typer.Option(help="In a job with noise: not with less than that.", show_default=False)
    ] = None,
    most_rho: Annotated[
        str | None,
        typer.Option(
            help="Of a site: what its answers with noise may cost a population together, in zCDP, by its own log.",
            show_default=False,
        ),
    ] = None,
    partners: Annotated[
        str | None,
        typer.Option(help="pinned, or key-holder: whose word for the other sites counts.", show_default=False),
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option(help="any, or allowed: act only upon requests that `allow` has allowed.", show_default=False),
    ] = None,
    aggregation: Adders = None,
    noise_by: NoiseAdders = None,
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show what this agent takes part in, or set it. At first: results with noise alone."""
    from kernel import canonical
    from privgate.agents.rules import changed

    with opened(home, key_file, passphrase_file) as agent:
        found = changed(
            agent.rules,
            outcomes=outcome,
            kinds=kinds,
            least_sites=least_sites,
            rounds_at_most=rounds_at_most,
            least_noise_multiplier=least_noise_multiplier,
            most_rho=most_rho,
            partners=partners,
            requests=requests,
            aggregation=aggregation,
            noise_by=noise_by,
        )
        agent.allow(found)
        dump(canonical.decode(found.to_bytes(), limit=2**16))


def allow(
    request: Annotated[str, typer.Argument(help="sha256:..., as `privgate jobs show` has it.", metavar="DIGEST")],
    home: Place,
    key_file: KeyFile = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Allow one job for a request, where the rules want that: nobody else's word for an approval then counts here."""
    from kernel.canonical import Digest

    with opened(home, key_file, passphrase_file) as agent:
        agent.allow_request(Digest(request))
    note("The next order for this very request is acted upon, and no second one.")


def log(
    home: Place,
    verify: Annotated[bool, typer.Option("--verify", help="Judge all of it; say only what it comes to.")] = False,
    machine: Machine = False,
) -> None:
    """Show what the agent did, entry by entry; a log that does not verify is not shown."""
    from privgate.agents.home import identity_of
    from privgate.agents.log import NAME, entries
    from privgate.agents.verifying import verify_home

    found = verify_home(home)
    counts: dict[str, Any] = {"size": found.size, "head": found.head, "results": found.results}
    counts |= found.history.counts()
    counts |= {f"rho of {population}": str(rho) for population, rho in found.history.spent.items()}
    if verify:
        if machine:
            dump({"verified": True, **counts})
        else:
            card(f"the log of this {found.who.kind} verifies", counts.items())
        return
    who = identity_of(home)
    data = (home / NAME).read_bytes() if found.size else b""
    lines = [entry.to_json() for entry in entries(data, who.identity, who.fingerprint)]
    if machine:
        dump(lines)
    else:
        for line in lines:
            number = f" {line['number']}" if "number" in line else ""
            say(f"{line['at']}  {line['job']}  {line['deed']}{number}  {line.get('why', line.get('what', ''))}")


def opened(home: Path, key_file: Path | None, passphrase_file: Path | None) -> Home:
    """Open and lock a home."""
    import os

    from kernel.clock import SystemClock
    from privgate.agents.home import Home

    return Home(home.absolute(), unlock(home, key_file, passphrase_file), os.urandom, SystemClock())


def unlock(home: Path, key_file: Path | None, passphrase_file: Path | None) -> Unlock:
    """What opens a home's vault."""
    from privacy.sealing.keyring_file import KeyFile as ByKeyFile
    from privacy.sealing.keyring_file import Passphrase
    from privacy.sealing.private_files import read_key_file, read_passphrase_file

    if passphrase_file is not None:
        return Passphrase(read_passphrase_file(passphrase_file))
    return ByKeyFile(read_key_file(key_file or _key_beside(home)))


def _key_beside(home: Path) -> Path:
    return home.absolute().with_name(home.absolute().name + ".key")


def _work(agent: Agent, *, once: bool, every: float) -> None:
    import signal
    import threading

    if once:
        if not agent.poll():
            raise typer.Exit(5)
        return
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    note("Running.")
    agent.run(stop, every)
