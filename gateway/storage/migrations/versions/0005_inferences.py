"""Encrypted questions to released models.

Revision: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply."""
    op.create_table('inference',
        sa.Column('job', sa.String(length=30), nullable=False),
        sa.Column('tenant', sa.String(length=30), nullable=False),
        sa.Column('model', sa.String(length=30), nullable=False),
        sa.Column('decision', sa.String(length=30), nullable=True),
        sa.Column('under_grant', sa.String(length=30), nullable=True),
        sa.Column('deadline', sa.String(length=20), nullable=True),
        sa.Column('question', sa.String(length=71), nullable=True),
        sa.Column('document', sa.LargeBinary(), nullable=True),
        sa.Column('blob', sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(['job'], ['job.id'], name=op.f('fk_inference_job')),
        sa.ForeignKeyConstraint(['model'], ['release.id'], name=op.f('fk_inference_model')),
        sa.ForeignKeyConstraint(['tenant'], ['tenant.id'], name=op.f('fk_inference_tenant')),
        sa.PrimaryKeyConstraint('job', name=op.f('pk_inference'))
    )
    op.create_index('ix_inference_deadline', 'inference', ['deadline'], unique=False)
    op.create_index(op.f('ix_inference_model'), 'inference', ['model'], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f('ix_inference_model'), table_name='inference')
    op.drop_index('ix_inference_deadline', table_name='inference')
    op.drop_table('inference')
