"""What is sealed: values, units, sides and fingerprints, through the confined child."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privacy.schema import TableSchema
from privacy.sealing.manifest import Split
from tests.support.uploads import KEYS, Sealed, by, ingest_here, schema, sealed

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PRIVGATE_TEST_DATA", ROOT / "../shared/data"))
EVERYTHING = schema(
    {"name": "mrn", "kind": "identifier"},
    {"name": "age", "kind": "numeric", "low": "0", "high": "120", "missing": ["?"], "fill": "50", "clamp": True},
    {"name": "sex", "kind": "categorical", "categories": ["f", "m", "other"], "missing": ["?"], "fill": "other"},
    {"name": "grade", "kind": "ordinal", "categories": ["1", "2", "3"]},
    {"name": "smoker", "kind": "boolean", "fill": "false"},
    {"name": "scan", "kind": "tensor", "shape": [2, 2], "low": "0", "high": "255", "clamp": True},
)
ROWS: list[dict[str, Any]] = [
    {"mrn": 7, "age": 41.5, "sex": "f", "grade": 1, "smoker": True, "scan": [1, 2, 3, 4.5]},
    {"mrn": 8, "age": 300, "sex": None, "grade": 3, "smoker": None, "scan": [0, 999, -5, 0.25]},
    {"mrn": 9, "age": None, "sex": "m", "grade": 2, "smoker": False, "scan": [0, 0, 0, 0]},
]
SEALED_ROWS = [
    {"mrn": "7", "age": 41.5, "sex": "f", "grade": "1", "smoker": True, "scan": [1, 2, 3, 4.5]},
    {"mrn": "8", "age": 120.0, "sex": "other", "grade": "3", "smoker": False, "scan": [0, 255, 0, 0.25]},
    {"mrn": "9", "age": 50.0, "sex": "m", "grade": "2", "smoker": False, "scan": [0, 0, 0, 0]},
]
CSV = (
    b"scan,note,mrn,age,sex,grade,smoker\r\n"
    b'1 2 3 4.5,"said ""no"", twice",7,41.5,f,1,true\r\n'
    b"0 999 -5 .25,,8,+3e2,?,3,\r\n"
    b"\r\n"
    b'0  0 0 0,"two\nlines", 9 ,?,m,2,No\r\n'
)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"\n\n".join(json.dumps(row).encode() for row in rows)


# --- values ----------------------------------------------------------------------------------------------------------


def test_three_forms_of_one_table_are_sealed_alike(tmp_path: Path) -> None:
    """CSV, JSON Lines and Parquet give the same rows and the same fingerprints; gzip changes nothing."""
    answers = [
        sealed(tmp_path, CSV, EVERYTHING),
        sealed(tmp_path, gzip.compress(CSV), EVERYTHING, gzip=True),
        sealed(tmp_path, _json_lines(ROWS), EVERYTHING, "jsonl"),
        sealed(tmp_path, _parquet(ROWS), EVERYTHING, "parquet"),
    ]
    for answer in answers:
        assert answer.rows() == SEALED_ROWS
        assert answer.fingerprints == answers[0].fingerprints


def test_undeclared_columns_are_not_sealed(tmp_path: Path) -> None:
    """What the schema does not declare is dropped; sealed columns stand in its order."""
    table = sealed(tmp_path, CSV, EVERYTHING).table()
    assert table.schema.names == [column.name for column in EVERYTHING.columns]
    assert not any(field.nullable for field in table.schema)


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
def test_any_ascii_delimiter_and_no_header(tmp_path: Path, delimiter: str) -> None:
    """Without a header the columns stand in the schema's order."""
    ages = schema({"name": "mrn", "kind": "identifier"}, {"name": "age", "kind": "numeric", "low": "0", "high": "120"})
    data = f"7{delimiter}41\n8{delimiter}42".encode()
    answer = ingest_here(tmp_path, data, ages, header=False, delimiter=delimiter)
    assert isinstance(answer, Sealed)
    assert answer.rows() == [{"mrn": "7", "age": 41.0}, {"mrn": "8", "age": 42.0}]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_and_a_byte_order_mark(tmp_path: Path, end: bytes) -> None:
    """The mark is no part of the first column's name."""
    ages = schema({"name": "age", "kind": "numeric", "low": "0", "high": "120"})
    answer = ingest_here(tmp_path, b"\xef\xbb\xbf" + end.join([b"age", b"1", b"2", b""]), ages)
    assert isinstance(answer, Sealed)
    assert [row["age"] for row in answer.rows()] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.", 1), (".5", 0.5), ("-0", 0), (" 7 ", 7), ("+7", 7), ("1e2", 100), ("1E-2", 0.01), ("120", 120)],
)
def test_numbers_as_people_write_them(tmp_path: Path, text: str, expected: float) -> None:
    """Signs, exponents and bare points are read; the bounds are allowed values."""
    ages = schema({"name": "age", "kind": "numeric", "low": "0", "high": "120"})
    answer = ingest_here(tmp_path, f"age\n{text}\n5\n".encode(), ages)
    assert isinstance(answer, Sealed)
    assert answer.rows()[0]["age"] == expected


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(21, 2)])
def test_every_number_type_of_parquet(tmp_path: Path, kind: Any) -> None:
    """Whole numbers, floats and decimals are numbers."""
    ages = schema({"name": "age", "kind": "numeric", "low": "0", "high": "120"})
    sink = io.BytesIO()
    pq.write_table(pa.table({"age": pa.array([1, 2], pa.int64()).cast(kind)}), sink)
    assert [row["age"] for row in sealed(tmp_path, sink.getvalue(), ages, "parquet").rows()] == [1.0, 2.0]


# --- units -----------------------------------------------------------------------------------------------------------


def _visits(pairs: list[tuple[str, int]]) -> bytes:
    return b"mrn,day\n" + b"".join(f"{mrn},{day}\n".encode() for mrn, day in pairs)


VISITS = schema({"name": "mrn", "kind": "identifier"}, {"name": "day", "kind": "numeric", "low": "0", "high": "100000"})
PAIRS = [(f"p{number % 40}", number) for number in range(400)]


def _pairs(answer: Any) -> set[tuple[str, int]]:
    assert isinstance(answer, Sealed)
    return {(row["mrn"], int(row["day"])) for row in answer.rows()}


def test_a_unit_keeps_at_most_its_rows(tmp_path: Path) -> None:
    """Forty patients of ten visits, three allowed: three of each, and one fingerprint each."""
    answer = sealed(tmp_path, _visits(PAIRS), VISITS, unit=by("mrn", 3))
    counts = Counter(row["mrn"] for row in answer.rows())
    assert set(counts.values()) == {3}
    assert len(counts) == len(answer.fingerprints) == 40
    assert _pairs(answer) <= set(PAIRS)


def test_which_rows_are_kept_depends_on_the_units_own_rows_alone(tmp_path: Path) -> None:
    """Reordering the file, or removing another patient, changes nothing for this one."""
    whole = _pairs(ingest_here(tmp_path, _visits(PAIRS), VISITS, unit=by("mrn", 3)))
    backwards = _pairs(ingest_here(tmp_path, _visits(PAIRS[::-1]), VISITS, unit=by("mrn", 3)))
    alone = [pair for pair in PAIRS if pair[0] == "p7"]
    assert backwards == whole
    assert _pairs(ingest_here(tmp_path, _visits(alone), VISITS, unit=by("mrn", 3))) == {
        p for p in whole if p[0] == "p7"
    }


def test_which_rows_are_kept_depends_on_the_populations_key(tmp_path: Path) -> None:
    """Nobody without the key can arrange for a row to be kept."""
    other = (*KEYS[:2], b"\x09" * 32, KEYS[3])
    ours = _pairs(ingest_here(tmp_path, _visits(PAIRS), VISITS, unit=by("mrn", 3)))
    assert _pairs(ingest_here(tmp_path, _visits(PAIRS), VISITS, unit=by("mrn", 3), keys=other)) != ours


def test_a_unit_is_on_one_side_and_on_the_same_one_in_every_upload(tmp_path: Path) -> None:
    """The side follows from the unit and the population's key: other rows, columns and order do not matter."""
    first = ingest_here(tmp_path, _visits(PAIRS), VISITS, unit=by("mrn", 5), holdout="0.3")
    renamed = schema({"name": "seen", "kind": "boolean"}, {"name": "patient", "kind": "identifier"})
    other = b"patient,seen\n" + b"".join(f"p{number},yes\n".encode() for number in reversed(range(40)))
    second = ingest_here(tmp_path, other, renamed, unit=by("patient"), holdout="0.3")
    assert isinstance(first, Sealed)
    assert isinstance(second, Sealed)
    sides = [
        {split: {row[column] for row in answer.rows(split)} for split in Split}
        for answer, column in ((first, "mrn"), (second, "patient"))
    ]
    assert sides[0] == sides[1]
    assert sides[0][Split.TRAIN].isdisjoint(sides[0][Split.HOLDOUT])
    assert all(sides[0].values())


def test_the_holdout_has_its_share(tmp_path: Path) -> None:
    """Of 4,000 records a fifth, within six standard deviations; each record is somewhere."""
    answer = ingest_here(tmp_path, _visits([(f"r{n}", n) for n in range(4000)]), VISITS, holdout="0.2")
    assert isinstance(answer, Sealed)
    held_out = len(answer.rows(Split.HOLDOUT))
    assert abs(held_out - 800) < 6 * (4000 * 0.2 * 0.8) ** 0.5
    assert held_out + len(answer.rows(Split.TRAIN)) == 4000


def test_which_parts_there_are_says_nothing_about_rows(tmp_path: Path) -> None:
    """A population with a holdout has both files for one row too; without one there is no such file."""
    one = ingest_here(tmp_path, _visits([("a", 1)]), VISITS, holdout="0.5")
    assert isinstance(one, Sealed)
    assert [part.name for part in one.parts] == ["train-00000", "holdout-00000"]
    none = ingest_here(tmp_path, _visits([("a", 1)]), VISITS)
    assert isinstance(none, Sealed)
    assert [part.name for part in none.parts] == ["train-00000"]


def test_equal_records_are_all_kept(tmp_path: Path) -> None:
    """Where the unit is the record two equal rows are two units: they share a fingerprint and a side."""
    answer = ingest_here(tmp_path, _visits([("a", 1), ("a", 1), ("b", 1)]), VISITS, holdout="0.5")
    assert isinstance(answer, Sealed)
    assert Counter(row["mrn"] for row in answer.rows()) == {"a": 2, "b": 1}
    assert len(answer.fingerprints) == 2


# --- fingerprints ----------------------------------------------------------------------------------------------------


def test_a_record_meets_itself_in_a_file_of_another_order(tmp_path: Path) -> None:
    """Order of columns and rows, form and population are no part of a fingerprint."""
    turned = TableSchema(VISITS.columns[::-1])
    data = b"day,mrn\n2,b\n1.0,a\n"
    other_population = (*KEYS[:2], b"\x09" * 32, KEYS[3])
    ours = ingest_here(tmp_path, _visits([("a", 1), ("b", 2)]), VISITS)
    again = ingest_here(tmp_path, data, turned, keys=other_population)
    assert isinstance(ours, Sealed)
    assert isinstance(again, Sealed)
    assert ours.fingerprints == again.fingerprints


def test_fingerprints_are_the_tenants_and_tell_values_apart(tmp_path: Path) -> None:
    """Under another tenant's key, or of another value, none is the same."""
    ours = ingest_here(tmp_path, _visits([("a", 1)]), VISITS)
    assert isinstance(ours, Sealed)
    for pair, keys in ((("a", 1), (*KEYS[:3], b"\x09" * 32)), (("a", 2), KEYS), (("A", 1), KEYS)):
        other = ingest_here(tmp_path, _visits([pair]), VISITS, keys=keys)
        assert isinstance(other, Sealed)
        assert other.fingerprints != ours.fingerprints


# --- nothing in the clear --------------------------------------------------------------------------------------------


def test_what_the_child_writes_shows_no_value(tmp_path: Path) -> None:
    """No text of the upload stands in any file that it wrote."""
    secret = b"Zaphod-4711-Beeblebrox"
    answer = sealed(tmp_path, b"mrn,day\n" + secret + b",1\n", VISITS, unit=by("mrn"), holdout="0.5")
    files = {path.name: path.read_bytes() for path in answer.folder.iterdir()}
    assert files.keys() == {"train-00000", "holdout-00000", "fingerprints", "homes"}
    assert [name for name, content in files.items() if secret in content] == []


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (DATA / "adult/adult.data.gz").exists(), reason="needs the real data in PRIVGATE_TEST_DATA")
def test_adult_as_declared_by_the_demo(tmp_path: Path) -> None:
    """All 32,561 rows are sealed, `?` becomes `unknown`, and the numbers are those of the file."""
    declared = json.loads((ROOT / "privgate/demo/adult.json").read_text())
    data = DATA / "adult/adult.data.gz"
    answer = sealed(tmp_path, data, TableSchema.from_json(declared["schema"]), header=False, gzip=True, holdout="0.2")
    with gzip.open(data, "rt") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    table = answer.table()
    assert table.num_rows == len(rows)
    assert Counter(table["workclass"].to_pylist()) == Counter(row[1].replace("?", "unknown") for row in rows)
    assert sorted(table["age"].to_pylist()) == sorted(float(row[0]) for row in rows)


@pytest.mark.skipif(
    not (DATA / "diabetes130/diabetic_data.csv.gz").exists(), reason="needs the real data in PRIVGATE_TEST_DATA"
)
def test_diabetes_by_patient(tmp_path: Path) -> None:
    """101,766 encounters of 71,518 patients, at most two of each; no patient is on both sides."""
    declared = schema(
        {"name": "patient_nbr", "kind": "identifier"},
        {"name": "time_in_hospital", "kind": "numeric", "low": "1", "high": "14"},
        {"name": "readmitted", "kind": "categorical", "categories": ["NO", "<30", ">30"]},
    )
    data = DATA / "diabetes130/diabetic_data.csv.gz"
    answer = sealed(tmp_path, data, declared, gzip=True, unit=by("patient_nbr", 2), holdout="0.2")
    with gzip.open(data, "rt") as file:
        counts = Counter(row["patient_nbr"] for row in csv.DictReader(file))
    sides = {split: Counter(answer.table(split)["patient_nbr"].to_pylist()) for split in Split}
    assert sides[Split.TRAIN].keys().isdisjoint(sides[Split.HOLDOUT])
    assert sides[Split.TRAIN] + sides[Split.HOLDOUT] == Counter({k: min(v, 2) for k, v in counts.items()})
    assert len(answer.fingerprints) == 71_518
