"""Credentials in SQL: what is stored of access tokens."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.credentials import Credential
from gateway.storage.sql.rows import Rows
from gateway.storage.tables import credential
from kernel.ids import CredentialId, PrincipalId


class SqlCredentials:
    """Credentials within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._rows = Rows(connection, credential, Credential)

    def add(self, issued: Credential) -> None:
        """Store a new credential."""
        self._rows.insert(issued)

    def find(self, credential_id: CredentialId) -> Credential | None:
        """Return a credential, if there is one of that id."""
        return self._rows.find(id=credential_id)

    def of(self, principal: PrincipalId) -> list[Credential]:
        """Return all credentials of a principal."""
        return self._rows.all(principal=principal)

    def revoke(self, credential_id: CredentialId) -> None:
        """Make a credential worthless, for ever."""
        self._rows.change({"id": credential_id}, revoked=True)
