"""What a rotation of a tenant's wrapping key asks the database: how many the log has, and whether a worker is busy."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from gateway.records import TaskState
from gateway.storage.tables import log_entry, task
from gateway.unit_of_work import Reading
from kernel.clock import format_time
from kernel.ids import TenantId
from privacy.events.sealing import KekRotated


def rotations_logged(reading: Reading, tenant: TenantId) -> int:
    """Count the entries that say so; the first version of a key has none."""
    mine = (log_entry.c.tenant == tenant) & (log_entry.c.type == KekRotated.TYPE)
    return int(reading.connection.execute(select(func.count()).where(mine)).scalar_one())


def worker_is_busy(reading: Reading, now: datetime) -> bool:
    """Whether a task's lease still runs."""
    leased = (task.c.state == TaskState.LEASED.value) & (task.c.lease_until >= format_time(now))
    return bool(reading.connection.execute(select(func.count()).where(leased)).scalar_one())
