"""Appending: an entry joins the transaction of the action it records.

Rules
-----
1. The store's transaction is the action's. Nothing here commits: an action and its entry are one, or neither.
2. A tenant's counter is taken under the tenant's lock, held until the commit: gapless, and in commit order.
3. No action holds a lock of the whole log; the tree is grown later, by the sequencer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from audit.entry import SALT_SIZE, Actor, Entry, compose
from kernel.events import Event
from kernel.ids import Entropy, EntryId, TenantId


class LogStore(Protocol):
    """The log's tables as an action's transaction sees them."""

    def next_seq(self, tenant: TenantId) -> int:
        """Take the tenant's lock until the transaction ends, and return the next value of its counter, from 0.

        Each call in one transaction returns the next value; a rolled back one leaves no gap.
        """
        ...

    def insert(self, entry: Entry, time: datetime) -> None:
        """Store a new entry without an index; an id, leaf hash or (tenant, seq) that exists is refused."""
        ...


def append(
    store: LogStore,
    event: Event,
    *,
    tenant: TenantId,
    time: datetime,
    actor: Actor,
    correlation: str | None = None,
    entropy: Entropy,
) -> Entry:
    """Log `event` in the store's open transaction.

    Args:
        store: The log within the action's transaction.
        event: What happened.
        tenant: Whose log it belongs to.
        time: When; whole seconds, UTC.
        actor: Who did it.
        correlation: An identifier that groups entries, such as a job's.
        entropy: Where identifier and salt come from; `os.urandom` in production.

    Returns:
        The entry; its leaf hash may be cited at once, whatever becomes of the sequencer.
    """
    entry = compose(
        event,
        entry_id=EntryId.new(entropy),
        tenant=tenant,
        seq=store.next_seq(tenant),
        time=time,
        actor=actor,
        correlation=correlation,
        salt=entropy(SALT_SIZE),
    )
    store.insert(entry, time)
    return entry
