"""Memory does not grow with the file: a large table through the confined child, whose address space is the limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from privacy.sealing.manifest import Split
from tests.support.uploads import LIMITS, MIB, RECORD, by, schema, sealed

ROWS = 1_500_000
NUMBERS = [{"name": f"n{number}", "kind": "numeric", "low": "-10", "high": "10"} for number in range(8)]
TABLE = schema(
    {"name": "mrn", "kind": "identifier"},
    {"name": "color", "kind": "categorical", "categories": ["red", "green", "blue"]},
    *NUMBERS,
)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of 150 MB: 1.5 million visits of half a million patients."""
    path = tmp_path_factory.mktemp("large") / "visits.csv"
    with path.open("w") as file:
        file.write(",".join(column.name for column in TABLE.columns) + "\n")
        for row in range(ROWS):
            value = f"{(row * 7919 % 20001 - 10000) / 1000:.8f}"
            file.write(f"patient-{row * 31 % 500_000:08d},{('red', 'green', 'blue')[row % 3]}" + f",{value}" * 8 + "\n")
    assert path.stat().st_size > 150 * 10**6
    return path


@pytest.mark.slow
@pytest.mark.parametrize("unit", [RECORD, by("mrn", 2)], ids=["record", "patient"])
def test_a_large_upload_in_480_mib_of_address_space(large: Path, tmp_path: Path, unit: object) -> None:
    """Of which the libraries take three fifths before the first byte is read; every row is accounted for."""
    limits = replace(LIMITS, output_bytes=1024 * MIB, cpu_seconds=300, wall_seconds=600)
    answer = sealed(tmp_path, large, TABLE, unit=unit, holdout="0.2", limits=limits)
    rows = {part.split: part.rows for part in answer.parts}
    kept = ROWS if unit is RECORD else 2 * 500_000
    assert rows[Split.TRAIN] + rows[Split.HOLDOUT] == kept
    assert abs(rows[Split.HOLDOUT] / kept - 0.2) < 0.005
    assert len(answer.fingerprints) == (len(set(answer.fingerprints)) if unit is RECORD else 500_000)


def test_a_table_of_as_many_columns_as_a_schema_may_have(tmp_path: Path) -> None:
    """4,096 columns: the library must not keep a block of the file for each of them."""
    names = [f"c{number}" for number in range(4096)]
    wide = schema(*({"name": name, "kind": "numeric", "low": "0", "high": "9"} for name in names))
    lines = [",".join(str((row + place) % 10) for place in range(4096)) for row in range(40)]
    answer = sealed(tmp_path, "\n".join([",".join(names), *lines]).encode(), wide, holdout="0.5")
    assert sum(part.rows for part in answer.parts) == 40
    assert sorted(answer.table()["c7"].to_pylist()) == sorted(float((row + 7) % 10) for row in range(40))


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_tensors_of_a_quarter_of_a_million_elements(tmp_path: Path, form: str) -> None:
    """Few of them are in memory at once, however many a block of the file holds."""
    images = schema({"name": "t", "kind": "tensor", "shape": [512, 512], "low": "0", "high": "1"})
    cells = ["0.5"] * 512 * 512
    line = " ".join(cells) if form == "csv" else '{"t":[' + ",".join(cells) + "]}"
    data = ("t\n" if form == "csv" else "") + f"{line}\n" * 12
    assert sealed(tmp_path, data.encode(), images, form).parts[0].rows == 12
