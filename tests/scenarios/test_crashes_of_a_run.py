"""The act of a job's run, killed on each side of its commits and links; see `test_crashes`.

It has a file of its own because each kill trains twice.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.crash_looks import Rehearsal, kill_and_look

ACT, LEAST_POINTS = "run", 20
OFTEN = ("steps:committed", "steps:before-commit", "savepoint:committed", "blob:after-link")


def test_a_kill_at_each_point_of_a_run_costs_nothing(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """Every point between two changes once, at its first passing."""
    assert len(rehearsal.points[ACT]) >= LEAST_POINTS
    for name in rehearsal.changes(ACT):
        kill_and_look(rehearsal, ACT, name, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", OFTEN)
def test_a_kill_in_the_middle_of_a_run_costs_nothing(rehearsal: Rehearsal, name: str, tmp_path: Path) -> None:
    """What is passed with every chunk of steps is struck in the middle, too, when a savepoint lies behind."""
    occurrence = rehearsal.points[ACT][name] // 2
    assert occurrence > 1
    kill_and_look(rehearsal, ACT, name, occurrence, tmp_path)
