"""What the API process and the worker know of ingest: formats, problems, assignments, fingerprints."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import pytest

from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import Slug, VersionId
from privacy.ingest.assignment import IngestAssignment
from privacy.ingest.fingerprints import MAGIC, fingerprints_context, list_key, overlap, read_fingerprints
from privacy.ingest.formats import FileForm, Problem, Rule, UploadFormat
from privacy.sealing.chunked import encrypt_bytes
from privacy.sealing.secret import SecretBytes
from tests.support.uploads import TENANT, VERSION, by, schema, staged

KEY = SecretBytes(b"\7" * 32)
AGE = {"name": "age", "kind": "numeric", "low": "0", "high": "120"}


def test_what_the_api_imports_is_light() -> None:
    """Formats, assignment and fingerprints bring neither pyarrow nor numpy with them."""
    code = (
        "import sys, privacy.ingest.formats, privacy.ingest.assignment, privacy.ingest.fingerprints;"
        "sys.exit(any(name.partition('.')[0] in ('pyarrow', 'numpy', 'torch') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("form", list(FileForm))
def test_a_format_survives_storage(form: FileForm) -> None:
    """What is stored with a version is read back as it was."""
    stored = UploadFormat.of(form.value, header=False, delimiter=";").to_json()
    assert UploadFormat.from_json(stored).to_json() == stored


def test_settings_of_csv_do_not_concern_other_forms() -> None:
    """A query has defaults for header and delimiter; JSON Lines has neither."""
    assert UploadFormat.of("jsonl", header=False, delimiter="|") == UploadFormat.of("jsonl")


@pytest.mark.parametrize(
    ("form", "options", "field"),
    [
        ("xlsx", {}, "format"),
        ("parquet", {"gzip": True}, "gzip"),
        *(("csv", {"delimiter": wrong}, "delimiter") for wrong in ('"', "\n", "\r", "\0", "", ",,", "§")),
    ],
)
def test_a_format_that_cannot_be_read_is_refused_by_name(form: str, options: dict[str, Any], field: str) -> None:
    """The error names the setting."""
    with pytest.raises(InvalidError) as caught:
        UploadFormat.of(form, **options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "body", [None, {}, {"form": "csv"}, {"form": "csv", "header": 1, "delimiter": ",", "gzip": False}]
)
def test_a_stored_format_of_another_shape_is_refused(body: Any) -> None:
    """Members, types and values are checked."""
    with pytest.raises(InvalidError):
        UploadFormat.from_json(body)


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_has_a_name_that_the_log_takes(rule: Rule) -> None:
    """The log keeps a rule as a slug."""
    assert Slug(rule.value) == rule.value


def test_a_problem_has_no_room_for_a_value() -> None:
    """Row, column, rule: an unknown member, or a rule of its own, is refused."""
    problem = Problem(3, "age", Rule.OUT_OF_BOUNDS)
    assert Problem.from_json(problem.to_json()) == problem
    for wrong in ({"value": "41"}, {"rule": "41 is out of bounds"}, {"row": 0}, {"column": "a\nb"}):
        with pytest.raises(InvalidError):
            Problem.from_json({**problem.to_json(), **wrong})


def test_an_assignment_survives_the_pipe(tmp_path: Any) -> None:
    """Written by the worker, read in the child, equal."""
    assignment = staged(tmp_path, b"age\n1\n", schema(AGE), holdout="0.2")
    assert IngestAssignment.from_bytes(assignment.to_bytes()) == assignment


def test_an_assignment_whose_unit_is_no_identifier_cannot_be_built(tmp_path: Any) -> None:
    """A unit is named by an identifier; an age names nobody."""
    with pytest.raises(InvalidError):
        staged(tmp_path, b"", schema(AGE), unit=by("age"))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"v":1}', b"\xff", b"null"])
def test_another_assignment_is_refused(data: bytes) -> None:
    """Members and version are exactly those of the page."""
    with pytest.raises(PrivgateError):
        IngestAssignment.from_bytes(data)


# --- fingerprints ----------------------------------------------------------------------------------------------------


def _list(*marks: int) -> bytes:
    body = MAGIC + b"".join(mark.to_bytes(16, "big") for mark in marks)
    return encrypt_bytes(body, list_key(KEY), fingerprints_context(TENANT, VERSION))


def _read(sealed: bytes, version: VersionId = VERSION) -> list[bytes]:
    return list(read_fingerprints(io.BytesIO(sealed), list_key(KEY), TENANT, version))


def test_a_list_is_read_in_order() -> None:
    """Zero is a fingerprint too; lists may be longer than what is read at once."""
    assert _read(_list(0, 1, 2**127)) == [number.to_bytes(16, "big") for number in (0, 1, 2**127)]
    assert len(_read(_list(*range(10_000)))) == 10_000
    assert _read(_list()) == []


@pytest.mark.parametrize("marks", [(2, 1), (1, 1)])
def test_a_list_that_does_not_rise_is_corrupt(marks: tuple[int, ...]) -> None:
    """Comparing by merging would miss an overlap in it."""
    with pytest.raises(CorruptError):
        _read(_list(*marks))


def test_a_list_opens_only_in_its_place() -> None:
    """Another version's list, another form, and an altered list do not open."""
    sealed = _list(1, 2, 3)
    with pytest.raises(CorruptError):
        _read(sealed, VersionId("ver_" + "z" * 26))
    with pytest.raises(CorruptError):
        _read(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(CorruptError):
        _read(encrypt_bytes(MAGIC + b"x", list_key(KEY), fingerprints_context(TENANT, VERSION)))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([], [], False),
        ([1], [], False),
        ([1, 3, 5], [2, 4, 6], False),
        ([1, 3, 5], [5], True),
        ([9], [1, 2, 9], True),
        ([1, 2, 3], [4, 5, 6], False),
    ],
)
def test_overlap_is_a_common_member(ours: list[int], theirs: list[int], expected: bool) -> None:
    """Whichever list is longer or begins first."""
    left, right = ([bytes([number]) for number in numbers] for numbers in (ours, theirs))
    assert overlap(left, right) is overlap(right, left) is expected
