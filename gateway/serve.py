"""The API as a process: TLS 1.3 on one socket or two, ports that a parent can find, and a clean end.

Rules
-----
1. A port file is written once the server accepts connections, and removed when it stops: whoever sees it may connect.
2. SIGTERM and SIGINT stop accepting, finish what is running for a few seconds, commit what waits, and end with 0.
3. What was built at start-up is left out of every later garbage collection: it lives as long as the process, and
   looking through it again and again took a quarter of each request.
4. No header of a proxy is believed, and no line is logged for a request: the log of the gateway says who did what.
5. The listener for parties runs beside the API's in one loop, over a socket of its own: it starts once the API has, and
   if either ends, both do.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import structlog
import uvicorn
from fastapi import FastAPI

from gateway.app import create_app
from gateway.channel.app import create_channel
from gateway.channel.peer import PeerProtocol
from gateway.settings import Settings
from gateway.spools import sweep_spools
from gateway.tls import LocalAuthority, server_context
from gateway.wiring import Gateway, build
from kernel.errors import UnavailableError

GRACE_SECONDS = 3
BACKLOG = 512

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Listening:
    """A socket with the server behind it."""

    server: _Server
    socket: socket.socket

    async def serve(self) -> None:
        await self.server.serve([self.socket])


def serve(settings: Settings, port_file: Path | None = None, party_port_file: Path | None = None) -> None:
    """Serve the API until a signal ends it.

    Args:
        settings: What the operator chose; port 0 takes any free one.
        port_file: Where to write the port once connections are accepted.
        party_port_file: The same for the listener of parties.

    Raises:
        InvalidError: Something is configured dangerously or was never initialised.
        UnavailableError: An address cannot be listened on.
    """
    sweep_spools()
    gateway = build(settings)
    chain, key = certificate_of(gateway)
    app = create_app(gateway)
    with (
        _announced(port_file),
        _announced(party_port_file),
        _listen("listen", settings.listen_host, settings.listen_port) as listener,
    ):
        config = _config(app, server_context(chain, key), lifespan="on")
        api = _Listening(_Server(config, lambda: _announce("listening", listener, port_file)), listener)
        if settings.party_port is None:
            _run(api)
            return
        with _listen("party", settings.party_host, settings.party_port) as second:
            context = gateway.on.parties.context(chain, key)
            config = _config(create_channel(app.state.privgate), context, lifespan="off", protocol=PeerProtocol)
            ready = _Server(config, lambda: _announce("listening-for-parties", second, party_port_file))
            _run(api, _Listening(ready, second))


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
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()
            self.accepting.set()


def _run(api: _Listening, *others: _Listening) -> None:
    """Run until a signal, or until one ends by itself; the API ends last, because the others use its threads."""
    servers = [listening.server for listening in (*others, api)]
    _stop_on_signals(servers)
    with asyncio.Runner(loop_factory=api.server.config.get_loop_factory()) as runner:
        runner.run(_serve_all(api, others))
    _log.info("stopped")


async def _serve_all(api: _Listening, others: tuple[_Listening, ...]) -> None:
    main = asyncio.create_task(api.serve())
    accepting = asyncio.create_task(api.server.accepting.wait())
    await asyncio.wait({main, accepting}, return_when=asyncio.FIRST_COMPLETED)
    accepting.cancel()
    if not main.done():
        beside = [asyncio.create_task(other.serve()) for other in others]
        await asyncio.wait({main, *beside}, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.server.should_exit = True
        await asyncio.gather(*beside)
    api.server.should_exit = bool(others) or api.server.should_exit
    await main


def _config(
    app: FastAPI,
    context: ssl.SSLContext,
    *,
    lifespan: Literal["on", "off"],
    protocol: type[asyncio.Protocol] | str = "httptools",
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_context_factory=lambda _config, _default: context,
    )


def _listen(name: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise UnavailableError(
            f"port {port} of PRIVGATE_{name.upper()}_HOST cannot be listened on: another process has it, or it is not "
            "ours",
            field=f"{name}_port",
        ) from None
    return listener


@contextmanager
def _announced(port_file: Path | None) -> Iterator[None]:
    """No port file before the server accepts connections, and none after it stopped."""
    if port_file is None:
        yield
        return
    port_file.unlink(missing_ok=True)
    try:
        yield
    finally:
        port_file.unlink(missing_ok=True)


def _announce(event: str, listener: socket.socket, port_file: Path | None) -> None:
    gc.collect()
    gc.freeze()
    port = listener.getsockname()[1]
    _log.info(event, port=port)
    if port_file is not None:
        # Replaced whole, so that nobody reads half a number.
        fresh = port_file.with_name(f"{port_file.name}.new")
        fresh.write_text(f"{port}\n", encoding="ascii")
        fresh.replace(port_file)


def _stop_on_signals(servers: list[_Server]) -> None:
    """Without this a server would raise the signal once more after it stopped, and end as if it had been killed."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
