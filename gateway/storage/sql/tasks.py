"""The lease queue: tasks are rows, a lease is a deadline, a fence keeps late writers out.

Rules
-----
1. A task is leased to one worker at a time; a lease that ran out may be taken by another, under a higher fence.
2. Whoever writes on behalf of a task shows its fence, checked in the same transaction (`require_fence`).
3. A subject has at most one task that is not done.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, update

from gateway.records import TaskRecord, TaskState
from gateway.storage.sql.rows import Rows
from gateway.storage.tables import task
from kernel.clock import format_time
from kernel.errors import StaleError


class SqlTasks:
    """Tasks in SQL; claims with `FOR UPDATE SKIP LOCKED` where there is more than one writer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows = Rows(connection, task, TaskRecord)

    def enqueue(self, record: TaskRecord) -> None:
        """Add a queued task."""
        self._rows.insert(record)

    def ring(self, record: TaskRecord) -> None:
        """Queue a task, or its subject's once more if that is done; nothing if it waits or is being worked on.

        Whoever works on it looks, in the work that ends it, at what has become due meanwhile.
        """
        known = self.hold(record.subject)
        if known is None:
            self.enqueue(record)
        elif known.state is TaskState.DONE:
            values = {"state": TaskState.QUEUED.value, "attempt": 0, "created_at": format_time(record.created_at)}
            self._connection.execute(update(task).where(task.c.id == known.id).values(values))

    def for_subject(self, subject: str) -> TaskRecord | None:
        """Return the task that works on a subject."""
        return self._rows.find(subject=subject)

    def hold(self, subject: str) -> TaskRecord | None:
        """Return the task that works on a subject, and keep others from it until commit."""
        return self._rows.find(lock=True, subject=subject)

    def claim(self, worker: str, now: datetime, lease_seconds: int) -> TaskRecord | None:
        """Lease the oldest task that is queued or whose lease ran out; nothing if there is none."""
        statement = (
            select(task.c.id)
            .where(
                or_(
                    task.c.state == TaskState.QUEUED.value,
                    (task.c.state == TaskState.LEASED.value) & (task.c.lease_until < format_time(now)),
                )
            )
            .order_by(task.c.created_at, task.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        chosen = self._connection.execute(statement).scalar_one_or_none()
        if chosen is None:
            return None
        self._connection.execute(
            update(task)
            .where(task.c.id == chosen)
            .values(
                state=TaskState.LEASED.value,
                attempt=task.c.attempt + 1,
                fence=task.c.fence + 1,
                worker=worker,
                lease_until=format_time(now + timedelta(seconds=lease_seconds)),
            )
        )
        return self._rows.get(id=chosen)

    def extend(self, leased: TaskRecord, now: datetime, lease_seconds: int) -> None:
        """Keep a lease alive; raise `StaleError` if it was lost."""
        self._change(leased, lease_until=format_time(now + timedelta(seconds=lease_seconds)))

    def require_fence(self, leased: TaskRecord) -> None:
        """Hold the task's row until commit, and raise `StaleError` if another worker has taken it over."""
        row = self._rows.find(lock=True, id=leased.id)
        if row is None or row.fence != leased.fence or row.state is not TaskState.LEASED:
            raise StaleError("this worker's lease ran out and another took the task over")

    def give_back(self, leased: TaskRecord) -> None:
        """Put a task back into the queue for the next attempt."""
        self._change(leased, state=TaskState.QUEUED.value, lease_until=None, worker=None)

    def finish(self, leased: TaskRecord) -> None:
        """Mark a task as done."""
        self._change(leased, state=TaskState.DONE.value, lease_until=None)

    def cancel(self, subject: str) -> None:
        """Take a task that nobody has leased out of the queue; raise `StaleError` if somebody has."""
        done = (
            update(task)
            .where(task.c.subject == subject, task.c.state == TaskState.QUEUED.value)
            .values(state=TaskState.DONE.value)
        )
        if self._connection.execute(done).rowcount != 1:
            raise StaleError("the task is being worked on")

    def _change(self, leased: TaskRecord, **values: object) -> None:
        held = (task.c.id == leased.id) & (task.c.fence == leased.fence) & (task.c.state == TaskState.LEASED.value)
        if self._connection.execute(update(task).where(held).values(**values)).rowcount != 1:
            raise StaleError("this worker's lease ran out and another took the task over")
