"""A throw-away gateway: initialised in a fresh directory, an API and a worker as processes on loopback.

Rules
-----
1. Every run has its own directory, database, keys and port; nothing of an earlier run is used.
2. What was started is stopped, whatever happens; what it wrote to its output lies in the directory.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernel.errors import PrivgateError

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05


class StartError(PrivgateError):
    """A process of the demo did not come up; the message names its output."""


@dataclass(slots=True)
class LocalGateway:
    """A gateway that lives in one directory and stops when the block ends.

    Attributes:
        home: Its directory: database, blobs, keyring, certificates.
        logs: Where the processes' outputs go.
        keeps: Open files that API and worker keep open, a lock for one.
    """

    home: Path
    logs: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    keeps: tuple[int, ...] = ()
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def port_file(self) -> Path:
        """Where the API writes the port that it found."""
        return self.home / "port"

    @property
    def authority(self) -> str:
        """The certificate of the gateway's own CA, as PEM."""
        return (self.home / "tls" / "ca.pem").read_text(encoding="ascii")

    @property
    def admin_token(self) -> str:
        """The first administrator's token."""
        return (self.home / "admin.token").read_text(encoding="ascii").strip()

    @property
    def url(self) -> str:
        """Where the API listens."""
        return f"https://127.0.0.1:{self.port_file.read_text(encoding='ascii').strip()}"

    @property
    def party_port_file(self) -> Path:
        """Where the API writes the port of the listener for parties."""
        return self.home / "party-port"

    @property
    def party_url(self) -> str:
        """Where it listens for parties, if the settings say that it does."""
        return f"https://127.0.0.1:{self.party_port_file.read_text(encoding='ascii').strip()}"

    @property
    def processes(self) -> list[int]:
        """The numbers of the processes that run."""
        return [process.pid for process in self._running]

    def _for_parties(self) -> list[str]:
        return ["--party-port-file", str(self.party_port_file)] if "PRIVGATE_PARTY_PORT" in self.settings else []

    def __enter__(self) -> LocalGateway:
        self.logs.mkdir(parents=True, exist_ok=True)
        try:
            if not (self.home / "admin.token").exists():
                self._run("init", "init", "--organisation", "Demo hospital", "--admin", "Operator")
            # A gateway that was killed left its port: it would be taken for the new one's.
            for stale in (self.port_file, self.party_port_file):
                stale.unlink(missing_ok=True)
            self._start("api", "serve", "--port-file", str(self.port_file), *self._for_parties())
            self._start("worker", "worker")
            self._wait_for_port()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raise `StartError` if a process has ended by itself."""
        for process in self._running:
            if process.poll() is not None:
                raise StartError(f"a process of the gateway ended by itself; its output is in {self.logs}")

    def stop(self) -> None:
        """Ask every process to stop, then insist."""
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PRIVGATE_")}
        own = {
            "PRIVGATE_HOME": str(self.home),
            "PRIVGATE_DEMO": "true",
            "PRIVGATE_ORIGIN": f"demo.privgate.local/{secrets.token_hex(8)}",
            "PRIVGATE_LISTEN_PORT": "0",
        }
        return kept | own | dict(self.settings)

    def _command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("privgate-gateway")), *arguments]

    def _run(self, name: str, *arguments: str) -> None:
        with (self.logs / f"{name}.log").open("wb") as output:
            done = subprocess.run(  # noqa: S603 - our own program
                self._command(*arguments), env=self._once(), stdout=output, stderr=output, check=False
            )
        if done.returncode:
            raise StartError(f"`privgate-gateway {arguments[0]}` failed; its output is {self.logs / f'{name}.log'}")

    def _start(self, name: str, *arguments: str) -> None:
        with (self.logs / f"{name}.log").open("wb") as output:
            self._running.append(
                subprocess.Popen(  # noqa: S603 - our own program
                    self._command(*arguments),
                    env=self._once(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    pass_fds=self.keeps,
                )
            )

    def _once(self) -> dict[str, str]:
        """The same environment for all processes: the origin's name is drawn once."""
        if "PRIVGATE_ORIGIN" not in self.settings:
            self.settings = {"PRIVGATE_ORIGIN": self._environment()["PRIVGATE_ORIGIN"], **self.settings}
        return self._environment()

    def _wait_for_port(self) -> None:
        until = time.monotonic() + START_SECONDS
        awaited = [self.port_file, *([self.party_port_file] if self._for_parties() else [])]
        while not all(file.exists() for file in awaited):
            self.check()
            if time.monotonic() > until:
                raise StartError(f"the gateway does not come up; its output is in {self.logs}")
            time.sleep(POLL_SECONDS)
