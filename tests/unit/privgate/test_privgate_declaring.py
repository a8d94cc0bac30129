"""Drafting a declaration and checking a file at home: no value leaves, no bound is computed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from kernel.errors import InvalidError
from privacy.schema import TableSchema
from privgate.declaring import check, declared_schema, draft, require_complete
from tests.support.uploads import Refused, Sealed, ingest_here

TABLE = "age,sex,smoker,note\n34.75,Fem,yes,zebra\n51.25,Mal,no,\n"
SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "age", "kind": "numeric", "low": "0", "high": "100"},
            {"name": "sex", "kind": "categorical", "categories": ["F", "M"], "missing": ["?"], "fill": "F"},
            {"name": "smoker", "kind": "boolean"},
        ]
    }
)
GOOD = "age,sex,smoker,extra\n34,F,yes,x\n51,?,no,y\n"


def file(folder: Path, text: str, name: str = "rows.csv") -> Path:
    """File."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_draft_names_columns_and_guesses_kinds(tmp_path: Path) -> None:
    """A draft names columns and guesses kinds."""
    columns = draft(file(tmp_path, TABLE))["schema"]["columns"]
    assert [(c["name"], c["kind"]) for c in columns] == [
        ("age", "numeric"),
        ("sex", "categorical"),
        ("smoker", "boolean"),
        ("note", "categorical"),
    ]


def test_a_draft_names_whose_rows_they_are(tmp_path: Path) -> None:
    """By the column that the owner names; how many rows a person may have is his to say."""
    path = file(tmp_path, TABLE)
    assert draft(path)["unit"] == {"kind": "record", "noun": "?"}
    drafted = draft(path, unit_column="note")
    assert drafted["unit"] == {"kind": "column", "column": "note", "noun": "?", "rows_per_unit": "?"}
    assert {"name": "note", "kind": "identifier"} in drafted["schema"]["columns"]
    with pytest.raises(InvalidError) as error:
        draft(path, unit_column="nobody")
    assert error.value.field == "unit_column"


def test_a_draft_holds_nothing_that_was_computed_from_rows(tmp_path: Path) -> None:
    """No value of the file, and no bound: two files of the same kinds give the same draft."""
    written = json.dumps(draft(file(tmp_path, TABLE)))
    assert not any(value in written for value in ("34.75", "51.25", "Fem", "Mal", "zebra"))
    other = TABLE.replace("34.75", "-1e9").replace("Fem", "x").replace("zebra", "y")
    assert json.dumps(draft(file(tmp_path, other, "other.csv"))) == written


def test_a_draft_is_not_accepted_before_it_is_completed(tmp_path: Path) -> None:
    """A draft is not accepted before it is completed."""
    drafted = draft(file(tmp_path, TABLE))
    with pytest.raises(InvalidError, match="column age, column sex, column note"):
        declared_schema(drafted)
    for column in drafted["schema"]["columns"]:
        column |= {"low": "0", "high": "1"} if column["kind"] == "numeric" else {}
        column |= {"categories": ["a"]} if column["kind"] == "categorical" else {}
    assert [column.name for column in declared_schema(drafted).columns] == ["age", "sex", "smoker", "note"]
    with pytest.raises(InvalidError, match="title, population, unit, sensitivity, purposes and 2 more"):
        require_complete(drafted)


def test_a_file_without_a_header_cannot_be_drafted(tmp_path: Path) -> None:
    """A file without a header cannot be drafted."""
    with pytest.raises(InvalidError, match="header"):
        draft(file(tmp_path, ""))


FILES = {
    "good": GOOD,
    "no rows": "age,sex,smoker\n",
    "missing column": "age,sex\n1,F\n",
    "duplicate column": "age,sex,smoker,age\n1,F,yes,1\n",
    "wrong number of fields": GOOD + "34,F\n",
    "out of bounds": GOOD + "134,F,yes,x\n",
    "not a number": GOOD + "secretvalue,F,yes,x\n",
    "not listed": GOOD + "34,secretvalue,yes,x\n",
    "not a boolean": GOOD + "34,F,secretvalue,x\n",
    "missing value": GOOD + ",F,yes,x\n",
    "several": GOOD + "x,W,2,x\n101,F,yes,\n",
    "empty lines": "age,sex,smoker\n\n34,F,yes\n\n51,M,no\n",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_a_file_is_judged_here_as_the_gateway_judges_it(tmp_path: Path, text: str) -> None:
    """The same rules, at the same rows and columns."""
    answer = ingest_here(tmp_path, text.encode(), SCHEMA)
    theirs = set() if isinstance(answer, Sealed) else {(p.row, p.column, p.rule) for p in answer.problems}
    assert isinstance(answer, (Sealed, Refused))
    ours = {(p.row, p.column, p.rule) for p in check(file(tmp_path, text), SCHEMA)}
    # Where a record has the wrong shape the gateway stops reading; here the rest is looked at as well.
    assert ours == theirs
    assert "secretvalue" not in repr(ours)


PICTURES = {
    "good": "1 2 3\n 4\t5  6 \n",
    "too few": "1 2 3\n1 2\n",
    "one number": "7\n",
    "not a number": "1 secretvalue 3\n",
    "out of bounds": "1 2 300\n",
    "missing": "1 2 3\nn/a\n",
    "a missing element": "1 n/a 3\n",
    "no white space": "1;2;3\n",
}


@pytest.mark.parametrize("fill", [{}, {"fill": "5"}], ids=["refused", "filled"])
@pytest.mark.parametrize("text", PICTURES.values(), ids=PICTURES)
def test_tensors_in_text_are_judged_here_as_the_gateway_judges_them(
    tmp_path: Path, text: str, fill: dict[str, str]
) -> None:
    """Numbers between white space are a tensor; what is wrong with them breaks the same rule here and there."""
    column = {"name": "picture", "kind": "tensor", "low": "0", "high": "255", "shape": [3], "missing": ["n/a"]} | fill
    schema = TableSchema.from_json({"columns": [column]})
    answer = ingest_here(tmp_path, f"picture\n{text}".encode(), schema)
    theirs = set() if isinstance(answer, Sealed) else {(p.row, p.column, p.rule) for p in answer.problems}
    assert {(p.row, p.column, p.rule) for p in check(file(tmp_path, f"picture\n{text}"), schema)} == theirs


def test_json_lines_and_gzip_are_checked_too(tmp_path: Path) -> None:
    """Json lines and gzip are checked too."""
    lines = '{"age": 34, "sex": "F", "smoker": true}\n{"age": 200, "sex": null, "smoker": "no"}\n[1]\n'
    problems = check(file(tmp_path, lines, "rows.jsonl"), SCHEMA)
    assert [(p.row, p.column, p.rule.value) for p in problems] == [
        (2, "age", "out-of-bounds"),
        (3, None, "not-an-object"),
    ]
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(GOOD.encode()))
    assert check(packed, SCHEMA) == []


def test_the_check_stops_after_enough(tmp_path: Path) -> None:
    """The check stops after enough."""
    text = "age,sex,smoker\n" + "x,F,yes\n" * 1000
    assert len(check(file(tmp_path, text), SCHEMA, most=7)) == 7


def test_parquet_is_the_gateways_to_check(tmp_path: Path) -> None:
    """Parquet is the gateways to check."""
    with pytest.raises(InvalidError, match="Parquet"):
        check(file(tmp_path, "", "rows.parquet"), SCHEMA)
