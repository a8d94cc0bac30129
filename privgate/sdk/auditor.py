"""Verbs of an auditor: what is pinned, the log, the archive, reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.signing import Envelope
from privgate.sdk.pages import Collection
from privgate.sdk.session import Session, identifier
from privgate.sdk.unpacking import unpack
from privgate.sdk.views import LogEntry, Report

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

    @property
    def reports(self) -> Collection[Report]:
        """Reports that were issued."""
        return Collection(self.connection, "/v1/reports", Report.read, Report)

    def issue_report(
        self,
        *,
        from_size: int = 0,
        until_size: int | None = None,
        frameworks: Sequence[str] = (),
        key: str | None = None,
    ) -> Report:
        """Have a report derived from the log and signed.

        Args:
            from_size: The period's begin, as a size of the log.
            until_size: Its end; by default the newest checkpoint.
            frameworks: Which frameworks to map the findings to; all of them by default.
            key: Idempotency key: the same key and request are one report, however often they are sent.
        """
        body = {"from_size": from_size, "until_size": until_size, "frameworks": list(frameworks)}
        return Report.read(self.connection.post("/v1/reports", body, key=key))

    def report_json(self, report: Report | str) -> bytes:
        """A report's signed document, verified with the pinned report keys.

        Raises:
            NotPinnedError: No trust file is pinned.
            CorruptError: No pinned key signed it, or it is another report than the one that was issued.
        """
        from compliance.report import verify

        trust = self.pinned
        data = self.connection.get_bytes(f"/v1/reports/{identifier(report, 'report')}/files/report.json")
        verify(Envelope.from_bytes(data), trust.report_keys)
        if isinstance(report, Report) and Digest.of(data) != report.digest:
            raise CorruptError("this is another report than the one that was issued", field="report.json")
        return data

    def report_html(self, report: Report | str) -> str:
        """A report to read and print, drawn here from the verified document."""
        from compliance.render.html import render
        from compliance.report import verify

        data = self.report_json(report)
        return render(verify(Envelope.from_bytes(data), self.pinned.report_keys))
