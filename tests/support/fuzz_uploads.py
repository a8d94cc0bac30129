"""Altered Parquet files into the readers, many in one process of bounded memory; run as a program by its test.

Prints how many were sealed, refused, and refused for memory. Whatever else happens ends the program.
"""

from __future__ import annotations

import io
import json
import random
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.uploads import Sealed, ingest_here, schema

MEMORY = 2**30
TABLE = schema(
    {"name": "id", "kind": "identifier"},
    {"name": "n", "kind": "numeric", "low": "-1000", "high": "1000", "clamp": True, "fill": "0"},
    {"name": "c", "kind": "categorical", "categories": ["a", "b"], "fill": "a"},
    {"name": "t", "kind": "tensor", "shape": [2], "low": "0", "high": "1", "clamp": True, "fill": "0"},
)


def files() -> list[bytes]:
    """Honest files of several makes."""
    count = 50
    table = pa.table(
        {
            "id": [f"p{number}" for number in range(count)],
            "n": pa.array([None if number % 7 == 0 else float(number) for number in range(count)]),
            "c": pa.array(["a", "b"] * (count // 2)).dictionary_encode(),
            "t": pa.array([[0.0, 1.0]] * count, pa.list_(pa.float32(), 2)),
        }
    )
    makes: list[dict[str, Any]] = [
        {"compression": "none"}, {"compression": "zstd", "data_page_version": "2.0"}, {"use_dictionary": False},
        {"row_group_size": 7, "write_page_index": True},
    ]  # fmt: skip
    written = []
    for make in makes:
        sink = io.BytesIO()
        pq.write_table(table, sink, **make)
        written.append(sink.getvalue())
    return written


def altered(data: bytes, source: random.Random) -> bytes:
    """One to four bytes changed, or a piece cut out, doubled or overwritten."""
    changed = bytearray(data)
    for _ in range(source.randint(1, 4)):
        place = source.randrange(len(changed))
        match source.randrange(6):
            case 0:
                del changed[place : place + source.randint(1, 40)]
            case 1:
                changed[place:place] = changed[place : place + source.randint(1, 40)]
            case 2:
                changed[place : place + 4] = b"\xff\xff\xff\x7f"
            case _:
                changed[place] ^= 1 << source.randrange(8)
        if not changed:
            return b""
    return bytes(changed)


def main(seed: int, cases: int) -> None:
    """Run; print the counts as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    source, honest = random.Random(seed), files()
    counts = {"sealed": 0, "refused": 0, "memory": 0}
    with tempfile.TemporaryDirectory() as name:
        for number in range(cases):
            try:
                answer = ingest_here(Path(name), altered(honest[number % len(honest)], source), TABLE, "parquet")
            except MemoryError:
                counts["memory"] += 1
                continue
            counts["sealed" if isinstance(answer, Sealed) else "refused"] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
