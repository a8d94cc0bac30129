"""What a verifier says: numbered steps, four verdicts, and places.

Rules
-----
1. OK: it was checked and holds. NOT OK: it was checked and does not. CANNOT TELL: it could not be checked, which never
   counts as OK. NOT HERE: it is about a part that need not be here, and nothing of that part is.
2. What is wrong has a place: a file and, wherever it can be told, the entry.
3. A step lists its first places and counts the others, however many an attacker makes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

MOST_LOCATIONS = 20


class Verdict(StrEnum):
    """The answer of one step."""

    OK = "OK"
    NOT_OK = "NOT OK"
    CANNOT_TELL = "CANNOT TELL"
    NOT_HERE = "NOT HERE"


@dataclass(frozen=True, slots=True)
class Location:
    """Where something is wrong.

    Attributes:
        file: The file, relative to what is verified.
        what: What is wrong there, in a few words.
        entry: The entry's index in the log, if it can be told.
    """

    file: str
    what: str
    entry: int | None = None

    def __str__(self) -> str:
        place = self.file if self.entry is None else f"{self.file}, entry {self.entry}"
        return f"{place}: {self.what}"


@dataclass(frozen=True, slots=True)
class StepResult:
    """One numbered step of a verification.

    Attributes:
        number: Its place in the list.
        title: What was asked.
        verdict: The answer.
        sentence: The answer in words.
        locations: The first places where it is wrong or unclear.
        more: How many places are not listed.
    """

    number: int
    title: str
    verdict: Verdict
    sentence: str
    locations: tuple[Location, ...] = ()
    more: int = 0


@dataclass(slots=True)
class Findings:
    """Collects what one step finds, while it runs."""

    number: int
    title: str
    _places: dict[Verdict, list[Location]] = field(default_factory=dict)
    _counts: dict[Verdict, int] = field(default_factory=dict)

    def wrong(self, file: str, what: str, entry: int | None = None) -> None:
        """Note something that does not hold."""
        self._note(Verdict.NOT_OK, Location(file, what, entry))

    def unclear(self, file: str, what: str, entry: int | None = None) -> None:
        """Note something that could not be checked."""
        self._note(Verdict.CANNOT_TELL, Location(file, what, entry))

    def absent(self, file: str, what: str) -> None:
        """Note that a part that need not be here is not here at all."""
        self._note(Verdict.NOT_HERE, Location(file, what))

    def result(self, sentence: str) -> StepResult:
        """Close the step; `sentence` is the answer if nothing was noted."""
        for verdict in (Verdict.NOT_OK, Verdict.CANNOT_TELL, Verdict.NOT_HERE):
            if verdict in self._counts:
                places, count = self._places[verdict], self._counts[verdict]
                said = str(places[0]) if count == 1 else f"{count} places; the first is {places[0]}"
                return StepResult(self.number, self.title, verdict, said, tuple(places), count - len(places))
        return StepResult(self.number, self.title, Verdict.OK, sentence)

    def _note(self, verdict: Verdict, location: Location) -> None:
        self._counts[verdict] = self._counts.get(verdict, 0) + 1
        places = self._places.setdefault(verdict, [])
        if len(places) < MOST_LOCATIONS:
            places.append(location)
