"""The operator's command as real processes: a home, its settings, and what was started in it."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2

COMMAND = Path(sys.executable).with_name("privgate-gateway")
START_SECONDS = 60.0


@dataclass(frozen=True)
class Home:
    """A gateway's directory with the settings that its processes get, and nothing else of ours from outside.

    Attributes:
        folder: Where home and port file lie.
        settings: Further settings, by environment variable.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """`PRIVGATE_HOME`."""
        return self.folder / "home"

    @property
    def port_file(self) -> Path:
        """Where `serve` announces its port."""
        return self.folder / "port"

    @property
    def environment(self) -> dict[str, str]:
        """What a process gets."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith("PRIVGATE_")}
        own = {"PRIVGATE_HOME": str(self.path), "PRIVGATE_LISTEN_PORT": "0", "OMP_NUM_THREADS": "1"}
        return outside | own | dict(self.settings)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [str(COMMAND), *arguments], env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )

    def init(self) -> None:
        """Initialise, and insist."""
        done = self.run("init", "--organisation", "Test hospital", "--admin", "Ada Admin")
        assert done.returncode == 0, done.stderr

    def copy(self, folder: Path) -> Home:
        """The same home, in which no process runs, in another folder that is there."""
        shutil.copytree(self.path, folder / self.path.name)
        return replace(self, folder=folder)

    @contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command that runs until it is told to stop; it is gone when the block ends."""
        with (self.folder / f"{arguments[0]}.log").open("ab") as output:
            process = subprocess.Popen(
                [str(COMMAND), *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    @contextmanager
    def api(self) -> Iterator[subprocess.Popen[bytes]]:
        """Serve, and wait until the port is announced."""
        with self.process("serve", "--port-file", str(self.port_file)) as process:
            self.await_("serve", process, self.port_file.exists)
            yield process

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """Work, and wait until it takes tasks."""
        started = self.log("worker").count('"working"')
        with self.process("worker") as process:
            self.await_("worker", process, lambda: self.log("worker").count('"working"') > started)
            yield process

    def log(self, name: str) -> str:
        """What the processes of a command wrote."""
        path = self.folder / f"{name}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def await_(self, name: str, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
        """Wait until something about a process is so; fail if it ends before."""
        until = time.monotonic() + START_SECONDS
        while not ready():
            assert process.poll() is None, self.log(name)
            assert time.monotonic() < until, self.log(name)
            time.sleep(0.02)

    @property
    def token(self) -> str:
        """The first administrator's token."""
        return (self.path / "admin.token").read_text(encoding="ascii").strip()

    def client(self, *, token: str | None = None, host: str = "localhost") -> httpx2.Client:
        """A client that trusts this gateway's authority and no other."""
        context = ssl.create_default_context(cafile=str(self.path / "tls" / "ca.pem"))
        port = self.port_file.read_text(encoding="ascii").strip()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx2.Client(base_url=f"https://{host}:{port}", verify=context, headers=headers, trust_env=False)


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to stop and return how it ended."""
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)
