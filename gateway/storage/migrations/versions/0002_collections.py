"""Parties, and jobs on data that the gateway never sees.

Revision: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply."""
    op.create_table('party',
        sa.Column('id', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('owner', sa.String(length=30), nullable=False),
        sa.Column('name', sa.String(length=64), nullable=False),
        sa.Column('identity', sa.Text(), nullable=False),
        sa.Column('fingerprint', sa.String(length=71), nullable=False),
        sa.Column('certificate', sa.String(length=71), nullable=False),
        sa.Column('disabled', sa.Boolean(), nullable=False),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_party_tenant')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_party')),
        sa.UniqueConstraint('certificate', name=op.f('uq_party_certificate')),
        sa.UniqueConstraint('tenant', 'fingerprint', name=op.f('uq_party_tenant_fingerprint')),
        sa.UniqueConstraint('tenant', 'name', name=op.f('uq_party_tenant_name'))
    )
    op.add_column('approval', sa.Column('leaf', sa.String(length=71), nullable=True))
    op.add_column('dataset', sa.Column('site', sa.String(length=30), nullable=True))
    op.create_table('collection',
        sa.Column('job', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('key_holder', sa.String(length=30), nullable=False),
        sa.Column('round', sa.Integer(), nullable=False),
        sa.Column('deadline', sa.String(length=20), nullable=True),
        sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_collection_job')),
        sa.ForeignKeyConstraint(['key_holder'], ['party.id'], name=op.f('fk_collection_key_holder')),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_collection_tenant')),
        sa.PrimaryKeyConstraint('job', name=op.f('pk_collection'))
    )
    op.create_index('ix_collection_deadline', 'collection', ['deadline'], unique=False)
    op.create_table('job_document',
        sa.Column('job', sa.String(length=30), nullable=False),
        sa.Column('kind', sa.String(length=16), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('party', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('digest', sa.String(length=71), nullable=False),
        sa.Column('received', sa.String(length=71), nullable=False),
        sa.Column('content', sa.LargeBinary(), nullable=True),
        sa.Column('blob', sa.Text(), nullable=True),
        sa.Column('created_at', sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_job_document_job')),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_job_document_tenant')),
        sa.PrimaryKeyConstraint('job', 'kind', 'number', 'party', name=op.f('pk_job_document'))
    )
    op.create_table('job_site',
        sa.Column('job', sa.String(length=30), nullable=False),
        sa.Column('number', sa.Integer(), nullable=False),
        sa.Column('party', sa.String(length=30), nullable=False),
        sa.Column('dataset', sa.String(length=30), nullable=False),
        sa.Column('population', sa.String(length=30), nullable=False),
        sa.Column('version', sa.String(length=30), nullable=True),
        sa.Column('manifest', sa.String(length=71), nullable=True),
        sa.Column('decision', sa.String(length=30), nullable=True),
        sa.Column('decision_leaf', sa.String(length=71), nullable=True),
        sa.Column('uncovered_seq', sa.Integer(), nullable=True),
        sa.Column('uncovered_leaf', sa.String(length=71), nullable=True),
        sa.ForeignKeyConstraint(['dataset'], ['dataset.id'], name=op.f('fk_job_site_dataset')),
        sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_job_site_job')),
        sa.ForeignKeyConstraint(['party'], ['party.id'], name=op.f('fk_job_site_party')),
        sa.PrimaryKeyConstraint('job', 'number', name=op.f('pk_job_site')),
        sa.UniqueConstraint('job', 'dataset', name=op.f('uq_job_site_job_dataset'))
    )
    op.create_index(op.f('ix_job_site_dataset'), 'job_site', ['dataset'], unique=False)
    op.create_index('ix_job_site_party_job', 'job_site', ['party', 'job'], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index('ix_job_site_party_job', table_name='job_site')
    op.drop_index(op.f('ix_job_site_dataset'), table_name='job_site')
    op.drop_table('job_site')
    op.drop_table('job_document')
    op.drop_index('ix_collection_deadline', table_name='collection')
    op.drop_table('collection')
    op.drop_column('dataset', 'site')
    op.drop_column('approval', 'leaf')
    op.drop_table('party')
