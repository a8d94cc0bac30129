"""The plainest FastAPI endpoint behind the same server, loop and TLS: nobody is asked who they are, nothing is logged.

`python -m benchmarks.bare CERTIFICATE KEY PORT_FILE BODY`
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from gateway.tls import server_context


def app(body: object) -> FastAPI:
    """One endpoint with a fixed answer."""
    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @made.get("/bare")
    async def bare() -> JSONResponse:
        return JSONResponse(body)

    return made


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    import json

    certificate, key, port_file, body = arguments
    context = server_context(Path(certificate), Path(key))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app(json.loads(body)),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ssl_context_factory=lambda _config, _default: context,
    )
    Path(port_file).write_text(str(listener.getsockname()[1]), encoding="ascii")
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main(sys.argv[1:])
