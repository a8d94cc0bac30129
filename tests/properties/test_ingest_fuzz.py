"""Any bytes at all: an upload is sealed or refused, and nothing else ever happens."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.uploads import Refused, Sealed, by, ingest_here, schema

ROOT = Path(__file__).parents[2]
TABLE = schema(
    {"name": "id", "kind": "identifier"},
    {"name": "n", "kind": "numeric", "low": "-1", "high": "1", "clamp": True, "fill": "0", "missing": ["?"]},
    {"name": "c", "kind": "categorical", "categories": ["a", "b"], "fill": "a"},
    {"name": "f", "kind": "boolean", "fill": "true"},
    {"name": "t", "kind": "tensor", "shape": [2], "low": "0", "high": "1", "fill": "0", "clamp": True},
)
HEADER = b"id,n,c,f,t\n"
PIECES = st.sampled_from(
    [b",", b"\n", b"\r", b'"', b'""', b" ", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"x", b"a", b"?", b"1", b"-", b"e9",
     b"nan", b"inf", b"1 2", b"true", b"1,1,a,yes,0 1\n", "é".encode(), b"\xc3", b"0" * 40]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*"idncft"]), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.dictionaries(st.sampled_from(["id", "n", "c", "f", "t", "other"]), JSON, max_size=6)


def _outcome(data: bytes, form: str, **options: object) -> Sealed | Refused:
    with tempfile.TemporaryDirectory() as name:
        answer = ingest_here(Path(name), data, TABLE, form, **options)
        if isinstance(answer, Sealed):
            answer.rows()
            return answer
    assert answer.problems
    return answer


@given(st.lists(PIECES | st.binary(max_size=6), max_size=40), st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_csv_of_any_bytes(pieces: list[bytes], header: bool, by_unit: bool) -> None:
    """With a good header and without, read once and read twice."""
    unit = {"unit": by("id", 2), "holdout": "0.5"} if by_unit else {}
    data = b"".join(pieces)
    _outcome((HEADER if header else b"") + data, "csv", header=header, **unit)


@given(st.lists(MEMBERS | JSON, max_size=6), st.binary(max_size=6), st.integers(0, 200))
@settings(max_examples=120, deadline=None)
def test_json_lines_of_any_values(rows: list[object], noise: bytes, place: int) -> None:
    """Any JSON, and the same with some bytes in the middle of it."""
    data = "\n".join(json.dumps(row) for row in rows).encode()
    _outcome(data, "jsonl")
    _outcome(data[:place] + noise + data[place:], "jsonl")


@given(st.binary(max_size=200), st.binary(max_size=20), st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_gzip_of_any_bytes(data: bytes, noise: bytes, place: int) -> None:
    """Packed, and packed with some bytes in the middle of it."""
    packed = gzip.compress(HEADER + data)
    _outcome(packed, "csv", gzip=True)
    _outcome(packed[:place] + noise + packed[place:], "csv", gzip=True)


@given(st.binary(max_size=400))
@settings(max_examples=100, deadline=None)
def test_parquet_of_any_bytes(data: bytes) -> None:
    """No bytes between two marks make a footer that harms."""
    assert isinstance(_outcome(data, "parquet"), Refused)
    assert isinstance(_outcome(b"PAR1" + data + len(data).to_bytes(4, "little") + b"PAR1", "parquet"), Refused)


def _fuzzed(seed: int, cases: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.support.fuzz_uploads", str(seed), str(cases)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, cwd=ROOT, env=environment, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    counts: dict[str, int] = json.loads(done.stdout)
    assert sum(counts.values()) == cases
    return counts


def test_altered_parquet_is_sealed_or_refused() -> None:
    """Five hundred honest files with a few bytes changed: most are refused, none brings the reader down."""
    assert _fuzzed(1, 500)["refused"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_altered_parquet_at_length(seed: int) -> None:
    """The same, ten thousand times."""
    assert _fuzzed(seed, 10_000)["refused"] > 2000
