"""A small load generator in a process of its own: keep-alive clients over TLS, each asking as fast as it is answered.

`python -m benchmarks.load PORT AUTHORITY TOKEN_FILE PATH CLIENTS SECONDS` prints answers per second. It talks to
loopback only.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from pathlib import Path

import uvloop

HOST = "127.0.0.1"


def requests_per_second(port: int, authority: Path, token_file: Path, path: str, clients: int, seconds: float) -> float:
    """Run the generator as a process and return what it counted."""
    given = [str(value) for value in (port, authority, token_file, path, clients, seconds)]
    command = [sys.executable, "-m", "benchmarks.load", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


async def _client(context: ssl.SSLContext, port: int, request: bytes, until: float) -> int:
    reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
    answered = 0
    while time.monotonic() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1").split("\r\n", 1)[0])
        await reader.readexactly(_length(head))
        answered += 1
    writer.close()
    return answered


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError("an answer without a length")


async def _run(port: int, context: ssl.SSLContext, request: bytes, clients: int, seconds: float) -> float:
    started = time.monotonic()
    until = started + seconds
    counts = await asyncio.gather(*(_client(context, port, request, until) for _ in range(clients)))
    return sum(counts) / (time.monotonic() - started)


def main(arguments: list[str]) -> None:
    """Ask, and print the rate."""
    port, authority, token_file, path, clients, seconds = arguments
    context = ssl.create_default_context(cafile=authority)
    token = Path(token_file).read_text(encoding="ascii").strip()
    head = (f"GET {path} HTTP/1.1", f"Host: {HOST}:{port}", f"Authorization: Bearer {token}", "Accept: */*")
    request = ("\r\n".join(head) + "\r\n\r\n").encode("ascii")
    print(uvloop.run(_run(int(port), context, request, int(clients), float(seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])
