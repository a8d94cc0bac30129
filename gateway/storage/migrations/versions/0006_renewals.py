"""Certificates of parties are renewed: until when each is good, and which one is to take its place.

Revision: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("party", recreate="auto") as batch:
        batch.add_column(sa.Column("certificate_until", sa.String(length=20), nullable=True))
        batch.add_column(sa.Column("next_certificate", sa.String(length=71), nullable=True))
        batch.add_column(sa.Column("next_key", sa.String(length=71), nullable=True))
        batch.add_column(sa.Column("next_until", sa.String(length=20), nullable=True))
        batch.add_column(sa.Column("next_pem", sa.Text(), nullable=True))
        batch.create_unique_constraint(op.f("uq_party_next_certificate"), ["next_certificate"])


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("party", recreate="auto") as batch:
        batch.drop_constraint(op.f("uq_party_next_certificate"), type_="unique")
        for name in ("next_pem", "next_until", "next_key", "next_certificate", "certificate_until"):
            batch.drop_column(name)
