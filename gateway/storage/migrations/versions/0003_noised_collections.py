"""Noised results of several sites: a job holds in the population of each of them.

Revision: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply."""
    op.add_column('job_site', sa.Column('reserve_leaf', sa.String(length=71), nullable=True))
    with op.batch_alter_table('reservation', recreate='auto') as batch:
        batch.drop_constraint(op.f('pk_reservation'), type_='primary')
        batch.create_primary_key(op.f('pk_reservation'), ['job', 'population'])


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table('reservation', recreate='auto') as batch:
        batch.drop_constraint(op.f('pk_reservation'), type_='primary')
        batch.create_primary_key(op.f('pk_reservation'), ['job'])
    op.drop_column('job_site', 'reserve_leaf')
