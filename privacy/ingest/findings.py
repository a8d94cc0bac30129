"""What is found wrong while reading: a bounded list, then the end. Child only.

Rules
-----
1. The first problems are kept, in the order of the file as far as they were found in it; then reading stops.
2. Reading a broken file to its end would say nothing more than that it is broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

from privacy.ingest.formats import MOST_PROBLEMS, Problem, Rule


class RefusedError(Exception):
    """The upload is refused; the problems are why. Never leaves the child as an exception."""

    def __init__(self, problems: Sequence[Problem], *, more: bool) -> None:
        super().__init__("the upload is refused")
        self.problems = tuple(problems)
        self.more = more


class Findings:
    """Collects problems.

    Args:
        most: How many are kept; the next one ends the reading.
    """

    def __init__(self, most: int = MOST_PROBLEMS) -> None:
        self._most = most
        self._problems: list[Problem] = []

    def __bool__(self) -> bool:
        return bool(self._problems)

    @property
    def room(self) -> int:
        """How many more problems are of interest: those that are kept, and one that says that there are more."""
        return self._most - len(self._problems) + 1

    def add(self, rows: Iterable[int | None], column: str | None, rule: Rule) -> None:
        """Note a broken rule at each of some rows; none stands for the whole file.

        Raises:
            RefusedError: There are more problems than are kept.
        """
        for row in rows:
            if len(self._problems) == self._most:
                raise RefusedError(self._problems, more=True)
            self._problems.append(Problem(row if row is None else int(row), column, rule))

    def add_columns(self, names: Iterable[str]) -> None:
        """Note declared columns that the file does not have."""
        for name in names:
            self.add([None], name, Rule.MISSING_COLUMN)

    def stop(self, rule: Rule, *, row: int | None = None, column: str | None = None) -> NoReturn:
        """Note something after which the file cannot be read on, and refuse it."""
        problems = [*self._problems, Problem(row, column, rule)]
        raise RefusedError(problems[: self._most], more=len(problems) > self._most)

    def settle(self) -> None:
        """Return if nothing was found; refuse the file otherwise."""
        if self._problems:
            raise RefusedError(self._problems, more=False)
