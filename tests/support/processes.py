"""The operator's command as real processes: a home, its settings, and what was started in it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2

from gateway import command

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

    def forked(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a process that has the program loaded already: the command's own, but quicker."""
        from gateway import serve, work  # noqa: F401 - loaded here, once, and not in each process

        paths = [self.folder / f"forked.{name}" for name in ("out", "err")]
        process = multiprocessing.get_context("fork").Process(
            target=_command, args=(self.environment, arguments, paths)
        )
        process.start()
        process.join(120)
        if process.exitcode is None:
            process.kill()
            process.join()
        said = [path.read_text(encoding="utf-8") for path in paths]
        assert process.exitcode is not None
        return subprocess.CompletedProcess([str(COMMAND), *arguments], process.exitcode, *said)

    def init(self) -> None:
        """Initialise, and insist."""
        done = self.forked("init", "--organisation", "Test hospital", "--admin", "Ada Admin")
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


def _command(environment: Mapping[str, str], arguments: Sequence[str], said: Sequence[Path]) -> None:
    """What `privgate-gateway` does, with the files of a process that was started for it."""
    for number, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 - they last as long as the process
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["privgate-gateway", *arguments]
    command.main()


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask a process to stop and return how it ended."""
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)
