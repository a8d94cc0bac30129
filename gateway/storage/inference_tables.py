"""The table of encrypted questions: what a job on a client's encrypted rows has beside its row in `job`.

The rules of `gateway.storage.tables` hold here as well.
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text

from gateway.storage.tables import DigestText, Id, When, metadata

inference = Table(
    "inference",
    metadata,
    Column("job", Id, ForeignKey("job.id"), primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("model", Id, ForeignKey("release.id"), nullable=False, index=True),
    Column("decision", Id),
    Column("under_grant", Id),
    Column("deadline", When),
    Column("question", DigestText),
    Column("document", LargeBinary),
    Column("blob", Text),
    Index("ix_inference_deadline", "deadline"),
)
