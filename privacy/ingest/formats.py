"""How an upload is written, and what can be wrong with it. Standard library only: the API process imports it.

Rules
-----
1. A problem names the row, the column and the rule that was broken. It has no field for a value, nor for a name that
   only the file knows.
2. The rules are a closed list: the log keeps the first one's name, and its owner reads the rest.

Form: docs/formats/ingest-request.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from kernel.canonical import LARGEST_INTEGER
from kernel.checks import text, whole
from kernel.errors import InvalidError
from privacy.schema import LONGEST_NAME

MOST_PROBLEMS = 100
_NO_DELIMITERS = '"\r\n\0'


class FileForm(StrEnum):
    """The kinds of files that are read."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON_LINES = "jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadFormat:
    """How a file is written.

    Attributes:
        form: Which kind of file.
        header: Whether the first record of a CSV file names the columns; otherwise they stand in the schema's order.
        delimiter: What separates the fields of a CSV file: one ASCII character.
        gzip: Whether a CSV or JSON Lines file is compressed.
    """

    form: FileForm
    header: bool = True
    delimiter: str = ","
    gzip: bool = False

    def __post_init__(self) -> None:
        one = isinstance(self.delimiter, str) and len(self.delimiter) == 1 and self.delimiter.isascii()
        if not one or self.delimiter in _NO_DELIMITERS:
            raise InvalidError(
                "`delimiter` must be one ASCII character, and not a quote or a line end", field="delimiter"
            )
        if self.gzip and self.form is FileForm.PARQUET:
            raise InvalidError("Parquet compresses its own pages: send it without gzip", field="gzip")

    @classmethod
    def of(cls, form: str, *, header: bool = True, delimiter: str = ",", gzip: bool = False) -> Self:
        """Build from what a request says; what only concerns CSV is left aside for other forms.

        Raises:
            InvalidError: A form that is not read, or settings that do not fit it.
        """
        try:
            known = FileForm(form)
        except ValueError:
            raise InvalidError("`format` must be one of " + ", ".join(FileForm), field="format") from None
        if known is FileForm.CSV:
            return cls(form=known, header=header, delimiter=delimiter, gzip=gzip)
        return cls(form=known, gzip=gzip)

    def to_json(self) -> dict[str, Any]:
        """Encode for storage and for the child."""
        return {
            "delimiter": self.delimiter,
            "form": self.form.value,
            "gzip": self.gzip,
            "header": self.header,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        if not isinstance(body, Mapping) or set(body) != {"delimiter", "form", "gzip", "header"}:
            raise InvalidError("a format has `form`, `header`, `delimiter` and `gzip`", field="format")
        header, gzip = body["header"], body["gzip"]
        if not isinstance(header, bool) or not isinstance(gzip, bool) or body["form"] not in set(FileForm):
            raise InvalidError("`form` must be a known one, `header` and `gzip` true or false", field="format")
        return cls(form=FileForm(body["form"]), header=header, delimiter=body["delimiter"], gzip=gzip)


class Rule(StrEnum):
    """Everything for which an upload is refused. Public: the log names the first one that was broken."""

    # the file
    EMPTY_FILE = "empty-file"
    NO_ROWS = "no-rows"
    NOT_THIS_FORM = "not-this-form"
    NOT_UTF8 = "not-utf8"
    NOT_GZIP = "not-gzip"
    EXPANDS_TOO_FAR = "expands-too-far"
    TOO_MUCH_MEMORY = "too-much-memory"
    TOO_MANY_COLUMNS = "too-many-columns"
    DUPLICATE_COLUMN = "duplicate-column"
    MISSING_COLUMN = "missing-column"
    # a row
    WRONG_NUMBER_OF_FIELDS = "wrong-number-of-fields"
    ROW_TOO_LONG = "row-too-long"
    NOT_AN_OBJECT = "not-an-object"
    REPEATED_MEMBER = "repeated-member"
    # a value
    MISSING_VALUE = "missing-value"
    WRONG_TYPE = "wrong-type"
    NOT_A_NUMBER = "not-a-number"
    OUT_OF_BOUNDS = "out-of-bounds"
    NOT_LISTED = "not-listed"
    NOT_A_BOOLEAN = "not-a-boolean"
    WRONG_SHAPE = "wrong-shape"
    NOT_AN_IDENTIFIER = "not-an-identifier"
    # what the file's content meets
    OVERLAPS_ANOTHER_POPULATION = "overlaps-another-population"
    DID_NOT_FINISH = "did-not-finish"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an upload. For its owner only (RULES 18).

    Attributes:
        row: Number of the record, from 1, a header not counted; none if it is about the whole file.
        column: A declared column; none if it is about the whole row.
        rule: What was broken.
    """

    row: int | None
    column: str | None
    rule: Rule

    def __post_init__(self) -> None:
        if self.row is not None:
            whole(1, LARGEST_INTEGER, row=self.row)
        if self.column is not None:
            text(LONGEST_NAME, column=self.column)

    def to_json(self) -> dict[str, Any]:
        """Encode for storage and for the pipe."""
        return {"column": self.column, "row": self.row, "rule": self.rule.value}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        if not isinstance(body, Mapping) or set(body) != {"column", "row", "rule"} or body["rule"] not in set(Rule):
            raise InvalidError("a problem has `row`, `column` and a known `rule`", field="problems")
        return cls(body["row"], body["column"], Rule(body["rule"]))
