"""The one file in memory of a child whose library knows files alone."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from privacy.sandbox import scratch
from tests.support.sources import ROOT


def test_what_is_put_is_taken_once() -> None:
    """Longer, shorter and empty contents replace each other; taking leaves nothing behind."""
    for data in (b"a" * 100_000, b"short", b"", memoryview(b"view")):
        scratch.put(data)
        assert Path(scratch.path()).read_bytes() == bytes(data)
        assert scratch.take() == bytes(data)
        assert os.fstat(scratch.descriptor()).st_size == 0


def test_a_library_writes_where_it_is_told() -> None:
    """By the path, as SEAL does."""
    Path(scratch.path()).write_bytes(b"saved")
    assert scratch.take() == b"saved"


def test_it_has_no_name_and_does_not_pass_to_other_programs() -> None:
    """It is in no folder, and closed on exec."""
    assert not os.get_inheritable(scratch.descriptor())
    assert "memfd:scratch" in str(Path(scratch.path()).readlink())


def test_its_size_is_bounded_like_any_files() -> None:
    """By the limit that a child is given."""
    code = (
        "import resource, signal\n"
        "from privacy.sandbox import scratch\n"
        "scratch.descriptor()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "scratch.put(b'x' * 1000)\n"
        "try:\n    scratch.put(b'x' * 1001)\nexcept OSError:\n    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "refused\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000
