"""Worker or child is killed at a random moment of a training run: a sample of what `make soak` does 200 times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.soak import SEED
from tests.support.crashes import Place
from tests.support.run_kills import killed_at_random, undisturbed, waiting_job

RUNS = 4
pytestmark = pytest.mark.slow


def test_a_kill_at_any_moment_costs_at_most_one_chunk(tmp_path: Path) -> None:
    """Every job ends, is charged all that was started, and no attempt that died cost more than a chunk."""
    waiting = waiting_job(Place(tmp_path / "waiting"))
    seconds = undisturbed(waiting.copy(tmp_path / "undisturbed"))
    draw = random.Random(SEED)
    for number in range(RUNS):
        killed_at_random(waiting.copy(tmp_path / str(number)), draw, seconds, tmp_path / f"archive-{number}")
