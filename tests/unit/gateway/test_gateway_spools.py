"""Folders of killed processes are swept; those that somebody works in are not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from gateway.spools import PREFIX, spool, sweep_spools


def _fails() -> None:
    with spool():
        raise RuntimeError


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _works(ready: Connection) -> None:
    with spool() as folder:
        (folder / "part").write_bytes(b"ciphertext")
        ready.send(str(folder))
        signal.pause()


def test_a_spool_is_gone_when_its_work_is_done_or_fails() -> None:
    """It is ours alone, and empty at first."""
    with spool() as folder:
        assert (list(folder.iterdir()), folder.stat().st_mode & 0o777) == ([], 0o700)
        (folder / "out").mkdir()
    assert not folder.exists()
    with pytest.raises(RuntimeError):
        _fails()
    assert not list(Path(tempfile.gettempdir()).iterdir())


def test_what_a_killed_process_left_is_swept_and_not_before_it_is_dead(temporary: Path) -> None:
    """While it works its folder is locked, whoever sweeps."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_works, args=(theirs,))
    process.start()
    left = Path(ours.recv())
    with spool() as folder:
        assert sweep_spools() == 0
        assert folder.exists()
        assert (left / "part").exists()
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        assert sweep_spools() == 1
        assert [path.name for path in temporary.iterdir()] == [folder.name]


def test_nothing_else_is_touched(temporary: Path) -> None:
    """Files, links and folders of another name, though they look like ours."""
    (temporary / "theirs").mkdir()
    (temporary / f"{PREFIX}file").write_bytes(b"")
    (temporary / f"{PREFIX}link").symlink_to(temporary / "theirs")
    assert sweep_spools() == 0
    assert len(list(temporary.iterdir())) == 3
