"""A child of a synthetic table that its rows took over: nothing leaves but the form that was paid for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.launchers import local
from gateway.launchers.local import Died, Finished, run_in_child
from gateway.work import confinement_of
from kernel import canonical
from kernel.errors import CorruptError
from kernel.events import Parameter
from privacy.jobs.assignment import SynthesisAssignment
from privacy.synthesis.report import Branch, Counted, synthesis_bytes
from tests.attacks.conftest import claim
from tests.support.api import House, done, grant_body

Lie = Callable[[SynthesisAssignment], bytes]


def counts(of: SynthesisAssignment) -> Counted:
    """Counts of the right form."""
    cells = of.plan.cells
    tree = tuple(Branch((0, n), (40,) * (cells[0] * cells[n])) for n in range(1, len(cells)))
    return Counted(tuple((100,) * size for size in cells), tree)


def honest(of: SynthesisAssignment) -> bytes:
    """A result of the right form."""
    return synthesis_bytes(of.spec, of.plan, counts(of))


def changed(of: SynthesisAssignment, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The same with something changed."""
    body = canonical.decode(honest(of), limit=2**24)
    change(body)
    return canonical.encode(body)


LIES: dict[str, Lie] = {
    "rows in the place of counts": lambda _: b"age,dose,outcome\n1,0.5,ill\n",
    "a byte behind them": lambda of: honest(of) + b" ",
    "a member more": lambda of: changed(of, lambda body: body.update(rows=[480])),
    "a score of a pair": lambda of: changed(of, lambda body: body["tree"][0].update(score=17)),
    "a pair that was not paid for": lambda of: changed(
        of, lambda body: body["tree"].append(dict(body["tree"][0], first=1, second=2))
    ),
    "a number more": lambda of: changed(of, lambda body: body["columns"][0].append(7)),
    "less noise than was paid for": lambda of: synthesis_bytes(
        of.spec, of.plan.with_noise(Parameter("0.1")), counts(of)
    ),
}


class Liar:
    """A child that rehearses, starts, and sends what it was told to send."""

    def __init__(self, lie: Lie) -> None:
        self.channel = self
        self._lie, self._heard = lie, b""
        self._saying = iter(({"m": "rehearsed"}, {"m": "need", "upto": 1}, {"m": "result", "steps": 1}))

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
        return header, self._lie(SynthesisAssignment.from_bytes(self._heard)) if header["m"] == "result" else b""


def played(made: House, monkeypatch: pytest.MonkeyPatch, lie: Lie) -> local.End:
    """How one attempt ends whose child tells this lie."""
    dataset, trainer = made.ids["dataset"], made["trainer"]
    done(made["owner"].post("/v1/grants", grant_body(trainer.principal, dataset, job_kinds=["synthesis"])), 201)
    spec = {"kind": "synthesis", "dataset": dataset, "purpose": "research/oncology", "epsilon": "1", "bins": 4}
    done(trainer.post("/v1/jobs", {"spec": spec}), 202)

    @contextmanager
    def spawned(*_: Any, **__: Any) -> Any:
        yield Liar(lie)

    monkeypatch.setattr(local, "spawn", spawned)
    return run_in_child(made.gateway.on, claim(made), confinement_of(made.gateway.settings), lambda *_: None)  # type: ignore[arg-type, return-value]


def test_a_child_that_keeps_to_its_part_finishes(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The player of lies is not what is refused."""
    assert isinstance(played(made, monkeypatch, honest), Finished)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_ends_the_attempt(made: House, monkeypatch: pytest.MonkeyPatch, lie: Lie) -> None:
    """Nothing of it is kept; that the envelope was open is not forgotten."""
    assert played(made, monkeypatch, lie) == Died(touched=True)
