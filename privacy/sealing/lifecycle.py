"""The life of a data key's row: wrapped, rewrapped, destroyed.

Rules
-----
1. A destroyed key leaves a tombstone: its id, what it belonged to, and when. It never opens or wraps again.
2. A rewrap changes the row and nothing else: no ciphertext, no manifest, no digest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from kernel.clock import check_time
from kernel.errors import InvalidError, NotFoundError
from privacy.sealing.secret import SecretBytes
from privacy.sealing.wrapping import KeyContext, KeyProvider, WrappedKey


@dataclass(frozen=True, slots=True, kw_only=True)
class DekRecord:
    """One data key as it is stored: wrapped and alive, or a tombstone."""

    context: KeyContext
    wrapped: WrappedKey | None
    destroyed_at: datetime | None = None

    def __post_init__(self) -> None:
        if (self.wrapped is None) != (self.destroyed_at is not None):
            raise InvalidError("a data key is either wrapped or destroyed", field="wrapped")
        if self.destroyed_at is not None:
            check_time(self.destroyed_at, "destroyed_at")
        if self.wrapped is not None:
            self.wrapped.check_context(self.context)


def wrap_dek(context: KeyContext, dek: SecretBytes, provider: KeyProvider) -> DekRecord:
    """Wrap a fresh data key under its tenant's current KEK."""
    return DekRecord(context=context, wrapped=provider.wrap(context.tenant, context, dek))


def open_dek(record: DekRecord, provider: KeyProvider) -> SecretBytes:
    """Unwrap a data key; raise `NotFoundError` if it was destroyed, and whatever `unwrap` refuses."""
    return provider.unwrap(record.context.tenant, record.context, _alive(record))


def rewrap_dek(record: DekRecord, provider: KeyProvider) -> DekRecord:
    """Bring a data key under its tenant's current KEK; the same record if it is there already."""
    wrapped = _alive(record)
    tenant = record.context.tenant
    if wrapped.kek_version == provider.describe(tenant).current:
        return record
    return replace(record, wrapped=provider.rewrap(tenant, record.context, wrapped))


def destroy_dek(record: DekRecord, at: datetime) -> DekRecord:
    """Return the tombstone that takes the record's place; a tombstone stays as it is."""
    return record if record.wrapped is None else replace(record, wrapped=None, destroyed_at=at)


def _alive(record: DekRecord) -> WrappedKey:
    if record.wrapped is None:
        raise NotFoundError("this data key was destroyed: what it protected cannot be opened any more")
    return record.wrapped
