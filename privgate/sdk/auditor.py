"""Verbs of an auditor: what is pinned, the log, the archive, reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kernel import canonical
from privgate.sdk.session import Session
from privgate.sdk.unpacking import unpack
from privgate.sdk.views import LogEntry

if TYPE_CHECKING:
    from audit.trust import TrustFile

PAGE = 500


class AuditorVerbs(Session):
    """What an auditor does."""

    def trust(self) -> TrustFile:
        """What the gateway says one should pin. Compare its keys with the operator's on another channel first."""
        from audit.trust import TrustFile

        return TrustFile.from_bytes(canonical.encode(self.connection.get("/v1/trust")["trust"]))

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint, unverified."""
        return self.connection.get_bytes("/v1/log/checkpoint")

    def entries(self, first: int = 0) -> Iterator[LogEntry]:
        """The tenant's entries from its counter `first` on, as the gateway tells them."""
        while True:
            page = self.connection.get("/v1/entries", first=first, limit=PAGE)
            yield from map(LogEntry.read, page)
            if len(page) < PAGE:
                return
            first += len(page)

    def export(self, directory: str | Path) -> Path:
        """Fetch the tenant's whole history into a fresh directory, to be verified offline."""
        return unpack(self.connection.download("/v1/archive"), Path(directory))
