"""The ingest child's side of the conversation: what it will not take, and that it says nothing then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel.errors import PrivgateError
from privacy.sandbox.endings import Ending
from privacy.sandbox.spawn import spawn
from tests.support.uploads import KEYS, LIMITS, schema, staged

AGE = schema({"name": "age", "kind": "numeric", "low": "0", "high": "120"})
Frames = list[tuple[dict[str, Any], bytes]]


def _end(tmp_path: Path, frames: Frames, request: dict[str, Any] | None = None) -> tuple[Ending | None, list[str]]:
    """Send frames without waiting; return how the child ended and what it said."""
    assignment = staged(tmp_path, b"age\n41\n", AGE)
    said: list[str] = []
    readable, output = [Path(assignment.staged)], Path(assignment.output)
    with spawn("ingest", limits=LIMITS, readable=readable, writable=output, request=request) as child:
        try:
            for header, body in frames:
                child.channel.send(header, body or assignment.to_bytes())
            while True:
                said.append(child.channel.receive(2**20)[0]["m"])
        except PrivgateError:
            return child.wait(60), said


ASSIGNMENT: tuple[dict[str, Any], bytes] = ({"m": "assignment"}, b"")


def test_a_whole_conversation(tmp_path: Path) -> None:
    """Ready after the assignment, sealed after the keys, then the end."""
    assert _end(tmp_path, [ASSIGNMENT, ({"m": "key"}, b"".join(KEYS))]) == (
        Ending.FINISHED,
        ["ready-for-key", "sealed"],
    )


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([({"m": "key"}, b"".join(KEYS))], []),
        ([({"m": "assignment"}, b"{}")], []),
        ([({"m": "assignment", "n": 1}, b"")], []),
        ([ASSIGNMENT, ASSIGNMENT], ["ready-for-key"]),
        ([ASSIGNMENT, ({"m": "key"}, KEYS[0])], ["ready-for-key"]),
        ([ASSIGNMENT, ({"m": "key"}, b"".join(KEYS) + b"x")], ["ready-for-key"]),
        ([ASSIGNMENT, ({"m": "key"}, b"".join(KEYS[::-1]))], ["ready-for-key"]),
    ],
)
def test_a_conversation_of_another_form_ends_it(tmp_path: Path, frames: Frames, said: list[str]) -> None:
    """Frames out of order, of other members or lengths, and keys that open nothing."""
    assert _end(tmp_path, frames) == (Ending.REFUSED, said)


def test_a_child_started_with_more_than_its_role_ends(tmp_path: Path) -> None:
    """What it is told comes in the assignment."""
    assert _end(tmp_path, [ASSIGNMENT], {"more": 1}) == (Ending.REFUSED, [])
