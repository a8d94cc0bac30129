"""The agents' processes: each has its home, key file and owner's sign-in in a folder of its own.

Rules
-----
1. An agent is the program `privgate site` or `privgate keyholder`; nothing of it runs in the demo's own process.
2. What was started is stopped, whatever happens; what it wrote lies beside its home.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privgate.demo.scenes import DemoError

STOP_SECONDS = 20.0
POLL_SECONDS = "0.25"


@dataclass(slots=True)
class Agent:
    """One party.

    Attributes:
        kind: `site` or `keyholder`.
        name: What it is called.
        folder: Its own.
        party: The gateway's number for it, once it is enrolled.
    """

    kind: str
    name: str
    folder: Path
    party: str = ""
    _running: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def home(self) -> Path:
        """Its home."""
        return self.folder / "home"

    @property
    def identity(self) -> Path:
        """The file that it gives to the others."""
        return self.folder / "identity.json"

    def init(self) -> str:
        """Draw its keys; its fingerprint."""
        self.folder.mkdir(mode=0o700, parents=True)
        made = self.run("init", self.name).strip()
        self.run("identity", "--out", str(self.identity))
        return made

    def enrol(self, url: str, authority: Path, token: str, party_url: str) -> None:
        """Its owner signs in beside it and enrols it."""
        file = self.folder / "token"
        file.write_text(token, encoding="ascii")
        self._privgate("login", url, "--ca", str(authority), "--token-file", str(file))
        self.party = self.run("enrol", party_url).strip()

    def run(self, command: str, *arguments: str) -> str:
        """Run one of its commands to its end; what it wrote to standard output."""
        return self._privgate(self.kind, command, *arguments, "--home", str(self.home))

    def log(self) -> dict[str, Any]:
        """What its own log comes to, once it is judged."""
        found: dict[str, Any] = json.loads(self.run("log", "--verify", "--json"))
        return found

    def start(self) -> None:
        """Let it work."""
        command = [*_program(), self.kind, "run", "--home", str(self.home), "--every", POLL_SECONDS]
        with (self.folder / "agent.log").open("ab") as output:
            self._running = subprocess.Popen(  # noqa: S603 - our own program
                command, env=self._environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def switch_off(self) -> None:
        """End it as a power cut would, without asking."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    def check(self) -> None:
        """Raise `DemoError` if it has ended by itself."""
        if self._running is not None and self._running.poll() is not None:
            raise DemoError(f"the agent of {self.name} ended by itself: {self.told()}")

    def told(self) -> str:
        """What it told its people."""
        return (self.folder / "agent.log").read_text(encoding="utf-8").strip()

    def stop(self) -> None:
        """Ask it to stop, then insist."""
        if self._running is None:
            return
        if self._running.poll() is None:
            self._running.send_signal(signal.SIGTERM)
        try:
            self._running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        self._running = None

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PRIVGATE_")}
        return kept | {"PRIVGATE_CONFIG": str(self.folder / "sign-in"), "OMP_NUM_THREADS": "1"}

    def _privgate(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own program
            [*_program(), *arguments], env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise DemoError(f"`privgate {' '.join(arguments[:2])}` of {self.name} failed: {done.stderr.strip()}")
        return done.stdout


def _program() -> Sequence[str]:
    return [str(Path(sys.executable).with_name("privgate"))]
