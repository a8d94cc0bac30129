"""A real PostgreSQL server for tests: started on first use in a directory of its own, gone with the test process.

Rules
-----
1. It listens on a Unix socket only, in a directory that one user owns. Where tests run as root it runs as another user,
   because PostgreSQL refuses root.
2. Each test has a database of its own, copied from a template that the migrations made once.
3. Without the server's binaries a test is skipped, and says why.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.storage.engine import build_engine
from gateway.storage.schema import migrate
from privacy.sandbox.system import SET_PDEATHSIG, prctl

OWNERS = ("postgres", "nobody")
START_SECONDS = 60.0
TEMPLATE = "migrated"
_numbers = itertools.count()
_running: dict[bool, Server] = {}


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        folder: Data and socket.
        process: The postmaster.
    """

    folder: Path
    process: subprocess.Popen[bytes]

    def url(self, database: str) -> str:
        """The SQLAlchemy address of one of its databases."""
        return f"postgresql+psycopg://{OWNERS[0]}@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Run a statement outside any transaction, as the administrator."""
        with psycopg.connect(host=str(self.folder), user=OWNERS[0], dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def database(self, template: str = TEMPLATE) -> Iterator[str]:
        """A fresh database; its address. `template0` makes an empty one."""
        name = f"test_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """End it at once and remove its directory."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def binaries() -> Path | None:
    """Where the newest server's programs lie, if there are any."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if (initdb := shutil.which("initdb")) is not None:
        found.append(Path(initdb).parent)
    return max(found, key=_version, default=None)


def require(*, durable: bool = False) -> Server:
    """The server of this process, started on the first call; skips the test where it cannot run.

    Args:
        durable: Whether a commit reaches the disk, as measurements need it and tests do not; a server of its own.
    """
    if binaries() is None:
        pytest.skip("no PostgreSQL server binaries (Debian: apt-get install postgresql)")
    if durable not in _running:
        _running[durable] = _started(durable)
    return _running[durable]


def stop() -> None:
    """Stop every server that was started."""
    while _running:
        _running.popitem()[1].stop()


def _started(durable: bool) -> Server:
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="privgate-pg-"))
    identity = _other_user(folder) if os.geteuid() == 0 else {}
    data = folder / "data"
    initdb = [
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        f"--username={OWNERS[0]}",
        f"--pgdata={data}",
    ]
    subprocess.run([programs / "initdb", *initdb], check=True, capture_output=True, cwd=folder, **identity)
    # What a power cut does to a test's database does not matter; what a killed client does, does.
    options = {
        "fsync": "on" if durable else "off",
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "max_connections": "100",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call in the child
            **identity,
        )  # fmt: skip
    server = Server(folder, process)
    _wait(server)
    server.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
    engine = build_engine(server.url(TEMPLATE))
    migrate(engine)
    engine.dispose()
    return server


def _other_user(folder: Path) -> dict[str, Any]:
    for name in OWNERS:
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            os.chown(folder, found.pw_uid, found.pw_gid)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL refuses root, and there is no other user to run it as")


def _die_with_parent() -> None:
    prctl(SET_PDEATHSIG, signal.SIGQUIT)


def _wait(server: Server) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError:
            assert server.process.poll() is None, (server.folder / "log").read_text()
            assert time.monotonic() < until, "PostgreSQL does not come up"
            time.sleep(0.05)
        else:
            return


def _version(programs: Path) -> int:
    numbers = re.findall(r"\d+", str(programs))
    return int(numbers[0]) if numbers else 0
