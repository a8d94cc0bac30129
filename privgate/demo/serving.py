"""`make serve`: a gateway and a worker on loopback that stay, in a directory that stays.

Rules
-----
1. One at a time in a directory: the lock passes to the gateway's processes, so it holds as long as any of them lives.
2. Ports stay from one start to the next, because profiles and agents remember them; one that is taken is refused.
3. Sites and key holders have their listener, on loopback too.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from privgate.demo.processes import LocalGateway, StartError
from privgate.demo.screen import Screen

POLL_SECONDS = 0.5
ORIGIN = "demo.privgate.local/served"
PORTS = {"PRIVGATE_LISTEN_PORT": "port", "PRIVGATE_PARTY_PORT": "party-port"}
"""Which setting is remembered in which file of the directory."""


def serve(directory: Path, screen: Screen) -> None:
    """Start both processes and wait for Ctrl-C or SIGTERM.

    Raises:
        StartError: A gateway runs there already, a port of the last time is taken, or nothing comes up.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = directory.resolve()
    home = directory / "gateway"
    with _alone(directory) as lock:
        settings = {"PRIVGATE_ORIGIN": ORIGIN, **_ports(directory)}
        with LocalGateway(home, directory / "output", settings, keeps=(lock,)) as local:
            _remember(directory, local)
            os.pwrite(lock, f"{' '.join(str(number) for number in local.processes)}\n".encode("ascii"), 0)
            _tell(screen, directory, local)
            try:
                while True:
                    local.check()
                    time.sleep(POLL_SECONDS)
            except KeyboardInterrupt:
                screen.did("stopped")


def _tell(screen: Screen, directory: Path, local: LocalGateway) -> None:
    home = local.home
    screen.title("A Privgate gateway for trying things out", f"{local.url}; Ctrl-C stops it, {directory}/ stays")
    screen.did("sign in as its administrator:")
    screen.command(f"privgate login {local.url} --ca {home / 'tls' / 'ca.pem'} --token-file {home / 'admin.token'}")
    screen.did("sites and key holders are enrolled at", local.party_url)


@contextmanager
def _alone(directory: Path) -> Iterator[int]:
    """Hold the directory's lock; what it says are the processes that hold it as well."""
    directory.mkdir(parents=True, exist_ok=True)
    file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            running = os.pread(file, 100, 0).decode("ascii").strip()
            raise StartError(
                f"a gateway runs in `{directory}` already: use it, or stop it first"
                + (f" (its processes: {running})" if running else "")
            ) from None
        os.ftruncate(file, 0)
        yield file
    finally:
        os.close(file)


def _ports(directory: Path) -> dict[str, str]:
    """The ports of the last time; at the first time any."""
    ports = {}
    for setting, name in PORTS.items():
        file = directory / name
        ports[setting] = file.read_text(encoding="ascii").strip() if file.exists() else "0"
        _require_free(ports[setting], file)
    return ports


def _require_free(port: str, file: Path) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", int(port)))
        except (OSError, ValueError, OverflowError):
            raise StartError(
                f"port {port} of the last time cannot be had: stop who has it, or delete `{file}` to take another"
            ) from None


def _remember(directory: Path, local: LocalGateway) -> None:
    for setting, url in (("PRIVGATE_LISTEN_PORT", local.url), ("PRIVGATE_PARTY_PORT", local.party_url)):
        (directory / PORTS[setting]).write_text(url.rpartition(":")[2] + "\n", encoding="ascii")
