"""`make bench`: every quantity of the cycle, as JSON lines on the screen and in `results/cycle.jsonl`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks import ingesting, ledgers, overhead, parquet, serving, verifying
from benchmarks.lines import Line, machine, write
from kernel.errors import NotFoundError

MODULES = (ledgers, serving, parquet, ingesting, verifying, overhead)


def measured() -> Iterator[Line]:
    """Measure everything; what needs data that are not here is skipped and said."""
    for module in MODULES:
        try:
            yield from module.measure()
        except NotFoundError as error:
            sys.stderr.write(f"{module.__name__} is skipped: {error.message}\n")


def main() -> None:
    """Measure, print, keep."""
    sys.stderr.write(f"on {machine()}\n")
    lines = []
    for line in measured():
        print(line.text(), flush=True)
        lines.append(line)
    write("cycle", lines)


if __name__ == "__main__":
    main()
