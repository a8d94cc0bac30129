"""Whatever a table holds: what is sealed, read back, is what a plain reader of the same file says."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.ingest.formats import Rule
from privacy.sealing.manifest import Split
from tests.support.uploads import Refused, Sealed, by, ingest_here, schema

LOW, HIGH = -1000, 1000
CATEGORIES = ["a", "b b", "ü", "日本", '"', "x,y", "'", "1", "-"]
TABLE = schema(
    {"name": "id", "kind": "identifier"},
    {"name": "number", "kind": "numeric", "low": str(LOW), "high": str(HIGH), "missing": ["n/a"], "fill": "7",
     "clamp": True},
    {"name": "kind", "kind": "categorical", "categories": CATEGORIES, "missing": ["n/a"], "fill": "-"},
    {"name": "flag", "kind": "boolean", "fill": "true"},
    {"name": "cells", "kind": "tensor", "shape": [3], "low": str(LOW), "high": str(HIGH), "clamp": True},
)  # fmt: skip
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60).map(float)
IDENTIFIERS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp", "Cn"]), min_size=1, max_size=20
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": IDENTIFIERS,
            "number": NUMBERS | st.none() | st.just("n/a"),
            "kind": st.sampled_from(CATEGORIES) | st.none() | st.just("n/a"),
            "flag": st.booleans() | st.none(),
            "cells": st.lists(NUMBERS, min_size=3, max_size=3),
        }
    ),
    min_size=1,
    max_size=30,
)


def _clamped(value: float) -> float:
    return min(max(value, LOW), HIGH) + 0.0


def _expected(row: dict[str, Any]) -> tuple[Any, ...]:
    number = 7.0 if row["number"] in (None, "n/a") else _clamped(row["number"])
    kind = "-" if row["kind"] in (None, "n/a") else row["kind"]
    flag = True if row["flag"] is None else row["flag"]
    return (row["id"], number, kind, flag, *(pa.scalar(_clamped(c), pa.float32()).as_py() for c in row["cells"]))


def _rows(answer: Any, split: Split | None = None) -> Counter[tuple[Any, ...]]:
    assert isinstance(answer, Sealed), answer
    rows = answer.rows(split)
    return Counter((row["id"], row["number"], row["kind"], row["flag"], *row["cells"]) for row in rows)


def _csv(rows: list[dict[str, Any]]) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(["cells", "id", "undeclared", "number", "kind", "flag"])
    for row in rows:
        cells = " ".join(repr(cell) for cell in row["cells"])
        writer.writerow([cells, row["id"], 'x"\n,', row["number"], row["kind"], row["flag"]])
    return sink.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    plain = [{**row, "number": None if row["number"] == "n/a" else row["number"]} for row in rows]
    kinds = [("id", pa.string()), ("number", pa.float64()), ("kind", pa.string()), ("flag", pa.bool_())]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(plain, pa.schema([*kinds, ("cells", pa.list_(pa.float64()))])), sink)
    return sink.getvalue()


@given(ROWS)
@settings(max_examples=80, deadline=None)
def test_every_form_seals_what_the_table_says(rows: list[dict[str, Any]]) -> None:
    """Quoting, Unicode, extreme numbers, missing values: CSV, JSON Lines and Parquet all give the same rows."""
    with tempfile.TemporaryDirectory() as name:
        forms = {
            "csv": _csv(rows),
            "jsonl": b"\n".join(json.dumps(row).encode() for row in rows),
            "parquet": _parquet(rows),
        }
        answers = {form: ingest_here(Path(name), data, TABLE, form) for form, data in forms.items()}
        expected = Counter(map(_expected, rows))
        for answer in answers.values():
            assert _rows(answer) == expected
            assert answer.fingerprints == answers["csv"].fingerprints


@given(ROWS, st.integers(1, 3), st.sampled_from(["0", "0.3", "0.9"]), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_bounding_keeps_whole_units_apart_and_ignores_order(
    rows: list[dict[str, Any]], most: int, share: str, random: Any
) -> None:
    """Few identifiers, many rows: no unit exceeds its rows or is on two sides, and a shuffled file gives the same."""
    few = [{**row, "id": f"u{number % 4}"} for number, row in enumerate(rows)]
    shuffled = random.sample(few, len(few))
    with tempfile.TemporaryDirectory() as name:
        one, two = (
            ingest_here(Path(name), _csv(table), TABLE, unit=by("id", most), holdout=share) for table in (few, shuffled)
        )
        sides = {split: _rows(one, split) for split in Split}
        assert sides == {split: _rows(two, split) for split in Split}
    kept = sides[Split.TRAIN] + sides[Split.HOLDOUT]
    total = Counter(map(_expected, few))
    assert kept <= total
    of_unit = Counter(row[0] for row in kept.elements())
    assert of_unit == {unit: min(count, most) for unit, count in Counter(row["id"] for row in few).items()}
    assert {row[0] for row in sides[Split.TRAIN]}.isdisjoint(row[0] for row in sides[Split.HOLDOUT])


@given(st.text(st.characters(codec="utf-8", exclude_characters='\r\n",\0'), min_size=1, max_size=12))
@settings(max_examples=120, deadline=None)
def test_a_text_is_a_number_or_a_problem(text: str) -> None:
    """What is read as a number, Python reads as the same finite one; the rest is refused."""
    numbers = schema({"name": "n", "kind": "numeric", "low": "-1e30", "high": "1e30", "clamp": True})
    with tempfile.TemporaryDirectory() as name:
        answer = ingest_here(Path(name), f"n\n{text}\n1\n".encode(), numbers)
        if isinstance(answer, Sealed):
            rows = answer.rows()
            # Only white space leaves nothing on the line, and that is no record.
            assert len(rows) == 1 or rows[0]["n"] == min(max(float(text), -1e30), 1e30)
            return
    assert isinstance(answer, Refused)
    assert answer.rules <= {Rule.NOT_A_NUMBER, Rule.MISSING_VALUE}


@given(st.from_regex(r"[+-]?([0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12})([eE][+-]?[0-9]{1,2})?", fullmatch=True))
@settings(max_examples=80, deadline=None)
def test_a_written_number_is_read_as_python_reads_it(text: str) -> None:
    """To the last bit, alone in a column or beside a text that needs the slow way."""
    numbers = schema({"name": "n", "kind": "numeric", "low": "-1" + "0" * 30, "high": "1" + "0" * 30, "clamp": True})
    with tempfile.TemporaryDirectory() as name:
        for other in ("1", "+1"):
            answer = ingest_here(Path(name), f"n\n{text}\n{other}\n".encode(), numbers)
            assert isinstance(answer, Sealed)
            found = answer.rows()[0]["n"]
            assert found == min(max(float(text), -1e30), 1e30)
            assert math.isfinite(found)
