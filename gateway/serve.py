"""The API as a process: TLS 1.3 on one socket, a port that a parent can find, and a clean end.

Rules
-----
1. The port file is written once the server accepts connections, and removed when it stops: whoever sees it may connect.
2. SIGTERM and SIGINT stop accepting, finish what is running for a few seconds, commit what waits, and end with 0.
3. What was built at start-up is left out of every later garbage collection: it lives as long as the process, and
   looking through it again and again took a quarter of each request.
4. No header of a proxy is believed, and no line is logged for a request: the log of the gateway says who did what.
"""

from __future__ import annotations

import gc
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import structlog
import uvicorn

from gateway.app import create_app
from gateway.settings import Settings
from gateway.tls import LocalAuthority, server_context
from gateway.wiring import Gateway, build
from kernel.errors import UnavailableError

GRACE_SECONDS = 3
BACKLOG = 512

_log = structlog.get_logger(__name__)


def serve(settings: Settings, port_file: Path | None = None) -> None:
    """Serve the API until a signal ends it.

    Args:
        settings: What the operator chose; port 0 takes any free one.
        port_file: Where to write the port once connections are accepted.

    Raises:
        InvalidError: Something is configured dangerously or was never initialised.
        UnavailableError: The address cannot be listened on.
    """
    gateway = build(settings)
    context = server_context(*certificate_of(gateway))
    with _listen(settings.listen_host, settings.listen_port) as listener:
        if port_file is not None:
            port_file.unlink(missing_ok=True)
        server = _Server(_config(gateway, context), lambda: _announce(listener, port_file))
        _stop_on_signals(server)
        try:
            server.run([listener])
        finally:
            if port_file is not None:
                port_file.unlink(missing_ok=True)
    _log.info("stopped")


def certificate_of(gateway: Gateway) -> tuple[Path, Path]:
    """The listener's chain and key: the operator's, or a leaf of the local authority, renewed if it is about to end."""
    settings = gateway.settings
    if settings.tls_certificate is not None and settings.tls_key is not None:
        return settings.tls_certificate, settings.tls_key
    return LocalAuthority(settings.home / "tls", gateway.on.clock).leaf()


class _Server(uvicorn.Server):
    """Tells when it accepts connections."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _config(gateway: Gateway, context: ssl.SSLContext) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(gateway),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_context_factory=lambda _config, _default: context,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise UnavailableError(
            f"port {port} of PRIVGATE_LISTEN_HOST cannot be listened on: another process has it, or it is not ours",
            field="listen_port",
        ) from None
    return listener


def _announce(listener: socket.socket, port_file: Path | None) -> None:
    gc.collect()
    gc.freeze()
    port = listener.getsockname()[1]
    _log.info("listening", port=port)
    if port_file is not None:
        # Replaced whole, so that nobody reads half a number.
        fresh = port_file.with_name(f"{port_file.name}.new")
        fresh.write_text(f"{port}\n", encoding="ascii")
        fresh.replace(port_file)


def _stop_on_signals(server: uvicorn.Server) -> None:
    """Without this the server would raise the signal once more after it stopped, and end as if it had been killed."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
