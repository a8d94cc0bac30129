"""`make serve`: a gateway and a worker on loopback that stay, in a directory that stays."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from privgate.demo.processes import LocalGateway
from privgate.demo.screen import Screen

POLL_SECONDS = 0.5
ORIGIN = "demo.privgate.local/served"


def serve(directory: Path, screen: Screen) -> None:
    """Start both processes and wait for Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    home = directory.resolve() / "gateway"
    with LocalGateway(home, directory.resolve() / "output", {"PRIVGATE_ORIGIN": ORIGIN}) as local:
        screen.title("A Privgate gateway for trying things out", f"{local.url}; Ctrl-C stops it, {directory}/ stays")
        screen.did("sign in as its administrator:")
        screen.command(f"privgate login {local.url} --ca {home / 'tls' / 'ca.pem'} --token-file {home / 'admin.token'}")
        try:
            while True:
                local.check()
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            screen.did("stopped")
