"""The first structure, with the triggers that keep history append-only.

Revision: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.storage.append_only import create_triggers, drop_triggers

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply."""
    op.create_table('budget_event',
        sa.Column('population', sa.String(length=30), nullable=False),
        sa.Column('ledger_seq', sa.BigInteger(), nullable=False),
        sa.Column('type', sa.String(length=64), nullable=False),
        sa.Column('version', sa.Integer(), nullable=False),
        sa.Column('fields', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('population', 'ledger_seq', name=op.f('pk_budget_event'))
    )
    op.create_table('idempotency',
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('principal', sa.String(length=30), nullable=False),
        sa.Column('key', sa.String(length=128), nullable=False),
        sa.Column('request_digest', sa.String(length=71), nullable=False),
        sa.Column('status', sa.Integer(), nullable=False),
        sa.Column('body', sa.Text(), nullable=False),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint('tenant', 'principal', 'key', name=op.f('pk_idempotency'))
    )
    op.create_table('keyring_state',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('generation', sa.BigInteger(), nullable=False),
        sa.CheckConstraint('id = 1', name=op.f('ck_keyring_state_one_row')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_keyring_state'))
    )
    op.create_table('log_checkpoint',
        sa.Column('size', sa.BigInteger(), nullable=False),
        sa.Column('note', sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint('size', name=op.f('pk_log_checkpoint'))
    )
    op.create_table('log_entry',
        sa.Column('row_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('seq', sa.BigInteger(), nullable=False),
        sa.Column('type', sa.String(length=64), nullable=False),
        sa.Column('payload', sa.LargeBinary(), nullable=False),
        sa.Column('salt', sa.LargeBinary(), nullable=False),
        sa.Column('leaf', sa.LargeBinary(), nullable=False),
        sa.Column('leaf_hash', sa.LargeBinary(), nullable=False),
        sa.Column('idx', sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint('row_id', name=op.f('pk_log_entry')),
        sa.UniqueConstraint('id', name=op.f('uq_log_entry_id')),
        sa.UniqueConstraint('idx', name=op.f('uq_log_entry_idx')),
        sa.UniqueConstraint('leaf_hash', name=op.f('uq_log_entry_leaf_hash')),
        sa.UniqueConstraint('tenant', 'seq', name=op.f('uq_log_entry_tenant_seq')),
    sqlite_autoincrement=True
    )
    op.create_index('ix_log_entry_pending', 'log_entry', ['row_id'], unique=False, sqlite_where=sa.text('idx IS NULL'), postgresql_where=sa.text('idx IS NULL'))
    op.create_table('log_tenant',
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('next_seq', sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint('tenant', name=op.f('pk_log_tenant'))
    )
    op.create_table('log_tree',
        sa.Column('id', sa.Integer(), nullable=False),
        sa.Column('size', sa.BigInteger(), nullable=False),
        sa.Column('frontier', sa.LargeBinary(), nullable=False),
        sa.CheckConstraint('id = 1', name=op.f('ck_log_tree_one_row')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_log_tree'))
    )
    op.create_table('tenant',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_tenant'))
    )
    op.create_table('budget_account',
        sa.Column('population', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('ledger_seq', sa.BigInteger(), nullable=False),
        sa.Column('fields', sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_budget_account_tenant')),
        sa.PrimaryKeyConstraint('population', name=op.f('pk_budget_account'))
    )
    op.create_table('credential',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('principal', sa.String(length=30), nullable=False),
        sa.Column('secret_hash', sa.LargeBinary(), nullable=False),
        sa.Column('expires_at', sa.String(length=20), nullable=False),
        sa.Column('revoked', sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_credential_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_credential'))
    )
    op.create_index(op.f('ix_credential_principal'), 'credential', ['principal'], unique=False)
    op.create_table('dataset',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('population', sa.String(length=30), nullable=False),
        sa.Column('owner', sa.String(length=30), nullable=False),
        sa.Column('title', sa.Text(), nullable=False),
        sa.Column('description', sa.Text(), nullable=False),
        sa.Column('schema', sa.Text(), nullable=False),
        sa.Column('unit', sa.Text(), nullable=False),
        sa.Column('current_version', sa.String(length=30), nullable=True),
        sa.Column('row_version', sa.Integer(), nullable=False),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_dataset_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_dataset'))
    )
    op.create_index(op.f('ix_dataset_population'), 'dataset', ['population'], unique=False)
    op.create_index('ix_dataset_tenant_id', 'dataset', ['tenant', 'id'], unique=False)
    op.create_table('dek',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('context', sa.Text(), nullable=False),
        sa.Column('wrapped', sa.LargeBinary(), nullable=True),
        sa.Column('destroyed_at', sa.String(length=20), nullable=True),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_dek_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_dek'))
    )
    op.create_table('job',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('principal', sa.String(length=30), nullable=False),
        sa.Column('dataset', sa.String(length=30), nullable=False),
        sa.Column('population', sa.String(length=30), nullable=False),
        sa.Column('kind', sa.String(length=16), nullable=False),
        sa.Column('state', sa.String(length=20), nullable=False),
        sa.Column('purpose', sa.String(length=64), nullable=False),
        sa.Column('spec', sa.Text(), nullable=False),
        sa.Column('plan', sa.Text(), nullable=False),
        sa.Column('request_digest', sa.String(length=71), nullable=False),
        sa.Column('epsilon', sa.String(length=32), nullable=False),
        sa.Column('decision_leaf', sa.String(length=71), nullable=True),
        sa.Column('reserve_leaf', sa.String(length=71), nullable=True),
        sa.Column('policy_epoch', sa.BigInteger(), nullable=False),
        sa.Column('release', sa.String(length=30), nullable=True),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.Column('started_at', sa.String(length=20), nullable=True),
        sa.Column('ended_at', sa.String(length=20), nullable=True),
        sa.Column('attempts', sa.Integer(), nullable=False),
        sa.Column('steps_started', sa.BigInteger(), nullable=False),
        sa.Column('cancel_requested', sa.Boolean(), nullable=False),
        sa.Column('savepoint_blob', sa.Text(), nullable=True),
        sa.Column('savepoint_step', sa.BigInteger(), nullable=False),
        sa.Column('row_version', sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_job_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_job'))
    )
    op.create_index('ix_job_population_principal_state', 'job', ['population', 'principal', 'state'], unique=False)
    op.create_index('ix_job_tenant_id', 'job', ['tenant', 'id'], unique=False)
    op.create_table('kept_text',
        sa.Column('commitment', sa.String(length=71), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('label', sa.String(length=64), nullable=False),
        sa.Column('text', sa.Text(), nullable=False),
        sa.Column('key', sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_kept_text_tenant')),
        sa.PrimaryKeyConstraint('commitment', name=op.f('pk_kept_text'))
    )
    op.create_table('person',
        sa.Column('principal', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('name', sa.Text(), nullable=False),
        sa.Column('salt', sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_person_tenant')),
        sa.PrimaryKeyConstraint('principal', name=op.f('pk_person'))
    )
    op.create_table('policy_event',
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('epoch', sa.BigInteger(), nullable=False),
        sa.Column('type', sa.String(length=64), nullable=False),
        sa.Column('version', sa.Integer(), nullable=False),
        sa.Column('fields', sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_policy_event_tenant')),
        sa.PrimaryKeyConstraint('tenant', 'epoch', name=op.f('pk_policy_event'))
    )
    op.create_table('policy_head',
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('epoch', sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_policy_head_tenant')),
        sa.PrimaryKeyConstraint('tenant', name=op.f('pk_policy_head'))
    )
    op.create_table('report',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('issued_by', sa.String(length=30), nullable=False),
        sa.Column('envelope', sa.LargeBinary(), nullable=False),
        sa.Column('digest', sa.String(length=71), nullable=False),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_report_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_report'))
    )
    op.create_table('task',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('kind', sa.String(length=16), nullable=False),
        sa.Column('subject', sa.String(length=30), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('fence', sa.BigInteger(), nullable=False),
        sa.Column('lease_until', sa.String(length=20), nullable=True),
        sa.Column('worker', sa.String(length=64), nullable=True),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_task_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_task')),
        sa.UniqueConstraint('subject', name=op.f('uq_task_subject'))
    )
    op.create_index('ix_task_state_lease_until', 'task', ['state', 'lease_until'], unique=False)
    op.create_table('approval',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('job', sa.String(length=30), nullable=False),
        sa.Column('request_digest', sa.String(length=71), nullable=False),
        sa.Column('approver', sa.String(length=30), nullable=False),
        sa.Column('verdict', sa.String(length=16), nullable=False),
        sa.Column('until', sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_approval_job')),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_approval_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_approval'))
    )
    op.create_index(op.f('ix_approval_job'), 'approval', ['job'], unique=False)
    op.create_table('budget_block',
        sa.Column('population', sa.String(length=30), nullable=False),
        sa.Column('block', sa.String(length=16), nullable=False),
        sa.Column('committed', sa.BigInteger(), nullable=False),
        sa.Column('capacity', sa.BigInteger(), nullable=False),
        sa.CheckConstraint('committed >= 0 AND committed <= capacity', name=op.f('ck_budget_block_within_capacity')),
        sa.ForeignKeyConstraint(['population'], ['budget_account.population'], name=op.f('fk_budget_block_population')),
        sa.PrimaryKeyConstraint('population', 'block', name=op.f('pk_budget_block'))
    )
    op.create_table('budget_trainer',
        sa.Column('population', sa.String(length=30), nullable=False),
        sa.Column('principal', sa.String(length=30), nullable=False),
        sa.Column('fields', sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(['population'], ['budget_account.population'], name=op.f('fk_budget_trainer_population')),
        sa.PrimaryKeyConstraint('population', 'principal', name=op.f('pk_budget_trainer'))
    )
    op.create_table('dataset_version',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('dataset', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('format', sa.Text(), nullable=False),
        sa.Column('staged_blob', sa.Text(), nullable=True),
        sa.Column('staged_dek', sa.String(length=30), nullable=True),
        sa.Column('dek', sa.String(length=30), nullable=True),
        sa.Column('manifest_blob', sa.Text(), nullable=True),
        sa.Column('manifest_digest', sa.String(length=71), nullable=True),
        sa.Column('fingerprints_blob', sa.Text(), nullable=True),
        sa.Column('home', sa.Integer(), nullable=False),
        sa.Column('homes_blob', sa.Text(), nullable=True),
        sa.Column('homes_seq', sa.Integer(), nullable=True),
        sa.Column('problems', sa.Text(), nullable=True),
        sa.Column('created_by', sa.String(length=30), nullable=False),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(['dataset'], ['dataset.id'], name=op.f('fk_dataset_version_dataset')),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_dataset_version_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_dataset_version'))
    )
    op.create_index(op.f('ix_dataset_version_dataset'), 'dataset_version', ['dataset'], unique=False)
    op.create_table('job_progress',
        sa.Column('job', sa.String(length=30), nullable=False),
        sa.Column('seq', sa.Integer(), nullable=False),
        sa.Column('state', sa.String(length=20), nullable=False),
        sa.Column('percent', sa.Integer(), nullable=False),
        sa.Column('visible_at', sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_job_progress_job')),
        sa.PrimaryKeyConstraint('job', 'seq', name=op.f('pk_job_progress'))
    )
    op.create_table('release',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('job', sa.String(length=30), nullable=False),
        sa.Column('principal', sa.String(length=30), nullable=False),
        sa.Column('dataset', sa.String(length=30), nullable=False),
        sa.Column('kind', sa.String(length=16), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('epsilon', sa.String(length=32), nullable=False),
        sa.Column('artifact_blob', sa.Text(), nullable=False),
        sa.Column('artifact_dek', sa.String(length=30), nullable=False),
        sa.Column('artifact_digest', sa.String(length=71), nullable=False),
        sa.Column('certificate', sa.LargeBinary(), nullable=False),
        sa.Column('certificate_digest', sa.String(length=71), nullable=False),
        sa.Column('published_entry', sa.String(length=30), nullable=True),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.Column('row_version', sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_release_job')),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_release_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_release')),
        sa.UniqueConstraint('job', name=op.f('uq_release_job'))
    )
    op.create_index('ix_release_tenant_id', 'release', ['tenant', 'id'], unique=False)
    op.create_table('reservation',
        sa.Column('job', sa.String(length=30), nullable=False),
        sa.Column('population', sa.String(length=30), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('expires_at', sa.String(length=20), nullable=False),
        sa.Column('fields', sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(['population'], ['budget_account.population'], name=op.f('fk_reservation_population')),
        sa.PrimaryKeyConstraint('job', name=op.f('pk_reservation'))
    )
    op.create_index('ix_reservation_state_expires_at', 'reservation', ['state', 'expires_at'], unique=False)
    op.execute("INSERT INTO log_tree (id, size, frontier) VALUES (1, 0, ''::bytea)" if _postgres() else
               "INSERT INTO log_tree (id, size, frontier) VALUES (1, 0, x'')")
    op.execute("INSERT INTO keyring_state (id, generation) VALUES (1, 0)")
    create_triggers(op.get_bind())


def downgrade() -> None:
    """Take back."""
    drop_triggers(op.get_bind())
    op.drop_index('ix_reservation_state_expires_at', table_name='reservation')
    op.drop_table('reservation')
    op.drop_index('ix_release_tenant_id', table_name='release')
    op.drop_table('release')
    op.drop_table('job_progress')
    op.drop_index(op.f('ix_dataset_version_dataset'), table_name='dataset_version')
    op.drop_table('dataset_version')
    op.drop_table('budget_trainer')
    op.drop_table('budget_block')
    op.drop_index(op.f('ix_approval_job'), table_name='approval')
    op.drop_table('approval')
    op.drop_index('ix_task_state_lease_until', table_name='task')
    op.drop_table('task')
    op.drop_table('report')
    op.drop_table('policy_head')
    op.drop_table('policy_event')
    op.drop_table('person')
    op.drop_table('kept_text')
    op.drop_index('ix_job_tenant_id', table_name='job')
    op.drop_index('ix_job_population_principal_state', table_name='job')
    op.drop_table('job')
    op.drop_table('dek')
    op.drop_index('ix_dataset_tenant_id', table_name='dataset')
    op.drop_index(op.f('ix_dataset_population'), table_name='dataset')
    op.drop_table('dataset')
    op.drop_index(op.f('ix_credential_principal'), table_name='credential')
    op.drop_table('credential')
    op.drop_table('budget_account')
    op.drop_table('tenant')
    op.drop_table('log_tree')
    op.drop_table('log_tenant')
    op.drop_index('ix_log_entry_pending', table_name='log_entry', sqlite_where=sa.text('idx IS NULL'), postgresql_where=sa.text('idx IS NULL'))
    op.drop_table('log_entry')
    op.drop_table('log_checkpoint')
    op.drop_table('keyring_state')
    op.drop_table('idempotency')
    op.drop_table('budget_event')


def _postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"
