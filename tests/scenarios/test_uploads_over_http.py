"""Uploads as their owner sees them: sealed, refused with places and rules, or met in another population.

What the owner learns is compared with what everybody else can: the log, other people, the files on disk.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.api import House, dataset_body, done, house, population_body, refused, rows_csv, worker_of

SECRET = "Zaphod-4711"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose purposes are declared."""
    with house(tmp_path_factory.mktemp("uploads") / "home") as made:
        done(made["admin"].post("/v1/purposes", {"purpose": "research", "within": []}), 201)
        yield made


def _dataset(made: House, population: str | None = None, who: str = "owner", **changes: Any) -> str:
    owner = made[who]
    population = population or done(owner.post("/v1/populations", population_body()), 201)["population"]
    return str(done(owner.post("/v1/datasets", dataset_body(population, **changes)), 201)["dataset"])


def _upload(made: House, dataset: str, data: bytes, query: str = "", who: str = "owner") -> Any:
    """Send, let the worker act, and look as the owner."""
    sent = made[who].put(f"/v1/datasets/{dataset}/content{query}", content=data)
    done(sent, 202)
    assert worker_of(made).step()
    return done(made[who].get(sent.headers["location"]))


def _rows(first: int, last: int) -> bytes:
    """A part of the small table: the owner's populations must not meet by accident."""
    header, *rows = rows_csv(last).splitlines(keepends=True)
    return b"".join([header, *rows[first:]])


def _refusals(made: House) -> list[dict[str, Any]]:
    return [entry["fields"] for entry in made.log() if entry["type"] == "version:refused"]


def _blobs(made: House) -> list[Path]:
    folder = made.gateway.settings.home
    return [path for path in folder.rglob("*") if path.is_file() and "ver_" in str(path)]


def test_a_broken_upload_is_refused_with_places_for_its_owner_alone(hospital: House) -> None:
    """The owner reads row, column and rule; the log has the first rule; the value is nowhere, the raw file is gone."""
    dataset = _dataset(hospital)
    before = _blobs(hospital)
    data = f"age,dose,outcome\n12,0.5,well\n{SECRET},0.5,well\n13,7,{SECRET}\n".encode()
    version = _upload(hospital, dataset, data)
    assert version["state"] == "refused"
    assert version["problems"] == {
        "more": False,
        "problems": [
            {"row": 2, "column": "age", "rule": "not-a-number"},
            {"row": 3, "column": "dose", "rule": "out-of-bounds"},
            {"row": 3, "column": "outcome", "rule": "not-listed"},
        ],
    }
    [fields] = [fields for fields in _refusals(hospital) if fields["dataset"] == dataset]
    assert fields == {"dataset": dataset, "rule": "not-a-number", "version": version["version"]}
    assert SECRET not in str(hospital.log())
    assert _blobs(hospital) == before
    destroyed = [e["fields"]["dek"] for e in hospital.log() if e["type"] == "dek:destroyed"]
    staged = [e["fields"]["dek"] for e in hospital.log() if e["type"] == "version:staged"]
    assert staged[-1] in destroyed
    for other in ("admin", "trainer", "other-owner", "auditor"):
        path = f"/v1/datasets/{dataset}/versions/{version['version']}"
        refused(hospital[other].get(path), 403, "denied")


def test_after_a_refusal_a_mended_file_is_sealed(hospital: House) -> None:
    """A refusal leaves the dataset where it was; each form is taken."""
    dataset = _dataset(hospital)
    assert _upload(hospital, dataset, b"")["problems"]["problems"][0]["rule"] == "empty-file"
    assert _upload(hospital, dataset, _rows(1000, 1040))["state"] == "sealed"
    table = pa.table({"age": [1.5, 2.5], "dose": [0.25, 0.75], "outcome": ["well", "ill"]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    parquet = _upload(hospital, dataset, sink.getvalue(), "?format=parquet")
    assert (parquet["state"], sum(parquet["rows"].values())) == ("sealed", 2)
    lines = b"\n".join(b'{"age":%d,"dose":0.5,"outcome":"ill"}' % age for age in (3, 4, 5))
    packed = _upload(hospital, dataset, gzip.compress(lines), "?format=jsonl&gzip=true")
    assert (packed["state"], sum(packed["rows"].values())) == ("sealed", 3)


def test_units_that_are_in_another_population_of_the_owner_refuse_the_seal(hospital: House) -> None:
    """One record in common is enough, in any order of rows; nobody else learns which, nor that there were others."""
    first, second = _dataset(hospital), _dataset(hospital)
    assert _upload(hospital, first, _rows(0, 200))["state"] == "sealed"
    assert _upload(hospital, second, _rows(200, 300))["state"] == "sealed"
    # The version that they were in need not be the newest one: what was spent stays spent.
    assert _upload(hospital, first, _rows(0, 2))["state"] == "sealed"
    assert _upload(hospital, second, _rows(200, 202))["state"] == "sealed"
    third = _dataset(hospital)
    version = _upload(hospital, third, _rows(300, 310) + _rows(17, 18).partition(b"\n")[2])
    assert version["state"] == "refused"
    rule = "overlaps-another-population"
    assert version["problems"] == {"more": False, "problems": [{"row": None, "column": None, "rule": rule}]}
    assert [fields["rule"] for fields in _refusals(hospital) if fields["dataset"] == third] == [rule]


def test_the_same_units_are_welcome_in_their_own_population(hospital: House) -> None:
    """A second dataset, or a new version, of one population draws on the same budget: no overlap to refuse."""
    population = done(hospital["owner"].post("/v1/populations", population_body()), 201)["population"]
    data = _rows(800, 900)
    first, second = _dataset(hospital, population), _dataset(hospital, population)
    one, two, again = (_upload(hospital, dataset, data) for dataset in (first, second, first))
    assert [version["state"] for version in (one, two, again)] == ["sealed"] * 3
    assert one["rows"] == two["rows"] == again["rows"]


def test_what_another_owner_has_is_not_told(hospital: House) -> None:
    """The same rows at another owner are sealed: the overlap would tell one owner about the other's."""
    dataset = _dataset(hospital, who="other-owner")
    assert _upload(hospital, dataset, rows_csv(300), who="other-owner")["state"] == "sealed"


@pytest.mark.parametrize(
    ("data", "query", "rule"),
    [
        (gzip.compress(b"age,dose,outcome\n" + b"0" * 50_000_000), "?gzip=true", "row-too-long"),
        (b'{"age":' + b"[" * 100_000, "?format=jsonl", "not-this-form"),
        (b"PAR1" + bytes(100) + b"PAR1", "?format=parquet", "not-this-form"),
    ],
)  # fmt: skip
def test_a_bomb_is_a_refusal_and_the_worker_goes_on(hospital: House, data: bytes, query: str, rule: str) -> None:
    """Whatever an upload does to its child, the same worker seals the next one."""
    dataset = _dataset(hospital)
    version = _upload(hospital, dataset, data, query)
    assert [problem["rule"] for problem in version["problems"]["problems"]] == [rule]
    good = f"age,dose,outcome\n33,0.{len(data)},ill\n".encode()
    assert _upload(hospital, dataset, good)["state"] == "sealed"


def test_a_parquet_file_that_expands_to_two_gigabytes(hospital: House) -> None:
    """Half a kilobyte; refused in the child, with the gateway alive."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array(["x" * 10**6]))
    zeros = pa.array([0.0] * 2000)
    sink = io.BytesIO()
    pq.write_table(pa.table({"age": zeros, "dose": zeros, "outcome": text}), sink, compression="zstd")
    version = _upload(hospital, _dataset(hospital), sink.getvalue(), "?format=parquet")
    assert version["state"] == "refused"
    assert version["problems"]["problems"][0]["rule"] in ("too-much-memory", "did-not-finish")
