"""The parties' documents as they lie in a bundle, held against what the log cites."""

from __future__ import annotations

from functools import cached_property

from privacy.homomorphic.documents.citing import FOLDER, Cited, cited
from privgate.verify.evidence import Evidence
from privgate.verify.history import Anything, Entered, History, HistoryFindings


class PartyFiles:
    """What the log cites, and what is here of it.

    Args:
        evidence: The bundle.
        history: The log's entries.
    """

    def __init__(self, evidence: Evidence, history: History) -> None:
        self._evidence = evidence
        self.cited: list[tuple[Entered[Anything], Cited]] = [
            (entered, found) for entered in history.entries if (found := cited(entered.event)) is not None
        ]

    @cached_property
    def here(self) -> tuple[str, ...]:
        """The files of the folder."""
        return files_in(self._evidence)

    def read(self, entered: Entered[Anything], found: Cited, findings: HistoryFindings) -> bytes | None:
        """A document's bytes; what is missing is noted."""
        data = self._evidence.read(found.file)
        if data is None and self.here:
            findings.wrong(found.file, "the log cites this document, and it is not here", entered.index)
        elif data is None:
            findings.unclear(FOLDER, "none of the parties' documents are here: export them anew", entered.index)
        return data

    def surplus(self) -> list[str]:
        """Files that the log does not cite."""
        names = {found.file for _, found in self.cited}
        return [name for name in self.here if name not in names]


def files_in(evidence: Evidence) -> tuple[str, ...]:
    """The names of everything in the parties' folder."""
    return tuple(name for name in evidence.names if name.startswith(f"{FOLDER}/"))
