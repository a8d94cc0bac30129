"""Keeps cached policies fresh: what other processes committed shows within one poll."""

from __future__ import annotations

import threading

import structlog

from gateway.policy_cache import PolicyCache

_log = structlog.get_logger(__name__)


class PolicyPoll:
    """A thread that refreshes the policy cache."""

    def __init__(self, cache: PolicyCache, interval_seconds: float) -> None:
        self._cache = cache
        self._interval = interval_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="policy-poll", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop polling."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self._cache.refresh()
            except Exception as error:  # noqa: BLE001 - a lost connection is tried again at the next poll
                _log.warning("policy-poll", kind=type(error).__name__)
