"""A released evaluation is computed again by whoever verifies it: from its own numbers, against what was charged.

The forgeries are signed with the gateway's own keys: log, certificate, card and receipt agree with the forged file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.findings import Verdict
from audit.trust import LastSeen, TrustFile
from kernel import canonical
from kernel.canonical import Digest
from privacy.evaluation.design import Design
from privacy.evaluation.report import evaluation_bytes
from privgate.verify import verify_bundle
from tests.support.cycles import Cycle
from tests.support.forgeries import Story, forge

FILE = "evaluation/evaluation.json"


def _flattered(body: dict[str, Any]) -> bytes:
    return canonical.encode(body | {"accuracy": body["accuracy"] | {"value": "0.9999"}})


def _narrow(body: dict[str, Any]) -> bytes:
    """Less noise stated than was charged, and every figure computed from that."""
    design, numbers = Design.from_json(body)
    quiet = tuple(replace(vector, noise=type(vector.noise)("0.01")) for vector in design.vectors)
    return evaluation_bytes(replace(design, vectors=quiet), numbers)


def _fewer(body: dict[str, Any]) -> bytes:
    design, numbers = Design.from_json(body)
    return evaluation_bytes(replace(design, vectors=design.vectors[:1]), numbers[:1])


def _of_another(body: dict[str, Any]) -> bytes:
    design, numbers = Design.from_json(body)
    return evaluation_bytes(replace(design, release=type(design.release)("rel_" + "b" * 26)), numbers)


def _of_more_rows(body: dict[str, Any]) -> bytes:
    design, numbers = Design.from_json(body)
    return evaluation_bytes(replace(design, rows_per_unit=3), numbers)


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], bytes], str]] = {
    "flattered": (_flattered, "does not follow"),
    "narrow": (_narrow, "not the noise that was charged"),
    "fewer": (_fewer, "more or fewer measures"),
    "of another model": (_of_another, "another model"),
    "of more rows": (_of_more_rows, "rows per unit"),
}


def _changed(cycle: Cycle, target: Path, change: Callable[[dict[str, Any]], bytes]) -> Callable[[Story], None]:
    """Put another evaluation in its place, and its digest wherever the old one stands."""
    old = (cycle.bundle / FILE).read_bytes()
    new = change(json.loads(old))
    before, after = Digest.of(old).hex, Digest.of(new).hex

    def alter(story: Story) -> None:
        (target / FILE).write_bytes(new)
        for entry in story.entries:
            entry.payload = json.loads(json.dumps(entry.payload).replace(before, after))
        text = json.dumps(story.certificates).replace(before, after)
        story.certificates = json.loads(text)

    return alter


@pytest.mark.parametrize("name", FORGERIES)
def test_a_gateway_that_signs_figures_which_do_not_follow_is_caught(cycle: Cycle, tmp_path: Path, name: str) -> None:
    """Everything but the file itself holds; the step says NOT OK and why."""
    change, said = FORGERIES[name]
    target = tmp_path / "forged"
    unpinned: TrustFile = replace(cycle.trust, last_seen=LastSeen())
    verdict = verify_bundle(forge(cycle, target, _changed(cycle, target, change)), unpinned)
    for honest in ("Signatures", "Certificates and log", "Files of release"):
        assert verdict.step(honest).verdict is Verdict.OK, honest
    found = verdict.step("Files of evaluation")
    assert found.verdict is Verdict.NOT_OK
    assert said in " ".join(location.what for location in found.locations)
