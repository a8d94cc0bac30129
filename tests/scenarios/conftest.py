"""What several scenarios start from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.crash_looks import Rehearsal

DATABASES = ("sqlite", pytest.param("postgresql", marks=(pytest.mark.slow, pytest.mark.postgres)))


@pytest.fixture(scope="module", params=DATABASES)
def rehearsal(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The acts of `tests.support.crashes`, rehearsed on one database."""
    from tests.support.crash_looks import Rehearsal  # the gateway is loaded by whoever asks

    with ExitStack() as held:
        yield Rehearsal(tmp_path_factory.mktemp("rehearsal"), request.param, held)
