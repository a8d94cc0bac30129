"""`logged_actions_per_s` and `authorised_rps_ratio`: reads that are decided and logged durably, over TLS.

Each read is answered after its decision is committed with fsync, many to one commit; the baseline answers the same body
without asking anybody. Server and load generator are processes of their own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lines import Line
from benchmarks.load import requests_per_second
from privgate.demo.processes import LocalGateway
from privgate.sdk import connect

READ = "/v1/self"
SECONDS = 4.0
PAIRS = 5
CLIENTS = (1, 32)


def measure() -> Iterator[Line]:
    """Measure both; the pairs take turns."""
    with tempfile.TemporaryDirectory(prefix="privgate-bench-") as name:
        folder = Path(name)
        with LocalGateway(folder / "gateway", folder / "output") as local, _bare(local, folder) as bare_port:
            port, authority, token = int(local.url.rpartition(":")[2]), local.home / "tls/ca.pem", _token(local, folder)

            def gateway(clients: int) -> float:
                return requests_per_second(port, authority, token, READ, clients, SECONDS)

            def bare() -> float:
                return requests_per_second(bare_port, authority, token, "/bare", CLIENTS[-1], SECONDS)

            gateway(1), bare()
            for clients in CLIENTS:
                rate = statistics.median(gateway(clients) for _ in range(3))
                yield Line(
                    quantity="logged_actions_per_s", case=f"read over TLS, {clients} client(s), SQLite", value=rate,
                    unit="actions/s",
                )  # fmt: skip
            ratios = [gateway(CLIENTS[-1]) / bare() for _ in range(PAIRS)]
    yield Line(
        quantity="authorised_rps_ratio", case=f"read, decided and logged in groups, {CLIENTS[-1]} clients",
        value=statistics.median(ratios), unit="ratio", baseline="bare FastAPI endpoint, same server, TLS and body",
    )  # fmt: skip


def _token(local: LocalGateway, folder: Path) -> Path:
    """A token of somebody who may read his own entry."""
    with connect(url=local.url, token=local.admin_token, authority=local.authority) as admin:
        token = admin.enrol("reader", "trainer")
    path = folder / "reader.token"
    path.write_text(token.token, encoding="ascii")
    return path


@contextmanager
def _bare(local: LocalGateway, folder: Path) -> Iterator[int]:
    with connect(url=local.url, token=local.admin_token, authority=local.authority) as admin:
        body = json.dumps(admin.connection.get(READ))
    tls, port_file = local.home / "tls", folder / "bare-port"
    command = [sys.executable, "-m", "benchmarks.bare", str(tls / "server.pem"), str(tls / "server.key")]
    process = subprocess.Popen([*command, str(port_file), body])
    try:
        while not port_file.exists() or not port_file.read_text(encoding="ascii"):
            time.sleep(0.05)
        time.sleep(0.5)
        yield int(port_file.read_text(encoding="ascii"))
    finally:
        process.kill()
        process.wait()
