"""A statistics child that its rows took over, and one that dies: nothing leaves but the form that was paid for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.launchers import local
from gateway.launchers.local import Died, Finished, run_in_child
from gateway.records import JobState
from gateway.services.run_job import fail
from gateway.work import confinement_of
from kernel import canonical
from kernel.errors import CorruptError
from kernel.events import Parameter
from kernel.ids import JobId
from privacy.jobs.assignment import StatisticsAssignment
from privacy.statistics.report import Noisy, statistics_bytes
from tests.attacks.conftest import claim, job_of, told
from tests.support.api import House, done, grant_body

QUERIES = [{"kind": "count"}, {"kind": "histogram", "columns": ["outcome"]}, {"kind": "mean", "column": "age"}]
Lie = Callable[[StatisticsAssignment], bytes]


def ask(made: House) -> JobId:
    """Request statistics, under a grant for them."""
    dataset, trainer = made.ids["dataset"], made["trainer"]
    done(made["owner"].post("/v1/grants", grant_body(trainer.principal, dataset, job_kinds=["statistics"])), 201)
    spec = {
        "kind": "statistics",
        "dataset": dataset,
        "purpose": "research/oncology",
        "epsilon": "1",
        "queries": QUERIES,
    }
    return JobId(done(trainer.post("/v1/jobs", {"spec": spec | {"queries": QUERIES}}), 202)["job"])


def honest(told_: StatisticsAssignment, more: int = 0) -> bytes:
    """A result of the right form."""
    noisy: Noisy = tuple(tuple(400 + more for _ in range(each.cells)) for each in told_.plan.measurements)
    return statistics_bytes(told_.spec, told_.plan, noisy)


def changed(told_: StatisticsAssignment, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The same with something changed behind the noisy numbers' back."""
    body = canonical.decode(honest(told_), limit=2**24)
    change(body)
    return canonical.encode(body)


LIES: dict[str, Lie] = {
    "rows in the place of statistics": lambda _: b"age,dose,outcome\n1,0.5,ill\n",
    "a byte behind them": lambda of: honest(of) + b" ",
    "a member more": lambda of: changed(of, lambda body: body.update(rows=[480])),
    "an answer that does not follow": lambda of: changed(of, lambda body: body["answers"][0].update(values=["480"])),
    "a vector more": lambda of: changed(of, lambda body: body["noisy"].append([1, 2, 3])),
    "a number more": lambda of: changed(of, lambda body: body["noisy"][0].append(7)),
    "a fraction": lambda of: changed(of, lambda body: body["noisy"].__setitem__(0, ["400.5"])),
    "less noise than was paid for": lambda of: statistics_bytes(
        of.spec, of.plan.with_noise(Parameter("0.1")), ((1,), (1, 1), (1,))
    ),
}


class Liar:
    """A child that rehearses, starts, and sends what it was told to send."""

    def __init__(self, lie: Lie, header: dict[str, Any]) -> None:
        self.channel = self
        self._lie, self._header, self._heard = lie, header, b""
        self._saying = iter(({"m": "rehearsed"}, {"m": "need", "upto": 1}, header))

    def send(self, header: Any, body: bytes = b"") -> None:
        """Hear what the parent says; its first words are the assignment."""
        self._heard = self._heard or body

    def wait(self, _: float) -> None:
        """It lives."""

    def receive(self, _: int) -> tuple[dict[str, Any], bytes]:
        """Say the next thing, or be gone."""
        header = next(self._saying, None)
        if header is None:
            raise CorruptError("the child is gone")
        is_result = header is self._header
        return header, self._lie(StatisticsAssignment.from_bytes(self._heard)) if is_result else b""


def played(made: House, monkeypatch: pytest.MonkeyPatch, lie: Lie, **more: Any) -> local.End:
    """How one attempt ends whose child tells this lie."""

    @contextmanager
    def spawned(*_: Any, **__: Any) -> Any:
        yield Liar(lie, {"m": "result", "steps": 1, **more})

    monkeypatch.setattr(local, "spawn", spawned)
    return run_in_child(made.gateway.on, claim(made), confinement_of(made.gateway.settings), lambda *_: None)  # type: ignore[arg-type, return-value]


def test_a_child_that_keeps_to_its_part_finishes(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The player of lies is not what is refused."""
    ask(made)
    assert isinstance(played(made, monkeypatch, honest), Finished)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_ends_the_attempt(made: House, monkeypatch: pytest.MonkeyPatch, lie: Lie) -> None:
    """Nothing of it is kept; that the envelope was open is not forgotten."""
    ask(made)
    assert played(made, monkeypatch, lie) == Died(touched=True)


def test_a_self_test_does_not_belong_there(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a place to write figures into."""
    ask(made)
    assert played(made, monkeypatch, honest, self_test={"rows": 480}) == Died(touched=True)


def test_dying_twice_costs_both_attempts_and_nothing_leaves(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hold covers one repetition; then the job has failed and is charged in full."""
    job = ask(made)
    for _ in range(2):
        assert isinstance(played(made, monkeypatch, LIES["a byte behind them"]), Died)
        with made.gateway.on.database.read() as reading:
            task = reading.tasks.for_subject(job)
        assert task is not None
        fail(made.gateway.on, task, again=True)
    assert job_of(made, job).state is JobState.FAILED
    assert told(made, job)[-2:] == ["budget:charged", "job:ended"]
    charged = [entry["fields"] for entry in made.log() if entry["type"] == "budget:charged"]
    assert charged[-1]["in_full"] is True
