"""Texts behind commitments: what the log holds only as a keyed digest, kept so that its owner can show it."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from audit.commitments import commit
from gateway.storage.tables import kept_text
from kernel.events import Commitment
from kernel.ids import TenantId


class SqlKeptTexts:
    """Committed texts within one transaction; deleting a row makes its commitment a random number."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, tenant: TenantId, label: str, text: str, key: bytes) -> Commitment:
        """Store a text with its key and return the commitment to it."""
        commitment = commit(key, label, text)
        row = {"commitment": str(commitment), "tenant": tenant, "label": label, "text": text, "key": key}
        self._connection.execute(insert(kept_text).values(**row))
        return commitment

    def text(self, commitment: Commitment) -> str | None:
        """Return the text, unless it was erased."""
        return self._connection.execute(
            select(kept_text.c.text).where(kept_text.c.commitment == commitment)
        ).scalar_one_or_none()
