"""What is refused: row, column and rule, never the value; and nothing is sealed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.ingest.formats import MOST_PROBLEMS, Problem, Rule
from tests.support.uploads import Refused, Sealed, by, ingest_here, refused, schema

AGE = {"name": "age", "kind": "numeric", "low": "0", "high": "120"}
SEX = {"name": "sex", "kind": "categorical", "categories": ["f", "m"]}
SMOKER = {"name": "smoker", "kind": "boolean"}
SCAN = {"name": "scan", "kind": "tensor", "shape": [3], "low": "0", "high": "9"}
MRN = {"name": "mrn", "kind": "identifier"}
PATIENTS = schema(MRN, AGE)


def _problems(answer: object) -> list[tuple[int | None, str | None, Rule]]:
    assert isinstance(answer, Refused)
    return [(problem.row, problem.column, problem.rule) for problem in answer.problems]


def _parquet(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("column", "text", "rule"),
    [
        *((AGE, text, Rule.NOT_A_NUMBER) for text in ("x", "nan", "-inf", "1e999", "0x1F", "1_0", "1,5")),
        *((AGE, text, Rule.NOT_A_NUMBER) for text in ("++1", "1e", "\u0663", "4 2", "--1", "1.2.3")),
        *((AGE, text, Rule.OUT_OF_BOUNDS) for text in ("-0.001", "120.5", "1e300")),
        *((AGE, text, Rule.MISSING_VALUE) for text in ('""', '" "')),
        *((SEX, text, Rule.NOT_LISTED) for text in ("F", "x", "f m", "f\0")),
        (SEX, '""', Rule.MISSING_VALUE),
        *((SMOKER, text, Rule.NOT_A_BOOLEAN) for text in ("2", "y", "tRuE", "1.0")),
        (SMOKER, '""', Rule.MISSING_VALUE),
        *((SCAN, text, Rule.WRONG_SHAPE) for text in ("1 2", "1 2 3 4", "1;2;3")),
        (SCAN, "1 2 x", Rule.NOT_A_NUMBER),
        (SCAN, "1 2 10", Rule.OUT_OF_BOUNDS),
        (SCAN, '""', Rule.MISSING_VALUE),
        *((MRN, text, Rule.NOT_AN_IDENTIFIER) for text in ("a\0b", '"a\nb"', "a\x7f", "a" * 513)),
        (MRN, '""', Rule.MISSING_VALUE),
    ],
)  # fmt: skip
def test_a_value_in_csv_that_breaks_a_rule(tmp_path: Path, column: dict[str, Any], text: str, rule: Rule) -> None:
    """Its row and column are named, and one rule. A good row before it and after it changes nothing."""
    good = {"age": "1", "sex": "f", "smoker": "yes", "scan": "1 2 3", "mrn": "a"}[column["name"]]
    field = f'"{text}"' if "," in text else text
    data = "\n".join([column["name"], good, field, good]).encode()
    assert _problems(ingest_here(tmp_path, data, schema(column))) == [(2, column["name"], rule)]


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        *((AGE, value, Rule.WRONG_TYPE) for value in (True, [1], {"a": 1})),
        (AGE, 10**400, Rule.NOT_A_NUMBER),
        (AGE, "one", Rule.NOT_A_NUMBER),
        (AGE, None, Rule.MISSING_VALUE),
        *((SEX, value, Rule.WRONG_TYPE) for value in ([], {"f": "f"}, "\ud800")),
        (SEX, 1.5, Rule.NOT_LISTED),
        (SMOKER, 2, Rule.NOT_A_BOOLEAN),
        *((SCAN, value, Rule.WRONG_TYPE) for value in ([[1], [2], [3]], ["1", "2", "3"], "1 2 3", 7, [True, 1, 2])),
        (SCAN, [1, 2], Rule.WRONG_SHAPE),
        (SCAN, [1, None, 2], Rule.MISSING_VALUE),
        (MRN, [7], Rule.WRONG_TYPE),
    ],
)
def test_a_value_in_json_that_breaks_a_rule(tmp_path: Path, column: dict[str, Any], value: Any, rule: Rule) -> None:
    """The same, where values have types."""
    good = {"age": 1, "sex": "f", "smoker": True, "scan": [1, 2, 3], "mrn": "a"}[column["name"]]
    data = "\n".join(json.dumps({column["name"]: cell}) for cell in (good, value, good)).encode()
    assert _problems(ingest_here(tmp_path, data, schema(column), "jsonl")) == [(2, column["name"], rule)]


@pytest.mark.parametrize(
    ("column", "cells", "rule"),
    [
        (AGE, pa.array([1.0, float("inf"), 2.0]), Rule.NOT_A_NUMBER),
        (AGE, pa.array([1.0, float("nan"), 2.0]), Rule.MISSING_VALUE),
        (AGE, pa.array([1, 10**15, 2]), Rule.OUT_OF_BOUNDS),
        (AGE, pa.array([None, True, None]), Rule.WRONG_TYPE),
        (AGE, pa.array([None, {"a": 1}, None]), Rule.WRONG_TYPE),
        (SEX, pa.array(["f", "x", "m"]).dictionary_encode(), Rule.NOT_LISTED),
        (SEX, pa.array([b"f", b"\xff", b"m"]), Rule.NOT_UTF8),
        (SCAN, pa.array([[1, 2, 3], [1, 2], [4, 5, 6]]), Rule.WRONG_SHAPE),
        (SCAN, pa.array([None, [[1], [2], [3]], None]), Rule.WRONG_TYPE),
        (MRN, pa.array([7, None, 8]), Rule.MISSING_VALUE),
        (MRN, pa.array([None, 1, None], pa.timestamp("s")), Rule.WRONG_TYPE),
    ],
)
def test_a_value_in_parquet_that_breaks_a_rule(tmp_path: Path, column: dict[str, Any], cells: Any, rule: Rule) -> None:
    """The same, where columns have types."""
    answer = ingest_here(tmp_path, _parquet({column["name"]: cells}), schema(column), "parquet")
    assert (2, column["name"], rule) in _problems(answer)
    assert all(row == 2 or found is Rule.MISSING_VALUE for row, _, found in _problems(answer))


def test_text_of_parquet_that_is_not_utf8_is_found_at_its_row(tmp_path: Path) -> None:
    """A column that says it is text need not be."""
    cells = pa.array([b"f", b"\xff\xfe", b"m"]).view(pa.string())
    answer = ingest_here(tmp_path, _parquet({"sex": cells}), schema(SEX), "parquet")
    assert _problems(answer) == [(2, "sex", Rule.NOT_UTF8)]


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", (None, None, Rule.EMPTY_FILE)),
        (b"\n\r\n\n", (None, None, Rule.EMPTY_FILE)),
        (b"mrn,age", (None, None, Rule.NO_ROWS)),
        (b"mrn,age\n\n\n", (None, None, Rule.NO_ROWS)),
        (b"mrn\na\n", (None, "age", Rule.MISSING_COLUMN)),
        (b"mrn,Age\na,1\n", (None, "age", Rule.MISSING_COLUMN)),
        (b"mrn,age,age\na,1,1\n", (None, "age", Rule.DUPLICATE_COLUMN)),
        (b'mrn,"age\na,1\n', (None, None, Rule.NOT_THIS_FORM)),
        (b"mrn,\xffage\na,1\n", (None, None, Rule.NOT_UTF8)),
        ("mrn,age\na,1\n".encode("utf-16"), (None, None, Rule.NOT_UTF8)),
        (b"mrn,age\na,1\nb\n", (2, None, Rule.WRONG_NUMBER_OF_FIELDS)),
        (b"mrn,age\na,1\nb,1,1\n", (2, None, Rule.WRONG_NUMBER_OF_FIELDS)),
        (b"mrn,age\na,1\n\xff,1\n", (2, "mrn", Rule.NOT_UTF8)),
    ],
)
def test_a_csv_file_that_is_none(tmp_path: Path, data: bytes, expected: tuple[Any, ...]) -> None:
    """Empty, without rows, with other columns, with other bytes."""
    assert _problems(ingest_here(tmp_path, data, PATIENTS)) == [expected]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\n\n", (None, None, Rule.NO_ROWS)),
        (b'{"mrn":1,"age":1}\n[1]', (2, None, Rule.NOT_AN_OBJECT)),
        (b'{"mrn":1,"age":1}\n{"age":1,"age":2}', (2, None, Rule.REPEATED_MEMBER)),
        (b'{"mrn":1,"age":NaN}', (1, None, Rule.NOT_THIS_FORM)),
        (b'{"mrn":1,"age":1}\n{"mrn"', (2, None, Rule.NOT_THIS_FORM)),
        (b'{"mrn":1,"age":1}\n{"mrn":"\xff"}', (2, None, Rule.NOT_UTF8)),
        (b'{"mrn":1,"age":1}\x00', (1, None, Rule.NOT_THIS_FORM)),
        (b'{"mrn":1,"age":' + b"9" * 5000 + b"}", (1, None, Rule.NOT_THIS_FORM)),
    ],
)
def test_a_json_lines_file_that_is_none(tmp_path: Path, data: bytes, expected: tuple[Any, ...]) -> None:
    """A line that cannot be read is named by its number."""
    assert _problems(ingest_here(tmp_path, data, PATIENTS, "jsonl")) == [expected]


def test_a_member_that_no_line_has_is_not_filled_in(tmp_path: Path) -> None:
    """A misspelt name must not become a column of constants, even where missing values have one."""
    filled = schema(MRN, {**AGE, "fill": "50"})
    assert _problems(ingest_here(tmp_path, b'{"mrn":1,"Age":1}', filled, "jsonl")) == [
        (None, "age", Rule.MISSING_COLUMN)
    ]
    answer = ingest_here(tmp_path, b'{"mrn":1}\n{"mrn":2,"age":3}', filled, "jsonl")
    assert isinstance(answer, Sealed)
    assert [row["age"] for row in answer.rows()] == [50.0, 3.0]


def test_problems_are_found_in_every_block_and_every_look(tmp_path: Path) -> None:
    """Row numbers go on from block to block, also where the file is read twice."""
    lines = [f"p{number},{number % 100}" for number in range(60_000)]
    lines[59_998] = "p,999"
    data = "\n".join(["mrn,age", *lines]).encode()
    assert len(data) > 2**19
    for unit in ({}, {"unit": by("mrn")}):
        assert _problems(ingest_here(tmp_path, data, PATIENTS, **unit)) == [(59_999, "age", Rule.OUT_OF_BOUNDS)]


def test_a_row_of_another_length_is_numbered_across_blocks(tmp_path: Path) -> None:
    """Also far into the file, and after empty lines, which are not counted."""
    lines = [f"p{number},{number % 100}" for number in range(60_000)]
    lines[59_998] = "p"
    data = "\n".join(["mrn,age", *lines]).encode()
    assert _problems(ingest_here(tmp_path, data, PATIENTS)) == [(59_999, None, Rule.WRONG_NUMBER_OF_FIELDS)]


# --- what a refusal shows --------------------------------------------------------------------------------------------


def test_no_more_than_a_hundred_problems_and_then_more(tmp_path: Path) -> None:
    """The first hundred, in order; that there are others is said, not how many."""
    data = b"mrn,age\n" + b"".join(b"a,999\n" for _ in range(MOST_PROBLEMS + 1))
    answer = ingest_here(tmp_path, data, PATIENTS)
    assert isinstance(answer, Refused)
    assert answer.more
    assert [problem.row for problem in answer.problems] == list(range(1, MOST_PROBLEMS + 1))
    exactly = ingest_here(tmp_path, data[:-6], PATIENTS)
    assert isinstance(exactly, Refused)
    assert (len(exactly.problems), exactly.more) == (MOST_PROBLEMS, False)


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"mrn,age\nSECRET-4711,SECRET-4711\n", "csv"),
        (b"SECRET-4711,age\n1,1\n", "csv"),
        (b"mrn,age\n1,2,SECRET-4711\n", "csv"),
        (b"mrn,age\n\"SECRET-4711\x01\",1\n", "csv"),
        (b'{"mrn":1,"age":"SECRET-4711","SECRET-4711":1}', "jsonl"),
        (b'{"mrn":"SECRET-4711","mrn":1}', "jsonl"),
    ],
)  # fmt: skip
def test_a_refusal_never_repeats_what_the_file_says(tmp_path: Path, data: bytes, form: str) -> None:
    """Neither a value nor an undeclared name: not one byte of it crosses the pipe."""
    answer = refused(tmp_path, data, PATIENTS, form)
    assert b"SECRET" not in answer.frame
    assert answer.problems


def test_the_whole_frame_of_a_refusal(tmp_path: Path) -> None:
    """Exactly `problems` and `more`."""
    answer = refused(tmp_path, b"mrn,age\na,121\n", PATIENTS)
    assert answer.frame == b'{"more":false,"problems":[{"column":"age","row":1,"rule":"out-of-bounds"}]}'
    assert answer.problems == [Problem(1, "age", Rule.OUT_OF_BOUNDS)]
