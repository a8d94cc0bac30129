"""How often a tenant's wrapping key was rotated, as the log has it."""

from __future__ import annotations

from sqlalchemy import func, select

from gateway.storage.tables import log_entry
from gateway.unit_of_work import Reading
from kernel.ids import TenantId
from privacy.events.sealing import KekRotated


def rotations_logged(reading: Reading, tenant: TenantId) -> int:
    """Count the entries that say so; the first version of a key has none."""
    mine = (log_entry.c.tenant == tenant) & (log_entry.c.type == KekRotated.TYPE)
    return int(reading.connection.execute(select(func.count()).where(mine)).scalar_one())
