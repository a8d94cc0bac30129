"""What tests of the verifier share."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.trust import LastSeen, TrustFile
from tests.support.cycles import Cycle


@pytest.fixture(scope="session")
def unpinned(cycle: Cycle) -> TrustFile:
    """The auditor's trust file without a pinned checkpoint: growth is not what these tests are about."""
    return replace(cycle.trust, last_seen=LastSeen())
