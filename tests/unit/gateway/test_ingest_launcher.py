"""What a child answers is read as what a hostile program wrote."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.launchers.ingest import FREE_OUTPUT, OUTPUT_RATIO, Refused, _answer, _limits
from gateway.services.seal_version import SealedFiles, Staged
from kernel import canonical
from kernel.errors import PrivgateError
from privacy.ingest.formats import MOST_PROBLEMS, Problem, Rule
from privacy.sandbox.limits import Limits
from privacy.sealing.manifest import PartAddress, Split
from tests.support.uploads import DATASET, TENANT, VERSION

OF_VERSION = cast(Staged, SimpleNamespace(version=SimpleNamespace(tenant=TENANT, dataset=DATASET, id=VERSION)))
DIGEST = "sha256:" + "0" * 64
ADDRESS = PartAddress.numbered(TENANT, DATASET, VERSION, Split.TRAIN, 0)
PART = {"aad": ADDRESS.aad, "bytes": 10, "digest": DIGEST, "name": "train-00000", "rows": 1, "split": "train"}
PROBLEM = {"column": None, "row": 1, "rule": "not-listed"}


def _read(message: Any, body: Any, **header: Any) -> SealedFiles | Refused:
    encoded = body if isinstance(body, bytes) else canonical.encode(body)
    return _answer({"m": message, **header}, encoded, OF_VERSION, Path("/nowhere"))


def test_what_an_honest_child_answers() -> None:
    """Parts and a digest, or problems."""
    sealed = _read("sealed", {"parts": [PART], "fingerprints": DIGEST, "homes": DIGEST})
    assert isinstance(sealed, SealedFiles)
    assert [part.to_json() for part in sealed.parts] == [PART]
    refused = _read("refused", {"problems": [PROBLEM], "more": True})
    assert refused == Refused([Problem(1, None, Rule.NOT_LISTED)], more=True)


def test_no_more_problems_are_kept_than_a_child_may_send() -> None:
    """An owner's page is not a place to store what a program likes."""
    refused = _read("refused", {"problems": [PROBLEM] * 5000, "more": False})
    assert isinstance(refused, Refused)
    assert len(refused.problems) == MOST_PROBLEMS


@pytest.mark.parametrize(
    ("message", "body"),
    [
        ("sealed", b"not json"),
        ("sealed", []),
        ("sealed", {}),
        ("sealed", {"parts": 7, "fingerprints": DIGEST, "homes": DIGEST}),
        ("sealed", {"parts": [7], "fingerprints": DIGEST, "homes": DIGEST}),
        ("sealed", {"parts": [PART], "fingerprints": "sha256:short", "homes": DIGEST}),
        ("sealed", {"parts": [PART], "fingerprints": None, "homes": DIGEST}),
        ("sealed", {"parts": [PART], "fingerprints": DIGEST}),
        *(
            ("sealed", {"parts": [{**PART, **change}], "fingerprints": DIGEST, "homes": DIGEST})
            for change in (
                {"name": "../../etc/passwd"},
                {"name": "fingerprints"},
                {"name": "holdout-00000"},
                {"split": "both"},
                {"rows": -1},
                {"rows": "many"},
                {"bytes": 0},
                {"aad": "train-00000"},
                {"aad": ADDRESS.aad.replace("c" * 26, "z" * 26)},
                {"extra": 1},
            )
        ),
        ("refused", {"problems": None, "more": False}),
        ("refused", {"problems": [{**PROBLEM, "value": "secret"}], "more": False}),
        ("refused", {"problems": [{**PROBLEM, "rule": "row 7 says secret"}], "more": False}),
        ("refused", {"problems": [{**PROBLEM, "column": "x" * 500}], "more": False}),
        ("refused", {"problems": []}),
        ("result", {}),
        (None, {}),
    ],
)
def test_any_other_answer_is_an_error_that_refuses_the_upload(message: Any, body: Any) -> None:
    """Names of files, places, counts and rules are all looked at; the error says nothing of the answer."""
    with pytest.raises(PrivgateError) as caught:
        _read(message, body)
    assert "secret" not in caught.value.message


def test_a_small_upload_may_not_fill_the_disk() -> None:
    """What a child may write grows with the file, up to what the operator allows."""
    most = Limits(memory_bytes=2**30, cpu_seconds=1, wall_seconds=1, output_bytes=2**33)
    assert _limits(most, 1000).output_bytes == FREE_OUTPUT + OUTPUT_RATIO * 1000
    assert _limits(most, 2**32) == most
