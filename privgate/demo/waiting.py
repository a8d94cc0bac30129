"""Waiting for what the gateway publishes a moment later."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 30.0
POLL_SECONDS = 0.2


def until(act: Callable[[], T], not_yet: type[Exception]) -> T:
    """Do `act` until it no longer says `not_yet`; let the error through when patience ends."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return act()
        except not_yet:
            if time.monotonic() > end:
                raise
            time.sleep(POLL_SECONDS)
