"""Tables of jobs on data that the gateway never sees: parties, and what their jobs are made of.

The rules of `gateway.storage.tables` hold here as well. Documents are stored as they came and never change.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from gateway.storage.tables import DigestText, Id, When, metadata

party = Table(
    "party",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("owner", Id, nullable=False),
    Column("name", String(64), nullable=False),
    Column("identity", Text, nullable=False),
    Column("fingerprint", DigestText, nullable=False),
    Column("certificate", DigestText, nullable=False, unique=True),
    # Until when the certificate is good; of parties that were enrolled before this was kept, TLS alone says so.
    Column("certificate_until", When),
    # The certificate that is to take its place, until it is used.
    Column("next_certificate", DigestText, unique=True),
    Column("next_key", DigestText),
    Column("next_until", When),
    Column("next_pem", Text),
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", When, nullable=False),
    UniqueConstraint("tenant", "name"),
    UniqueConstraint("tenant", "fingerprint"),
)

collection = Table(
    # What a job on data of many sites has beside its row in `job`.
    "collection",
    metadata,
    Column("job", Id, ForeignKey("job.id"), primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("key_holder", Id, ForeignKey("party.id"), nullable=False),
    Column("round", Integer, nullable=False, default=0),
    Column("deadline", When),
    Index("ix_collection_deadline", "deadline"),
)

job_site = Table(
    "job_site",
    metadata,
    Column("job", Id, ForeignKey("job.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("party", Id, ForeignKey("party.id"), nullable=False),
    Column("dataset", Id, ForeignKey("dataset.id"), nullable=False, index=True),
    Column("population", Id, nullable=False),
    Column("version", Id),
    Column("manifest", DigestText),
    Column("decision", Id),
    Column("decision_leaf", DigestText),
    Column("uncovered_seq", Integer),
    Column("uncovered_leaf", DigestText),
    Column("reserve_leaf", DigestText),
    PrimaryKeyConstraint("job", "number"),
    UniqueConstraint("job", "dataset"),
    Index("ix_job_site_party_job", "party", "job"),
)

job_document = Table(
    # Written once. `number` is 0 and `party` empty where a document has none.
    "job_document",
    metadata,
    Column("job", Id, ForeignKey("job.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("party", String(30), nullable=False),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("digest", DigestText, nullable=False),
    Column("received", DigestText, nullable=False),
    Column("content", LargeBinary),
    Column("blob", Text),
    Column("created_at", When, nullable=False),
    PrimaryKeyConstraint("job", "kind", "number", "party"),
)
