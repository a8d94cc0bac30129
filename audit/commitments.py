"""Keyed commitments: how a name or a reason is in the log without being in it.

Rules
-----
1. Personal data and free text enter the log only as HMAC-SHA256 under 32 random bytes of their own subject.
2. The key is kept outside the log. Destroying it makes the commitment a random number: erasure without rewriting.
3. A label says what the value is, so that a commitment to one kind of value is never one to another.

Format: `docs/formats/log-entry.md`.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from kernel.checks import matching, size
from kernel.errors import CorruptError
from kernel.events import Commitment

KEY_SIZE = 32
_TAG = b"privgate/commitment/v1\x00"
_LABEL = re.compile(r"[a-z][a-z0-9-]{0,62}")


def commit(key: bytes, label: str, value: str) -> Commitment:
    """Commit to `value`.

    Args:
        key: 32 random bytes, kept beside the subject and destroyed with it.
        label: What the value is, for example `principal-name`.
        value: The text.
    """
    size(KEY_SIZE, key=key)
    matching(_LABEL, "must be a short name of a-z, 0-9 and -", label=label)
    message = _TAG + label.encode("ascii") + b"\x00" + value.encode("utf-8", "surrogatepass")
    return Commitment("sha256:" + hmac.new(key, message, hashlib.sha256).hexdigest())


def check(commitment: Commitment, key: bytes, label: str, value: str) -> None:
    """Return if `commitment` is to this value under this key; raise `CorruptError` otherwise."""
    if not hmac.compare_digest(commit(key, label, value).raw, commitment.raw):
        raise CorruptError("the value is not what was committed to")
