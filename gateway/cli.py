"""The operator's command: `privgate-gateway init | serve | worker | migrate | token | rotate | check`.

Rules
-----
1. Everything is set by environment variables (`gateway.settings`); options only say what one run does.
2. What is missing or dangerous is one sentence on standard error and exit code 2; there is no traceback, because its
   texts may quote what nobody should read in a terminal's history.
3. Each command loads what it needs and no more: the API's process never sees a numerics library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from gateway.settings import Settings
from kernel.errors import PrivgateError

REFUSED = 2
UNEXPECTED = 1
_CLIENTS = frozenset({"PRIVGATE_CONFIG", "PRIVGATE_PROFILE", "PRIVGATE_TEST_DATA", "PRIVGATE_TOKEN"})
"""Read by the client and the test suite, and often set beside ours."""

app = typer.Typer(
    name="privgate-gateway",
    help="Run a Privgate gateway. Settings are environment variables: PRIVGATE_HOME, PRIVGATE_DATABASE_URL, ...",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command; the program's entry point."""
    os.umask(0o077)
    try:
        app()
    except PrivgateError as error:
        _refuse(error.message)
    except ValidationError as error:
        _refuse(settings_sentence(error))
    except DBAPIError as error:
        _refuse(
            f"the database does not answer ({type(error.orig).__name__}): check PRIVGATE_DATABASE_URL and the server"
        )
    except SQLAlchemyError as error:
        _refuse(f"PRIVGATE_DATABASE_URL cannot be used ({type(error).__name__}): see the manual for its form")
    except OSError as error:
        _refuse(f"`{error.filename}`: {os.strerror(error.errno or 0)}" if error.filename else str(error.strerror))
    except ModuleNotFoundError as error:
        _refuse(f"`{error.name}` is not installed here: this command needs more of Privgate's extras")


@app.command()
def init(
    organisation: Annotated[str, typer.Option(help="Name of the first organisation (stays beside the log)")],
    admin: Annotated[str, typer.Option(help="Name of its first administrator")],
    token_file: Annotated[Path | None, typer.Option(help="Where to put his token; HOME/admin.token if absent")] = None,
    show_token: Annotated[bool, typer.Option("--show-token", help="Print the token as well")] = False,
) -> None:
    """Make a new gateway: keys, database, certificate, first organisation and administrator."""
    from gateway.initialise import initialise

    settings = Settings()
    made = initialise(
        settings, organisation=organisation, admin=admin, token_file=token_file or settings.home / "admin.token"
    )
    _say(f"organisation   {made.tenant}")
    _say(f"administrator  {made.admin}")
    _say(f"token          {made.token.written() if show_token else f'in {made.token_file}'}")
    if made.authority is not None:
        _say(f"authority      {made.authority} (give it to your users: their clients pin it)")
    if settings.keyring_passphrase_file is None:
        _say(f"key file       {settings.key_file} (back it up apart from the rest: without it nothing opens)")
    _say("next           privgate-gateway serve, and privgate-gateway worker beside it")


@app.command()
def serve(
    port_file: Annotated[
        Path | None, typer.Option(help="Write the port here once connections are accepted; for PRIVGATE_LISTEN_PORT=0")
    ] = None,
    party_port_file: Annotated[
        Path | None, typer.Option(help="The same for the listener of parties; for PRIVGATE_PARTY_PORT=0")
    ] = None,
) -> None:
    """Serve the API until SIGTERM."""
    from gateway import operator_log
    from gateway.serve import serve as run

    operator_log.configure()
    run(Settings(), port_file, party_port_file)


@app.command()
def worker() -> None:
    """Take tasks and run them in confined children until SIGTERM."""
    from gateway import operator_log
    from gateway.work import work

    operator_log.configure()
    work(Settings())


@app.command()
def migrate() -> None:
    """Bring the database to the structure that this program knows. Stop API and workers first, and back it up."""
    from gateway.storage.engine import build_engine
    from gateway.storage.schema import migrate as upgrade
    from gateway.wiring import require_home

    settings = Settings()
    require_home(settings)
    engine = build_engine(settings.database)
    try:
        upgrade(engine)
    finally:
        engine.dispose()
    _say("the database is current")


@app.command()
def token(
    principal: Annotated[str, typer.Argument(help="Whose token (prn_...)")],
    out: Annotated[Path, typer.Option(help="A new file for the token")],
) -> None:
    """Write a further token, for an administrator who lost his. It is logged as the gateway's own act."""
    from contextlib import closing

    from gateway.initialise import require_free, write_token
    from gateway.services.people import reissue
    from gateway.wiring import build
    from kernel.ids import PrincipalId

    with closing(build(Settings())) as gateway:
        require_free(out)
        write_token(out, reissue(gateway.on, PrincipalId(principal)))
    _say(f"token          in {out}")


@app.command()
def rotate(
    destroy_old: Annotated[
        bool, typer.Option("--destroy-old", help="Destroy former wrapping keys: older database backups stop to open")
    ] = False,
) -> None:
    """Give every organisation a new wrapping key and bring all data keys under it. Stop API and workers first."""
    from contextlib import closing

    from gateway.services.rotate_keys import rotate_keys
    from gateway.storage.generation import remember_generation
    from gateway.wiring import build

    with closing(build(Settings())) as gateway:
        with gateway.on.database.read() as reading:
            tenants = reading.tenants.all()
        for tenant in tenants:
            version = rotate_keys(gateway.on, tenant, destroy_old=destroy_old)
            remember_generation(gateway.on.database, gateway.on.keyring.generation)
            _say(f"{tenant}   wrapped by version {version}")


@app.command()
def check() -> None:
    """Open everything that `serve` opens, say what was found, and change nothing that matters."""
    from contextlib import closing

    from gateway.wiring import build
    from privacy.sandbox.limits import probe

    settings = Settings()
    with closing(build(settings)) as gateway:
        _say(f"origin         {settings.origin}")
        _say(f"version        {gateway.on.software.version} {gateway.on.software.digest}")
        _say(f"database       {gateway.engine.dialect.name}")
        _say(f"keyring        generation {gateway.on.keyring.generation}")
    _say(f"confinement    {probe().value} (demanded: {settings.sandbox_level})")
    for name in unread(os.environ):
        _say(f"not read       {name}: there is no such setting")


def unread(environment: Iterable[str]) -> list[str]:
    """Variables that look like settings and are none: a misspelt one would be passed over in silence."""
    known = {f"PRIVGATE_{name.upper()}" for name in Settings.model_fields} | _CLIENTS
    return sorted(name for name in environment if name.upper().startswith("PRIVGATE_") and name.upper() not in known)


def settings_sentence(error: ValidationError) -> str:
    """The first thing that is wrong with the settings, in one sentence that repeats no value."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    said = first["msg"].removeprefix("Value error, ")
    return f"PRIVGATE_{str(first['loc'][0]).upper()}: {said}" if first["loc"] else said


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"privgate-gateway: {sentence}\n")
    raise SystemExit(REFUSED)


if __name__ == "__main__":
    main()
