"""Choosing epsilon at a terminal, and naming it in a script."""

from __future__ import annotations

import io
from typing import Any

import pytest
from typer.testing import CliRunner

from privgate.cli import choosing, populations
from privgate.cli.app import app
from privgate.sdk.views import Population
from tests.unit.privgate.test_privgate_views import POPULATION

CREATE = ["populations", "create", "--noun", "patient", "--domain", "by-mrn", "--public-size", "3000"]


class Told:
    """A gateway that keeps what it was told."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def create_population(self, **told: Any) -> Population:
        """Keep what was asked for."""
        self.told = told
        return Population.read(POPULATION)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """The gateway that the command meets."""
    made = Told()
    monkeypatch.setattr(populations, "gateway", lambda _: made)
    return made


class Terminal(io.StringIO):
    """Standard input as a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_a_script_that_names_no_epsilon_is_told_so(told: Told) -> None:
    """Nobody is there to ask; nothing is sent."""
    done = CliRunner().invoke(app, CREATE)
    assert done.exit_code == 2
    assert "--epsilon" in done.stderr
    assert told.told == {}


def test_a_script_that_names_epsilon_is_asked_nothing(told: Told) -> None:
    """Delta follows from the size; nothing was shown, so nothing is said to have been."""
    done = CliRunner().invoke(app, [*CREATE, "--epsilon", "3", "--reason", "the board"])
    assert done.exit_code == 0, done.output
    assert (told.told["epsilon"], told.told["delta"]) == ("3", "0.000001")
    assert (told.told["shown"], told.told["reason"]) == ((), "the board")
    assert "97 times in 100" in done.stderr


@pytest.mark.parametrize(
    ("typed", "epsilon", "reason"), [("5\nthe board\n", "5", "the board"), ("\nbecause\n", "3", "because")]
)
def test_a_person_is_shown_the_odds_and_asked_for_the_reason(
    told: Told, monkeypatch: pytest.MonkeyPatch, typed: str, epsilon: str, reason: str
) -> None:
    """Everything that was on the screen is said to have been shown."""
    asked: list[str] = []
    monkeypatch.setattr(choosing.sys, "stdin", Terminal(typed))
    monkeypatch.setattr(choosing, "note", asked.append)
    chosen = choosing.ask("patient", "0.000001")
    assert (chosen.epsilon, chosen.reason) == (epsilon, reason)
    for shown in chosen.shown:
        assert any(line.strip().startswith(f"{shown} ") for line in asked), shown
    assert "at most N times in 100; 50 is a coin" in " ".join(asked)
    assert "The quote of one job has odds of its own" in " ".join(asked)
    assert told.told == {}


def test_a_delta_that_is_given_is_the_one_that_is_used(told: Told) -> None:
    """The default is for whoever gives none."""
    done = CliRunner().invoke(app, [*CREATE, "--epsilon", "3", "--delta", "0.0000001"])
    assert done.exit_code == 0
    assert told.told["delta"] == "0.0000001"
