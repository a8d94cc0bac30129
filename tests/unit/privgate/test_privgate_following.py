"""Following a job on the screen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import typer

from privgate.cli.exits import Exit
from privgate.cli.following import followed, show_followed
from privgate.sdk.jobs import Job, Progress


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


def test_who_follows_a_job_that_waits_for_a_person_is_told_how_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is listened to, for days maybe: the job is shown, and the exit code says that it has not begun."""
    waiting = Job(
        gateway=None,  # type: ignore[arg-type]  # it must not be asked
        job="job_x",
        kind="training",
        state="awaiting-approval",
        percent=0,
        dataset="dst_x",
        purpose="research",
        epsilon="3",
        request_digest="sha256:x",
        created_at="2026-01-01T00:00:00Z",
        release=None,
        principal="prn_x",
    )
    with pytest.raises(typer.Exit) as ended:
        show_followed(waiting, machine=True)
    out, err = capsys.readouterr()
    assert ended.value.exit_code == Exit.CONFLICT
    assert '"awaiting-approval"' in out
    for command in ("jobs show job_x", "jobs approve job_x", "jobs follow job_x"):
        assert f"`privgate {command}`" in err
