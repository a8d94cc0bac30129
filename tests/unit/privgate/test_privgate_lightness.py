"""What the base install loads, and when: `import privgate` and `privgate --help` stay light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "numpy",
    "pyarrow",
    "opacus",
    "dp_accounting",
    "fastapi",
    "pydantic",
    "sqlalchemy",
    "casbin",
    "gateway",
)
WIRE = ("httpx2", "rich", "yaml", "ssl")


def loaded_after(code: str) -> set[str]:
    """Loaded after."""
    program = f"import sys\n{code}\nprint('\\nMODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


HELP = """
sys.argv = ['privgate', '--help']
from privgate.cli import main
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.parametrize(
    "code",
    [
        "import privgate", "import privgate; privgate.connect", "import privgate.models", "import privgate.modelling",
        HELP,
    ],
    ids=["import", "sdk", "models", "modelling", "help"],
)  # fmt: skip
def test_nothing_heavy_is_loaded_by(code: str) -> None:
    """No numerics library, no server, no database, no policy engine."""
    assert not loaded_after(code) & set(HEAVY)


@pytest.mark.parametrize("code", ["import privgate", HELP], ids=["import", "help"])
def test_neither_http_client_nor_screen_is_loaded_by(code: str) -> None:
    """Help needs no client, and no table is drawn for it."""
    assert not loaded_after(code) & set(WIRE)


def test_the_measure_sees_what_is_loaded() -> None:
    """The check above is not blind."""
    assert "numpy" in loaded_after("import privgate, numpy")
