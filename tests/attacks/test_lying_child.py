"""A confined child that its rows took over: nothing that it says leaves but what was paid and has its form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from gateway.launchers import local
from gateway.launchers.local import Died, Finished, run_in_child
from gateway.records import JobState
from gateway.services.run_job import fail
from gateway.work import confinement_of
from kernel.errors import CorruptError
from privacy.graph.weights import NamedArrays, pack_weights, unpack_weights
from privacy.jobs.assignment import TrainingAssignment
from privacy.selftest.report import REHEARSED, Check
from tests.attacks.conftest import RECIPE, ask, claim, job_of, told
from tests.support.api import House
from tests.support.selftests import watched

STEPS = RECIPE["steps"]
Frame = tuple[Mapping[str, Any], bytes]


class Liar:
    """A child that says what it was told to say, whatever it is answered."""

    def __init__(self, says: Any, first: Mapping[str, Any]) -> None:
        self.channel = self
        self.heard: list[Frame] = []
        self._says, self._first = says, first

    def send(self, header: Mapping[str, Any], body: bytes = b"") -> None:
        """Hear what the parent says."""
        self.heard.append((header, body))

    def receive(self, largest: int) -> Frame:
        """Say the next thing, or be gone."""
        if not hasattr(self, "_saying"):
            self._saying = iter([(self._first, b""), *self._says(self)])
        found = next(self._saying, None)
        if found is None or len(found[1]) > largest:
            raise CorruptError("the child is gone")
        header, body = found
        return ({"self_test": self.figures()} | dict(header), body) if header.get("m") == "result" else found

    def wait(self, _: float) -> None:
        """It lives."""

    def figures(self, **fault: Any) -> dict[str, Any]:
        """The self-test of a run of this job, with a fault or none."""
        return watched(TrainingAssignment.from_bytes(self.heard[0][1]).plan, **fault).to_fields()

    def weights(self) -> bytes:
        """Weights that have the form of this job's model."""
        graph = TrainingAssignment.from_bytes(self.heard[0][1]).graph
        return pack_weights(graph, {w.name: np.zeros(w.shape, dtype=np.float32) for w in graph.weights})

    def smuggled(self) -> bytes:
        """The same with an array more."""
        graph = TrainingAssignment.from_bytes(self.heard[0][1]).graph
        arrays = unpack_weights(graph, self.weights()) | {"rows": np.zeros(1000, dtype=np.float32)}
        texts = {"format": "privgate/weights/v1", "graph": str(graph.digest)}
        return NamedArrays(arrays=arrays, texts=texts).to_bytes()


def played(
    made: House, monkeypatch: pytest.MonkeyPatch, says: Any, first: Mapping[str, Any] = {"m": "rehearsed"}
) -> local.End:
    """How one attempt ends whose child says this, after what it says first."""

    @contextmanager
    def spawned(*_: Any, **__: Any) -> Iterator[Liar]:
        yield Liar(says, first)

    monkeypatch.setattr(local, "spawn", spawned)
    return run_in_child(made.gateway.on, claim(made), confinement_of(made.gateway.settings), lambda *_: None)  # type: ignore[arg-type, return-value]


def need(upto: Any) -> Frame:
    """A request for steps."""
    return {"m": "need", "upto": upto}, b""


def result(body: bytes, steps: Any = STEPS) -> Frame:
    """The end of a run."""
    return {"m": "result", "steps": steps}, body


LIES: dict[str, Any] = {
    "rows in the place of weights": lambda _: [need(STEPS), result(b"age,dose,outcome\n1,0.5,ill\n")],
    "an array more than the model has": lambda liar: [need(STEPS), result(liar.smuggled())],
    "bytes behind the weights": lambda liar: [need(STEPS), result(liar.weights() + b"a row")],
    "a result without a step": lambda liar: [result(liar.weights())],
    "a result before its last step": lambda liar: [need(2), result(liar.weights())],
    "fewer steps than were started": lambda liar: [need(STEPS), result(liar.weights(), 2)],
    "more steps than the plan has": lambda liar: [need(STEPS + 1), result(liar.weights(), STEPS + 1)],
    "the same steps again": lambda liar: [need(2), need(2), need(STEPS), result(liar.weights())],
    "steps that run backwards": lambda liar: [need(2), need(1), result(liar.weights())],
    "steps that are no number": lambda liar: [need("5"), result(liar.weights())],
    "a savepoint of steps that did not start": lambda liar: [({"m": "savepoint", "step": 3}, b"x")],
    "a second rehearsal": lambda liar: [({"m": "rehearsed"}, b""), need(STEPS), result(liar.weights())],
    "a word that nobody knows": lambda liar: [({"m": "metrics", "loss": "0.1"}, b""), need(STEPS)],
    "a candidate where nothing is selected": lambda liar: [
        need(STEPS),
        ({"m": "result", "steps": STEPS, "candidate": [0]}, liar.weights()),
    ],
    "nothing": lambda _: [],
}


def test_a_child_that_keeps_to_its_part_finishes(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The player of lies is not what is refused."""
    ask(made)
    assert isinstance(played(made, monkeypatch, lambda liar: [need(STEPS), result(liar.weights())]), Finished)


@pytest.mark.parametrize("says", LIES.values(), ids=LIES)
def test_a_lie_ends_the_attempt(made: House, monkeypatch: pytest.MonkeyPatch, says: Any) -> None:
    """Nothing of it is kept; that the envelope was open is not forgotten."""
    ask(made)
    assert played(made, monkeypatch, says) == Died(touched=True)


@pytest.mark.parametrize("check", REHEARSED)
def test_a_rehearsal_that_failed_is_told_by_the_name_of_its_check(
    made: House, monkeypatch: pytest.MonkeyPatch, check: Check
) -> None:
    """The envelope stays shut, whatever the child says then."""
    job = ask(made)
    first = {"m": "unrehearsed", "check": check.value}
    end = played(made, monkeypatch, lambda liar: [need(STEPS), result(liar.weights())], first)
    assert end == Died(touched=False, rehearsal=check)
    assert "budget:touched" not in told(made, job)


@pytest.mark.parametrize(
    "first",
    [
        {"m": "unrehearsed", "check": "noise-variance"},
        {"m": "unrehearsed", "check": "480 rows"},
        {"m": "unrehearsed", "check": ["clip-bound"]},
        {"m": "unrehearsed", "check": "clip-bound", "rows": 480},
        {"m": "unrehearsed"},
        {"m": "rehearsed", "check": "clip-bound"},
    ],
    ids=str,
)
def test_nothing_else_is_told_of_a_rehearsal(
    made: House, monkeypatch: pytest.MonkeyPatch, first: Mapping[str, Any]
) -> None:
    """A name of another check, a text, a list, a member more or less: the child just died."""
    ask(made)
    assert played(made, monkeypatch, lambda _: [], first) == Died(touched=False)


def test_lying_to_the_end_costs_the_whole_hold(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt is tried; then the job has failed, is charged in full, and no release exists."""
    job = ask(made)
    for _ in range(3):
        assert isinstance(played(made, monkeypatch, LIES["rows in the place of weights"]), Died)
        with made.gateway.on.database.read() as reading:
            task = reading.tasks.for_subject(job)
        assert task is not None
        fail(made.gateway.on, task, again=True)
    assert job_of(made, job).state is JobState.FAILED
    assert told(made, job)[-2:] == ["budget:charged", "job:ended"]
    charged = [entry["fields"] for entry in made.log() if entry["type"] == "budget:charged"]
    assert charged[-1]["in_full"] is True
