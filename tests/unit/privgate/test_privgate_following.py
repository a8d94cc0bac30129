"""Following a job on the screen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from privgate.cli.following import followed
from privgate.sdk.jobs import Progress


class Fake:
    """A job that ends as it is told to."""

    def __init__(self, lines: list[Progress], release: str | None, state: str = "held") -> None:
        self.state, self.release, self._lines, self._release = "queued", release, lines, SimpleNamespace(state=state)

    def follow(self) -> list[Progress]:
        return self._lines

    def wait(self) -> Fake:
        return self

    def result(self) -> Any:
        return self._release


LINES = [Progress("running", 0), Progress("running", 0), Progress("running", 10), Progress("finished", 100)]


@pytest.mark.parametrize(
    ("state", "said"), [("held", "releases check rel_x release"), ("released", "releases get rel_x")]
)
def test_each_line_is_said_once_and_what_to_do_next(state: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A tick that says nothing new writes nothing; at the end stands the command that comes next, and for whom."""
    followed(Fake(LINES, "rel_x", state))  # type: ignore[arg-type]  # the members that are looked at
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines == ["running 0 %", "running 10 %", "finished 100 %"]
    assert said in last
