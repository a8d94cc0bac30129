"""`make serve`: one gateway in a directory, at the ports of the last time, which profiles and agents remember."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from privgate.demo.processes import StartError
from privgate.demo.screen import Screen
from privgate.demo.serving import serve

PATIENCE_SECONDS = 90.0


def test_a_port_of_the_last_time_that_is_taken_is_refused(tmp_path: Path) -> None:
    """Another port would leave every profile with nobody; nothing is initialised before that is said."""
    before = signal.getsignal(signal.SIGTERM)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        (tmp_path / "port").write_text(f"{other.getsockname()[1]}\n", encoding="ascii")
        with pytest.raises(StartError, match="of the last time cannot be had"):
            serve(tmp_path, Screen())
    signal.signal(signal.SIGTERM, before)
    assert not (tmp_path / "gateway").exists()


@pytest.mark.slow
def test_a_second_gateway_in_a_directory_is_refused_and_the_next_has_the_same_ports(tmp_path: Path) -> None:
    """Also while what a killed one left still runs."""
    with _served(tmp_path) as (first, told):
        assert "runs in" in _refused(tmp_path)
        left = [int(number) for number in (tmp_path / "lock").read_text(encoding="ascii").split()]
        first.kill()
        first.wait()
        try:
            assert f"its processes: {left[0]} {left[1]}" in _refused(tmp_path)
        finally:
            for number in left:
                os.kill(number, signal.SIGTERM)
    with _served(tmp_path) as (again, told_again):
        assert told_again == told
        again.send_signal(signal.SIGTERM)
        assert again.wait(PATIENCE_SECONDS) == 0


def _command(directory: Path) -> list[str]:
    return [sys.executable, "-m", "privgate.demo", "--serve", str(directory)]


def _refused(directory: Path) -> str:
    done = subprocess.run(_command(directory), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 1
    return done.stderr


@contextmanager
def _served(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    """A gateway, and the addresses that it printed; the one before may still be stopping."""
    output = directory / "printed"
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        with output.open("wb") as file:
            process = subprocess.Popen(_command(directory), stdout=file, stderr=file)
        while "enrolled at" not in output.read_text(encoding="utf-8") and process.poll() is None:
            assert time.monotonic() < until, output.read_text(encoding="utf-8")
            time.sleep(0.1)
        if process.poll() is None:
            break
        assert time.monotonic() < until, output.read_text(encoding="utf-8")
    try:
        yield process, sorted(set(re.findall(r"https://[0-9.]+:\d+", output.read_text(encoding="utf-8"))))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
