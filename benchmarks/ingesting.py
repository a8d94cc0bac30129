"""`ingest_rows_per_s` and `ingest_peak_mb`: from a staged CSV to sealed parts, in the confined child.

Each run is a process of its own, so that the peak of its children is the ingest child's:
`python -m benchmarks.ingesting ROWS` prints seconds and peak.
"""

from __future__ import annotations

import io
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.lines import Line

ROWS = 500_000
RUNS = 3
COLUMNS = 10


def measure() -> Iterator[Line]:
    """Median over runs."""
    found = [_in_process(ROWS) for _ in range(RUNS)]
    case = f"CSV, {ROWS} rows x {COLUMNS} columns, unit = record"
    rate = ROWS / statistics.median(seconds for seconds, _ in found)
    yield Line(quantity="ingest_rows_per_s", case=case, value=rate, unit="rows/s")
    peak = max(peak for _, peak in found)
    yield Line(quantity="ingest_peak_mb", case=case, value=peak, unit="MB")


def csv_rows(rows: int) -> Iterator[bytes]:
    """Lines of a table: eight numbers, a category, a yes or no; no two rows alike."""
    draw = random.Random(1)
    yield (",".join([f"n{i}" for i in range(COLUMNS - 2)] + ["kind", "ill"]) + "\n").encode()
    for number in range(rows):
        numbers = [f"{number}.5", *(f"{draw.random() * 100:.3f}" for _ in range(COLUMNS - 3))]
        yield (",".join([*numbers, draw.choice("abc"), draw.choice(("yes", "no"))]) + "\n").encode()


def schema(rows: int) -> dict[str, object]:
    """Its declaration."""
    numeric = [
        {"name": f"n{i}", "kind": "numeric", "low": "0", "high": str(max(rows, 100))} for i in range(COLUMNS - 2)
    ]
    kinds = {"name": "kind", "kind": "categorical", "categories": ["a", "b", "c"]}
    return {"columns": [*numeric, kinds, {"name": "ill", "kind": "categorical", "categories": ["no", "yes"]}]}


def _in_process(rows: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.ingesting", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = json.loads(done.stdout)
    return seconds, peak


def main(rows: int) -> None:
    """Seal one upload and print seconds and the child's peak in MB."""
    from benchmarks.house import House

    with tempfile.TemporaryDirectory(prefix="privgate-bench-") as name:
        house = House.build(Path(name))
        dataset = house.dataset(schema(rows), 100_000, "3", "0.0000001")
        content = io.BytesIO(b"".join(csv_rows(rows)))
        version = house.stage(dataset, content)
        start = time.perf_counter()
        house.worker.step()
        seconds = time.perf_counter() - start
        house.require_sealed(version)
        house.gateway.close()
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]))


if __name__ == "__main__":
    main(int(sys.argv[1]))
