"""Progress of jobs in SQL: lines that nobody sees before their tick.

Rules
-----
1. Progress is coarse (tenths) and becomes visible at fixed ticks after a job's request (RULES 14).
2. Lines are numbered per job; a reader resumes after the last number it saw.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from gateway.records import JobState, ProgressRecord
from gateway.storage.sql.rows import Rows
from gateway.storage.tables import job_progress
from kernel.clock import format_time
from kernel.ids import JobId


class SqlProgress:
    """Progress lines within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows = Rows(connection, job_progress, ProgressRecord)

    def add(self, job: JobId, state: JobState, percent: int, visible_at: datetime) -> None:
        """Append a line."""
        query = select(func.coalesce(func.max(job_progress.c.seq), 0)).where(job_progress.c.job == job)
        seq = int(self._connection.execute(query).scalar_one()) + 1
        self._rows.insert(ProgressRecord(job=job, seq=seq, state=state, percent=percent, visible_at=visible_at))

    def visible(self, job: JobId, after: int, now: datetime) -> list[ProgressRecord]:
        """Return the lines behind `after` that may be seen at `now`, in order."""
        conditions = (job_progress.c.seq > after, job_progress.c.visible_at <= format_time(now))
        return sorted(self._rows.all(*conditions, job=job), key=lambda line: line.seq)
