"""`healthz_p99_ms`: how long `/healthz` takes while keys are made and uploads are carried, added and decrypted.

A gateway process with both listeners and its worker, three sites and a key holder as processes over mutual TLS, all on
this machine: several jobs at once average a network of 271,098 numbers, each with a key of its own and rounds of three
uploads of 2.2 MB, which the key holder adds; in one of the jobs the gateway's worker does (`semi-honest-gateway`). A
client in a process of its own asks twenty times a second over one connection, before (idle) and through the whole run;
what it waits for includes the database. Nothing is left out: a slow answer delays none after it, because each is
counted from when it was due.

    python -m benchmarks.he_health ask URL AUTHORITY STOP_FILE

is that client; it prints the milliseconds of every answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.he_lines import Figure

PATH = "/healthz"
EVERY_SECONDS = 0.05
IDLE_SECONDS = 10.0
HIDDEN = (293, 915)
PARAMETERS = 271_098
NAMES = ("a", "b", "c")
ADDS = ("semi-honest-gateway", "key-holder")


@dataclass(frozen=True, slots=True)
class Load:
    """How much is done at once: jobs, and rounds of each."""

    jobs: int
    rounds: int


WHOLE, QUICK = Load(jobs=3, rounds=4), Load(jobs=1, rounds=1)


def healthz(load: Load) -> Iterator[Figure]:
    """Measure idle and under load, in one process of the gateway."""
    from tests.support.federation import federation

    with tempfile.TemporaryDirectory(prefix="privgate-bench-") as name:
        folder = Path(name)
        with federation(folder, rows=_rows(), schema=_schema()) as made:
            ask = (made.local.url, made.local.home / "tls" / "ca.pem", folder)
            with _asking(*ask) as idle:
                time.sleep(IDLE_SECONDS)
            with _asking(*ask) as busy:
                begun = time.monotonic()
                jobs = [made.admitted(_spec(load.rounds, ADDS[place > 0])).job for place in range(load.jobs)]
                made.start()
                ended = made.ended(*jobs, seconds=600)
                seconds = time.monotonic() - begun
            if {job.state for job in ended} != {"finished"}:
                raise RuntimeError(f"the jobs ended as {[job.state for job in ended]}")
    sums = load.jobs * load.rounds
    told = (
        f"{len(busy)} answers in {seconds:.0f} s: median {np.median(busy):.2g}, largest {max(busy):.3g} ms; "
        f"{load.jobs} keys made, {3 * sums} uploads of 2.2 MB carried and judged, {sums} sums made and decrypted, "
        f"{load.rounds} of them made by the gateway's worker, all parties and the client on the gateway's own "
        f"{os.cpu_count()} cores; beside it that of the gateway idle, whose median is {np.median(idle):.2g}"
    )
    yield Figure(
        quantity="healthz_p99_ms",
        profile="bfv-4096-public, three sites",
        value=float(np.percentile(busy, 99)),
        baseline=float(np.percentile(idle, 99)),
        told=told,
    )


def _schema() -> Mapping[str, Any]:
    numeric = [{"kind": "numeric", "name": name, "low": "-1", "high": "1"} for name in NAMES]
    return {"columns": [*numeric, {"kind": "boolean", "name": "ill"}]}


def _rows() -> list[list[str]]:
    draw = np.random.default_rng(0)
    return [
        [",".join([*(f"{value:.4f}" for value in row), "true" if row[0] > 0 else "false"]) for row in table]
        for table in (draw.uniform(-1, 1, (count, len(NAMES))) for count in (60, 45, 80))
    ]


def _spec(rounds: int, adds: str) -> dict[str, Any]:
    return {
        "aggregation": adds,
        "kind": "he.aggregate",
        "result": "exact",
        "label": "ill",
        "model": {"template": "mlp", "hidden": list(HIDDEN), "activation": "relu"},
        "clip": "5",
        "rate": "0.1",
        "rounds": rounds,
    }


@contextmanager
def _asking(url: str, authority: Path, folder: Path) -> Iterator[list[float]]:
    """Ask through the block; the list has the milliseconds of each answer once it is left."""
    stop, found = folder / "stop", []
    stop.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.he_health", "ask", url, str(authority), str(stop)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield found
    finally:
        stop.touch()
        written, _ = process.communicate(timeout=60)
        found += json.loads(written or "[]")


async def _ask(url: str, authority: str, stop: Path) -> list[float]:
    host, _, port = url.removeprefix("https://").partition(":")
    context = ssl.create_default_context(cafile=authority)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    request = f"GET {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode("ascii")
    found, due = [], time.monotonic()
    while not stop.exists():  # noqa: ASYNC240 - nothing else waits here
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]))
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1").split("\r\n", 1)[0])
        found.append(1000 * (time.monotonic() - due))
        due += EVERY_SECONDS
    writer.close()
    return found


if __name__ == "__main__":
    _, _, asked_url, asked_authority, asked_stop = sys.argv
    print(json.dumps(asyncio.run(_ask(asked_url, asked_authority, Path(asked_stop)))))
