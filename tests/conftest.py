"""What every test may ask for."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.cycles import Cycle


def pytest_sessionstart() -> None:
    """Ten thousand tests are named without a look for garbage among what all of them keep."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What is there now stays to the end: from here on the search for garbage leaves it out."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def cycle(tmp_path_factory: pytest.TempPathFactory) -> Cycle:
    """The session's one real cycle (about 15 seconds); not to be changed: work on a `copy`."""
    from tests.support.cycles import real_cycle  # the gateway is loaded by whoever asks for a cycle, and nobody else

    own = tmp_path_factory.getbasetemp()
    return real_cycle((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cycle")


@pytest.fixture(scope="session", autouse=True)
def _stop_servers() -> Iterator[None]:
    """Take away the servers that a test of this process started."""
    yield
    for name in ("postgres", "s3"):
        if (started := sys.modules.get(f"tests.support.{name}")) is not None:
            started.stop()
