"""What job children say over the pipe, frame by frame. Child only.

Form: docs/formats/job-child.md.
"""

from __future__ import annotations

from kernel.errors import InvalidError
from privacy.sandbox.frames import Channel

LARGEST_BODY = 128 * 2**20


def expect(channel: Channel, message: str, largest_body: int) -> bytes:
    """Receive a frame that must be `message`; return its body."""
    header, body = channel.receive(largest_body)
    if header != {"m": message}:
        raise InvalidError(f"expected the frame `{message}`", field="m")
    return body


def ask(channel: Channel, upto: int) -> bool:
    """Announce that steps up to `upto` are about to start; false if the parent says stop."""
    channel.send({"m": "need", "upto": upto})
    header, _ = channel.receive(0)
    if header not in ({"m": "go"}, {"m": "stop"}):
        raise InvalidError("expected the frame `go` or `stop`", field="m")
    return header == {"m": "go"}
