"""What is wrong with a file, for whoever has to mend it: by column and rule, with rows to look at and what to do.

Rules
-----
1. Row, column and rule, never a value.
2. One line for each column and rule, however many rows break it; each rule is explained once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from privgate.cli.screen import note, table

ROWS = 5
_DO = {
    "empty-file": "there is nothing in it",
    "no-rows": "there is no row below the header",
    "not-this-form": "it cannot be read as this kind of file: look for an open quote, or name another --format",
    "not-utf8": "it is not text in UTF-8: save it as UTF-8, for umlauts are written differently elsewhere",
    "not-gzip": "its name ends in .gz, and it is not compressed, or breaks off",
    "duplicate-column": "the header has it twice",
    "missing-column": "the header lacks it: compare the spelling, the header line and --delimiter",
    "wrong-number-of-fields": "the row has more or fewer fields than the header: quote texts that hold the delimiter",
    "not-an-object": "the line is not a JSON object",
    "repeated-member": "the object has a member twice",
    "missing-value": "the field is empty: declare `fill`, what shall stand in for it",
    "wrong-type": "it is written as another kind of value than the declared one",
    "not-a-number": "it is not a number: declare a text that means no value as `missing`",
    "out-of-bounds": "it lies outside `low` and `high`: declare wider public bounds, or `clamp`",
    "not-listed": "it is none of the declared `categories`: spelling and capitals count",
    "not-a-boolean": "write true or false",
    "wrong-shape": "it has another number of elements than `shape` says",
    "not-an-identifier": "who it is about must be said in every row",
    "overlaps-another-population": "these people are in another population of yours: use that one",
}


def show_problems(problems: Iterable[tuple[int | None, str | None, str]]) -> None:
    """Write a table of rows, columns and rules, and below it what each rule asks for."""
    found: dict[tuple[str, str], list[int]] = {}
    for row, column, rule in problems:
        found.setdefault((column or "-", rule), []).extend([] if row is None else [row])
    table(["column", "rule", "rows"], [[column, rule, _some(rows)] for (column, rule), rows in found.items()])
    for rule in dict.fromkeys(rule for _, rule in found):
        if rule in _DO:
            note(f"{rule}: {_DO[rule]}.")


def _some(rows: Sequence[int]) -> str:
    more = f" and {len(rows) - ROWS} more" if len(rows) > ROWS else ""
    return ", ".join(map(str, rows[:ROWS])) + more or "-"
