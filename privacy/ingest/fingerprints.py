"""Fingerprints of units: keyed, sorted, encrypted; compared by merging. Standard library only.

Rules
-----
1. A fingerprint is a keyed hash under the tenant's key: two populations of one tenant can be compared, and nobody
   without that key can test a guess.
2. A list is strictly rising, so that comparing two of them is one pass with constant memory.
3. Of a comparison only "some unit is in both" is learnt; which one is never said.
4. A list is encrypted under the tenant's key as well, not under its version's: it outlives the rows. What was spent on
   people stays spent when a version is erased, and they are met again when they are uploaded again (RULES 1, 29).

Form: docs/formats/ingest-request.md, "Fingerprints".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from kernel.errors import CorruptError
from kernel.ids import TenantId, VersionId
from privacy.sealing.chunked import BlobKind, ChunkedReader, blob_context
from privacy.sealing.deks import expand
from privacy.sealing.secret import SecretBytes

FINGERPRINT_BYTES = 16
MAGIC = b"privgate/fingerprints/v1\n".ljust(32, b"\0")
_AT_ONCE = 4096 * FINGERPRINT_BYTES
_INFO: Final = b"privgate/fingerprints-key/v1"


def list_key(tenant: SecretBytes) -> SecretBytes:
    """The key of a tenant's lists.

    Args:
        tenant: The tenant's key for fingerprints.
    """
    return SecretBytes(expand(tenant, _INFO))


def fingerprints_context(tenant: TenantId, version: VersionId) -> bytes:
    """What binds a list of fingerprints to its version."""
    return blob_context(BlobKind.FINGERPRINTS, tenant, version)


def read_fingerprints(source: BinaryIO, key: SecretBytes, tenant: TenantId, version: VersionId) -> Iterator[bytes]:
    """Yield the fingerprints of a version in rising order.

    Args:
        source: The encrypted list; it must stay open while this is used.
        key: The key of the tenant's lists.
        tenant: Whose version it is.
        version: Which one.

    Raises:
        CorruptError: Altered, cut, of another version or key, or not in rising order.
    """
    reader = ChunkedReader(source, key, fingerprints_context(tenant, version))
    if reader.read(len(MAGIC)) != MAGIC or (reader.size - len(MAGIC)) % FINGERPRINT_BYTES:
        raise CorruptError("a list of fingerprints is not in its stored form")
    return _rising(reader)


def _rising(reader: ChunkedReader) -> Iterator[bytes]:
    before = b""
    while piece := reader.read(_AT_ONCE):
        for start in range(0, len(piece), FINGERPRINT_BYTES):
            found = piece[start : start + FINGERPRINT_BYTES]
            if found <= before:
                raise CorruptError("a list of fingerprints is not in rising order")
            yield found
            before = found


def overlap(ours: Iterable[bytes], theirs: Iterable[bytes]) -> bool:
    """Whether two rising lists have a member in common."""
    left, right = iter(ours), iter(theirs)
    mine, other = next(left, None), next(right, None)
    while mine is not None and other is not None:
        if mine == other:
            return True
        if mine < other:
            mine = next(left, None)
        else:
            other = next(right, None)
    return False
