"""What the routes share: built once with the app, reached through `deps`."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.api.offload import Offload
from gateway.journal import Journal
from gateway.sequencer_loop import SequencerLoop
from gateway.services.authenticating import Authenticator
from gateway.services.collaborators import Collaborators


@dataclass(frozen=True, slots=True)
class ApiState:
    """The API's collaborators.

    Attributes:
        on: What use cases work with.
        writes: Where use cases that write run.
        reads: Where readings run.
        uploads: Where uploads are encrypted as they arrive; apart, so that a slow sender holds up nobody else.
        probes: Where probes look; apart, so that whoever watches does not wait behind what is watched.
    """

    on: Collaborators
    authenticator: Authenticator
    journal: Journal
    sequencer: SequencerLoop
    writes: Offload
    reads: Offload
    uploads: Offload
    probes: Offload
