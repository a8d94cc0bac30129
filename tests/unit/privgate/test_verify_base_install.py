"""The verifier needs the base install alone: no torch, no server, no network, and no gateway's directory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cycles import Cycle

EXTRAS = (
    "alembic",
    "dp_accounting",
    "fastapi",
    "gateway",
    "numpy",
    "obstore",
    "opacus",
    "opendp",
    "pandas",
    "psycopg",
    "pyarrow",
    "pydantic",
    "safetensors",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "starlette",
    "structlog",
    "tenseal",
    "torch",
    "uvicorn",
)
"""What the extras bring, and the gateway: an auditor's laptop has none of it."""

PROGRAM = """
import socket, sys
from pathlib import Path

def refuse(*arguments, **named):
    raise AssertionError("the verifier opened a socket")

for name in EXTRAS:
    sys.modules[name] = None  # importing it raises ImportError
from privgate.verify import main_verify
for name in ("socket", "create_connection", "getaddrinfo", "socketpair"):
    setattr(socket, name, refuse)
code = main_verify(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
present = sorted(name for name in EXTRAS if sys.modules.get(name) is not None)
assert not present, present
sys.exit(code)
"""


@pytest.fixture(scope="module")
def elsewhere(cycle: Cycle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the bundle, and the pinned trust file outside it; of the gateway nothing is left."""
    folder = tmp_path_factory.mktemp("laptop")
    (folder / "trust.json").write_bytes(cycle.trust.to_bytes())
    assert not (cycle.bundle.parent / "home").exists()
    return cycle.copy(folder / "bundle"), folder / "trust.json"


def _run(*arguments: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[3]
    program = f"EXTRAS = {EXTRAS!r}\n{PROGRAM}"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)


def test_it_verifies_a_copy_with_the_base_install_alone_and_without_network(elsewhere: tuple[Path, Path]) -> None:
    """VERIFIED, exit code 0, and none of the heavy modules was even looked at."""
    done = _run(*elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERIFIED" in done.stdout
    assert "matter of trust" in done.stdout


def test_it_writes_nothing_into_the_evidence(elsewhere: tuple[Path, Path]) -> None:
    """A directory without write permission is enough, and it is the same afterwards."""
    bundle, trust = elsewhere
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    assert _run(bundle, trust).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


def test_it_says_what_is_wrong_there_as_well(elsewhere: tuple[Path, Path], tmp_path: Path) -> None:
    """One byte of the model: exit code 1 and the file's name; no trust file: UNANCHORED and 9."""
    bundle, trust = elsewhere
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    model = bytearray((copy / "release/model.safetensors").read_bytes())
    model[-1] ^= 1
    (copy / "release/model.safetensors").write_bytes(bytes(model))
    done = _run(copy, trust)
    assert done.returncode == 1
    assert "release/model.safetensors" in done.stdout
    (copy / "trust.json").unlink()
    (copy / "release/model.safetensors").write_bytes((bundle / "release/model.safetensors").read_bytes())
    bare = _run(copy)
    assert bare.returncode == 9
    assert "UNANCHORED" in bare.stdout
