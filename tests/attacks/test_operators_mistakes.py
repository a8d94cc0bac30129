"""An operator who means well: limits that let rows decide, and a database from before the last charges."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Settings
from gateway.wiring import build
from kernel.errors import CorruptError
from tests.support.api import House, done, reopened, settings_in

ENOUGH = 300
"""Entries beyond a full tile of the log, wherever one begins."""


@pytest.mark.parametrize("name", ["training_memory_bytes", "child_cpu_seconds", "child_wall_seconds"])
def test_limits_below_what_plans_are_admitted_for_are_refused(tmp_path: Path, name: str) -> None:
    """Near such a limit a job would live or die by the true number of rows, and that is one bit for its trainer."""
    least = Settings.model_fields[name].default if name != "child_wall_seconds" else 4 * 3600
    assert getattr(Settings(home=tmp_path, **{name: least}), name) == least
    with pytest.raises(ValidationError, match=f"PRIVGATE_{name.upper()}|{name}"):
        Settings(home=tmp_path, **{name: least - 1})


def test_a_database_from_before_the_last_tile_signs_nothing(hospital: tuple[Path, House], tmp_path: Path) -> None:
    """It has forgotten charges whose releases were fetched. Its log would be a second history, so it stands still."""
    home, like = hospital
    shutil.copytree(home, tmp_path / "home")
    with reopened(tmp_path / "home", like) as made:
        for _ in range(ENOUGH):
            done(made["trainer"].get("/v1/self"))
        made.settle()
    for name in ("privgate.sqlite", "privgate.sqlite-wal", "privgate.sqlite-shm"):
        (tmp_path / "home" / name).unlink(missing_ok=True)
        if (home / name).exists():
            shutil.copy(home / name, tmp_path / "home" / name)
    gateway = build(settings_in(tmp_path / "home"))
    try:
        with pytest.raises(CorruptError, match="older than its tiles"):
            gateway.sequencer.step()
    finally:
        gateway.close()
