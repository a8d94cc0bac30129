"""All tables, in the order of the cycle.

Rules
-----
1. What governs is append-only or derived: policy events, budget events and log entries are never updated (triggers
   refuse it, see the migration), balances and states beside them equal their fold.
2. JSON columns hold canonical JSON text written by value types; nothing queries inside them.
3. Amounts are decimal text; times are RFC 3339 text in UTC; ids are text. Both databases store the same bytes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

Id = String(30)
When = String(20)
DigestText = String(71)
# SQLite gives a rowid only to INTEGER PRIMARY KEY; PostgreSQL needs 64 bits.
RowId = BigInteger().with_variant(Integer(), "sqlite")

# --- who ---------------------------------------------------------------------------------------------------------

tenant = Table(
    "tenant",
    metadata,
    Column("id", Id, primary_key=True),
    Column("created_at", When, nullable=False),
)

person = Table(
    # The only place where a principal is a person; erasing a row here unlinks the log.
    "person",
    metadata,
    Column("principal", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
)

kept_text = Table(
    "kept_text",
    metadata,
    Column("commitment", DigestText, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("label", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("key", LargeBinary, nullable=False),
)

credential = Table(
    "credential",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("principal", Id, nullable=False, index=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("expires_at", When, nullable=False),
    Column("revoked", Boolean, nullable=False, default=False),
)

keyring_state = Table(
    "keyring_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# --- policy ------------------------------------------------------------------------------------------------------

policy_head = Table(
    "policy_head",
    metadata,
    Column("tenant", Id, ForeignKey("tenant.id"), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
)

policy_event = Table(
    "policy_event",
    metadata,
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("fields", Text, nullable=False),
    PrimaryKeyConstraint("tenant", "epoch"),
)

# --- data --------------------------------------------------------------------------------------------------------

dataset = Table(
    "dataset",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("population", Id, nullable=False, index=True),
    Column("owner", Id, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("schema", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("current_version", Id),
    # The party with which the rows stay; empty where they are sealed here.
    Column("site", Id),
    Column("row_version", Integer, nullable=False, default=1),
    Column("created_at", When, nullable=False),
    Index("ix_dataset_tenant_id", "tenant", "id"),
)

dataset_version = Table(
    "dataset_version",
    metadata,
    Column("id", Id, primary_key=True),
    Column("dataset", Id, ForeignKey("dataset.id"), nullable=False, index=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("format", Text, nullable=False),
    Column("staged_blob", Text),
    Column("staged_dek", Id),
    Column("dek", Id),
    Column("manifest_blob", Text),
    Column("manifest_digest", DigestText),
    Column("fingerprints_blob", Text),
    Column("home", Integer, nullable=False, default=1),
    Column("homes_blob", Text),
    Column("homes_seq", Integer),
    # Owner-only and transient (RULES 18): what was wrong with the file.
    Column("problems", Text),
    Column("attestation", LargeBinary),
    Column("created_by", Id, nullable=False),
    Column("created_at", When, nullable=False),
)

dek = Table(
    "dek",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("context", Text, nullable=False),
    Column("wrapped", LargeBinary),
    Column("destroyed_at", When),
)

# --- work --------------------------------------------------------------------------------------------------------

job = Table(
    "job",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("principal", Id, nullable=False),
    Column("dataset", Id, nullable=False),
    Column("population", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(20), nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("request_digest", DigestText, nullable=False),
    Column("epsilon", String(32), nullable=False),
    Column("decision_leaf", DigestText),
    Column("reserve_leaf", DigestText),
    Column("policy_epoch", BigInteger, nullable=False, default=0),
    Column("release", Id),
    Column("created_at", When, nullable=False),
    Column("started_at", When),
    Column("ended_at", When),
    Column("attempts", Integer, nullable=False, default=0),
    Column("steps_started", BigInteger, nullable=False, default=0),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("savepoint_blob", Text),
    Column("savepoint_step", BigInteger, nullable=False, default=0),
    Column("row_version", Integer, nullable=False, default=1),
    Index("ix_job_tenant_id", "tenant", "id"),
    Index("ix_job_population_principal_state", "population", "principal", "state"),
)

approval = Table(
    "approval",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("job", Id, ForeignKey("job.id"), nullable=False, index=True),
    Column("request_digest", DigestText, nullable=False),
    Column("approver", Id, nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("until", When, nullable=False),
    Column("leaf", DigestText),
)

job_progress = Table(
    "job_progress",
    metadata,
    Column("job", Id, ForeignKey("job.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("percent", Integer, nullable=False),
    Column("visible_at", When, nullable=False),
    PrimaryKeyConstraint("job", "seq"),
)

task = Table(
    "task",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", Id, nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("fence", BigInteger, nullable=False, default=0),
    Column("lease_until", When),
    Column("worker", String(64)),
    Column("created_at", When, nullable=False),
    Index("ix_task_state_lease_until", "state", "lease_until"),
)

# --- budget ------------------------------------------------------------------------------------------------------

budget_account = Table(
    # The fold of a population's events, kept beside them; the row that every verb locks first.
    "budget_account",
    metadata,
    Column("population", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("ledger_seq", BigInteger, nullable=False),
    Column("fields", Text, nullable=False),
)

budget_block = Table(
    # The second lock: the database itself refuses an overdraft. Units of 1e-9.
    "budget_block",
    metadata,
    Column("population", Id, ForeignKey("budget_account.population"), nullable=False),
    Column("block", String(16), nullable=False),
    Column("committed", BigInteger, nullable=False),
    Column("capacity", BigInteger, nullable=False),
    PrimaryKeyConstraint("population", "block"),
    CheckConstraint("committed >= 0 AND committed <= capacity", name="within_capacity"),
)

budget_trainer = Table(
    "budget_trainer",
    metadata,
    Column("population", Id, ForeignKey("budget_account.population"), nullable=False),
    Column("principal", Id, nullable=False),
    Column("fields", Text, nullable=False),
    PrimaryKeyConstraint("population", "principal"),
)

reservation = Table(
    # A job on data of sites has one in the population of each of them.
    "reservation",
    metadata,
    Column("job", Id, nullable=False),
    Column("population", Id, ForeignKey("budget_account.population"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("expires_at", When, nullable=False),
    Column("fields", Text, nullable=False),
    PrimaryKeyConstraint("job", "population"),
    Index("ix_reservation_state_expires_at", "state", "expires_at"),
)

budget_event = Table(
    "budget_event",
    metadata,
    Column("population", Id, nullable=False),
    Column("ledger_seq", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("fields", Text, nullable=False),
    PrimaryKeyConstraint("population", "ledger_seq"),
)

# --- what leaves -------------------------------------------------------------------------------------------------

release = Table(
    "release",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("job", Id, ForeignKey("job.id"), nullable=False, unique=True),
    Column("principal", Id, nullable=False),
    Column("dataset", Id, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("epsilon", String(32), nullable=False),
    Column("artifact_blob", Text, nullable=False),
    Column("artifact_dek", Id, nullable=False),
    Column("artifact_digest", DigestText, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("certificate_digest", DigestText, nullable=False),
    Column("published_entry", Id),
    Column("created_at", When, nullable=False),
    Column("row_version", Integer, nullable=False, default=1),
    Index("ix_release_tenant_id", "tenant", "id"),
)

report = Table(
    "report",
    metadata,
    Column("id", Id, primary_key=True),
    Column("tenant", Id, ForeignKey("tenant.id"), nullable=False),
    Column("issued_by", Id, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("digest", DigestText, nullable=False),
    Column("created_at", When, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Id, nullable=False),
    Column("principal", Id, nullable=False),
    Column("key", String(128), nullable=False),
    Column("request_digest", DigestText, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", When, nullable=False),
    PrimaryKeyConstraint("tenant", "principal", "key"),
)

# --- log ---------------------------------------------------------------------------------------------------------

log_tenant = Table(
    "log_tenant",
    metadata,
    Column("tenant", Id, primary_key=True),
    Column("next_seq", BigInteger, nullable=False),
)

log_entry = Table(
    "log_entry",
    metadata,
    Column("row_id", RowId, primary_key=True, autoincrement=True),
    Column("id", Id, nullable=False, unique=True),
    Column("tenant", Id, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False, unique=True),
    Column("idx", BigInteger, unique=True),
    UniqueConstraint("tenant", "seq"),
    sqlite_autoincrement=True,
)

Index(
    "ix_log_entry_pending",
    log_entry.c.row_id,
    sqlite_where=log_entry.c.idx.is_(None),
    postgresql_where=log_entry.c.idx.is_(None),
)

log_tree = Table(
    "log_tree",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

log_checkpoint = Table(
    "log_checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True),
    Column("note", LargeBinary, nullable=False),
)
