"""A new gateway in an empty home: keys, database, certificate, and the first organisation with its administrator.

Rules
-----
1. Every step before the last makes what is missing and keeps what is there, so that an `init` that was cut off is
   simply run again. The organisation is the last step; once there is one, `init` refuses.
2. The administrator's token goes to a file that only the gateway's user may read; nothing prints it unasked.
3. An existing home with loose permissions is refused, never mended: somebody may have read it already.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from gateway.credentials import Token
from gateway.services.people import found_tenant
from gateway.settings import Settings
from gateway.storage.engine import build_engine
from gateway.storage.schema import migrate
from gateway.tls import LocalAuthority
from gateway.unit_of_work import Database, Surroundings
from gateway.wiring import build, unlock_of
from kernel.clock import Clock, SystemClock
from kernel.errors import ConflictError, InvalidError, NotFoundError
from kernel.ids import PrincipalId, TenantId
from privacy.sealing.keyring import Keyring
from privacy.sealing.private_files import make_key_file, open_private_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialised:
    """What `init` made.

    Attributes:
        authority: The certificate that clients trust; absent if the operator brings his own.
        token_file: Where the administrator's token lies.
    """

    tenant: TenantId
    admin: PrincipalId
    token: Token
    token_file: Path
    authority: Path | None


def initialise(settings: Settings, *, organisation: str, admin: str, token_file: Path) -> Initialised:
    """Make a gateway in `settings.home`.

    Raises:
        ConflictError: There is one already; nothing was changed.
        InvalidError: A file or directory is open to others, or a name is not a name.
    """
    clock = SystemClock()
    _make_home(settings.home)
    engine = build_engine(settings.database)
    try:
        migrate(engine)
        _require_empty(engine, clock)
    finally:
        engine.dispose()
    _make_keyring(settings, clock)
    authority = _make_certificate(settings, clock)
    require_free(token_file)
    with closing(build(settings, clock=clock)) as gateway:
        tenant, enrolled = found_tenant(gateway.on, tenant_name=organisation, admin_name=admin)
    write_token(token_file, enrolled.token)
    return Initialised(
        tenant=tenant, admin=enrolled.principal, token=enrolled.token, token_file=token_file, authority=authority
    )


def write_token(path: Path, token: Token) -> None:
    """Write a token to a new file that only we may read."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "w", encoding="ascii") as stream:
        stream.write(token.written() + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def require_free(path: Path) -> None:
    """Return if a file can be made there; raise `ConflictError` or `NotFoundError` otherwise."""
    if path.is_symlink() or path.exists():
        raise ConflictError(f"`{path}` exists already and is not replaced: move it away or name another file")
    if not path.absolute().parent.is_dir():
        raise NotFoundError(f"no directory `{path.parent}`")


def _make_home(home: Path) -> None:
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise InvalidError(f"`{home}` must be a directory: set PRIVGATE_HOME", field="home") from None
    except PermissionError:
        raise InvalidError(f"`{home}` cannot be made by this user: set PRIVGATE_HOME", field="home") from None
    os.close(open_private_directory(home))


def _require_empty(engine: Engine, clock: Clock) -> None:
    with Database(engine, Surroundings(clock, os.urandom)).read() as reading:
        if reading.tenants.all():
            raise ConflictError("this gateway was initialised before; nothing was changed", field="home")


def _make_keyring(settings: Settings, clock: Clock) -> None:
    directory = settings.home / "keyring"
    if (directory / "keyring.json").exists():
        return
    if settings.keyring_passphrase_file is None and not settings.key_file.exists():
        make_key_file(settings.key_file, os.urandom)
    Keyring.create(directory, unlock_of(settings), clock=clock, entropy=os.urandom).close()


def _make_certificate(settings: Settings, clock: Clock) -> Path | None:
    if settings.tls_certificate is not None:
        return None
    authority = LocalAuthority(settings.home / "tls", clock)
    authority.leaf()
    return authority.ca_certificate
