"""Leaving documents at the gateway: each once in the life of a process, and never another in its place."""

from __future__ import annotations

from kernel.errors import ConflictError
from privacy.homomorphic.documents.places import Place
from privgate.agents.channel import Channel, RejectedError
from privgate.agents.refusing import RefusalError, Why


class Posting:
    """What one process has left at the gateway.

    Args:
        channel: To the gateway.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._posted: set[Place] = set()

    def post(self, place: Place, data: bytes) -> None:
        """Leave a document at its place; raise `RefusalError` if another is there, or the job has ended."""
        if place in self._posted:
            return
        try:
            self._channel.post(place, data)
        except ConflictError:
            raise RefusalError(Why.GATEWAY, f"`{place.kind}`") from None
        except RejectedError as error:
            raise RefusalError(Why.REJECTED, f"`{place.kind}`: {error.message}") from None
        self._posted.add(place)
