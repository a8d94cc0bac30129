"""The report: a function of archive, period and frameworks; signed, derived again, and compared byte for byte."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from audit.archive import Archive
from compliance.framework_file import framework, frameworks
from compliance.render.html import render
from compliance.report import (
    CANNOT_SHOW,
    PAYLOAD_TYPE,
    Period,
    Report,
    build_report,
    rederive,
    require_rederived,
    sign,
    verify,
)
from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError
from kernel.ids import Slug
from kernel.signing import Ed25519Signer, Envelope
from tests.support.cycles import Cycle
from tests.support.forgeries import Story, forge

FORBIDDEN = ("compliant", "certified", "guaranteed", "anonymous", "in order.")
HERE = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def report(cycle: Cycle) -> Report:
    """The report on the whole cycle."""
    return build_report(Archive.open(cycle.bundle))


def test_a_report_opens_with_what_it_cannot_show(report: Report) -> None:
    """Its first part, in the order of its bytes too, is what it leaves open."""
    assert report.to_bytes().startswith(b'{"cannot_show":["What was never logged')
    assert report.body["cannot_show"] == list(CANNOT_SHOW)


def test_the_same_archive_gives_the_same_bytes(cycle: Cycle, report: Report) -> None:
    """Twice in one process."""
    assert build_report(Archive.open(cycle.bundle)).to_bytes() == report.to_bytes()


@pytest.mark.parametrize("seed", ["1", "4711"])
def test_other_processes_give_the_same_bytes(seed: str, cycle: Cycle, report: Report) -> None:
    """With other hash seeds, another time zone and another locale."""
    code = (
        "import sys; from pathlib import Path; from audit.archive import Archive;"
        "from compliance.report import build_report; from compliance.render.html import render;"
        "report = build_report(Archive.open(Path(sys.argv[1])));"
        "from kernel.canonical import Digest; print(report.digest, Digest.of(render(report).encode()))"
    )
    around = os.environ | {"PYTHONHASHSEED": seed, "TZ": "Asia/Shanghai", "LC_ALL": "C", "PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", code, str(cycle.bundle)]
    answers = subprocess.run(command, env=around, capture_output=True, text=True, check=True, cwd=HERE).stdout.split()
    assert answers == [report.digest, Digest.of(render(report).encode())]


def test_a_later_archive_gives_the_report_of_an_earlier_size(cycle: Cycle, report: Report) -> None:
    """What came after the stated tree size is not looked at: the report can be derived again for ever."""
    archive = Archive.open(cycle.bundle)
    half = build_report(archive, Period(0, report.period.until_size // 2))  # type: ignore[operator]
    assert half.to_bytes() != report.to_bytes()
    assert rederive(archive, half).to_bytes() == half.to_bytes()
    require_rederived(archive, half)


def test_the_issued_report_is_the_archives_own(cycle: Cycle) -> None:
    """What the gateway signed and stored, the exported archive gives again, though it is larger by now."""
    envelope = Envelope.from_bytes((cycle.bundle / "report.json").read_bytes())
    stated = verify(envelope, cycle.trust.report_keys)
    archive = Archive.open(cycle.bundle)
    require_rederived(archive, stated)
    assert build_report(archive).period != stated.period


def test_the_root_in_the_scope_is_that_of_the_period(cycle: Cycle, report: Report) -> None:
    """The scope ties the report to one tree: the root of the period's end, made from the leaves."""
    note = (cycle.bundle / "audit/checkpoint").read_text().split("\n")
    scope = report.body["scope"]
    assert scope["until_size"] == int(note[1])
    assert Digest(scope["root"]).raw == base64.b64decode(note[2])


def test_another_history_gives_another_report(cycle: Cycle, report: Report, tmp_path: Path) -> None:
    """A report does not fit the archive of a history that was told differently; the part that differs is named."""

    def change(story: Story) -> None:
        story.first("log:read").fields["count"] = 4

    with pytest.raises(CorruptError) as refused:
        require_rederived(Archive.open(forge(cycle, tmp_path / "bundle", change)), report)
    assert refused.value.field == "scope"


def test_a_changed_verdict_is_not_rederived(cycle: Cycle, report: Report) -> None:
    """Whoever signs a nicer report than the archive gives is contradicted by the archive."""
    body = json.loads(report.to_bytes())
    body["summary"]["pass"] += 1
    with pytest.raises(CorruptError, match="another report"):
        require_rederived(Archive.open(cycle.bundle), Report(body))


def test_a_changed_framework_is_not_quietly_used(cycle: Cycle, report: Report) -> None:
    """A report names the digest of each mapping; with another content it cannot be derived here, and that is said."""
    body = json.loads(report.to_bytes())
    body["frameworks"][0]["digest"] = "sha256:" + "0" * 64
    with pytest.raises(InvalidError, match="changed since"):
        rederive(Archive.open(cycle.bundle), Report(body))
    body["frameworks"][0]["id"] = "another-law"
    with pytest.raises(InvalidError, match="does not have"):
        rederive(Archive.open(cycle.bundle), Report(body))


def test_a_signed_report_is_read_with_a_trusted_key_alone(report: Report) -> None:
    """Another key, another payload type and a flipped byte are all refused."""
    signer, stranger = Ed25519Signer(bytes(32)), Ed25519Signer(bytes(31) + b"\x01")
    envelope = sign(report, signer)
    assert envelope.payload_type == PAYLOAD_TYPE
    assert verify(envelope, [signer.public_key]).to_bytes() == report.to_bytes()
    with pytest.raises(CorruptError):
        verify(envelope, [stranger.public_key])
    forged = Envelope(PAYLOAD_TYPE, envelope.payload.replace(b'"fail":0', b'"fail":1', 1), envelope.signatures)
    with pytest.raises(CorruptError):
        verify(forged, [signer.public_key])


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"format":"privgate/report/v2"}', b'{"format":"privgate/report/v1"}'])
def test_what_is_no_report_is_refused(data: bytes) -> None:
    """Another format, or a report without its parts."""
    with pytest.raises(InvalidError):
        Report.parse(data)


@pytest.mark.parametrize("part", ["scope", "frameworks"])
@pytest.mark.parametrize("instead", [None, 7, "text", [7], {"from_size": "0", "until_size": 1}])
def test_a_report_of_another_form_is_refused(part: str, instead: object, report: Report) -> None:
    """A stranger's statement that looks like a report ends in an error of ours, never in one of Python's."""
    body = json.loads(report.to_bytes()) | {part: instead}
    with pytest.raises(InvalidError):
        Report.parse(Report(body).to_bytes())


@pytest.mark.parametrize("period", [Period(5, 4), Period(0, 10**9), Period(-1, 3)])
def test_a_period_lies_within_the_archive(period: Period, cycle: Cycle) -> None:
    """A period ends after it begins, and no later than the archive."""
    with pytest.raises(InvalidError):
        build_report(Archive.open(cycle.bundle), period)


def test_frameworks_can_be_chosen_and_the_evidence_stays(cycle: Cycle, report: Report) -> None:
    """What the evidence is mapped to changes the mapping and nothing else."""
    one = build_report(Archive.open(cycle.bundle), Period(), frameworks(["gdpr"]))
    assert [f["id"] for f in one.body["frameworks"]] == ["gdpr"]
    assert one.body["checks"] == report.body["checks"]


def test_a_control_is_as_good_as_its_worst_check(cycle: Cycle, tmp_path: Path) -> None:
    """One check that fails makes fail every control that rests on it, and no other."""
    bundle = forge(
        cycle, tmp_path / "bundle", lambda s: s.first("dataset:registered").fields.update(purposes=["marketing"])
    )
    body = build_report(Archive.open(bundle)).body
    verdicts = {check["check"]: check["verdict"] for check in body["checks"]}
    assert verdicts["purpose.at-use"] == "fail"
    for found in body["frameworks"]:
        for control in found["controls"]:
            of_checks = {verdicts[check] for check in control["checks"]}
            worst = next(v for v in ("fail", "cannot-tell", "pass") if v in of_checks)
            assert control["verdict"] == worst


def test_no_float_and_no_praise_in_it(report: Report) -> None:
    """Amounts are decimal text; the program never says that somebody is in order."""
    _no_floats(json.loads(report.to_bytes()))
    written = report.to_bytes().decode().lower()
    titles = [framework(Slug(f["id"])).title.lower() for f in report.body["frameworks"]]
    for title in titles:
        written = written.replace(title, "")
    assert not [word for word in FORBIDDEN if word in written]


def test_names_of_people_and_texts_are_not_in_it(report: Report) -> None:
    """Identifiers stand for people and datasets; titles, names and rows are not in a report."""
    written = report.to_bytes().decode()
    for name in ("Test hospital", "Doses and outcomes", "age,dose"):
        assert name not in written


def test_releases_are_listed_with_what_they_cost(report: Report) -> None:
    """Each release stands there with its epsilon, its charge and where it stands."""
    listed: list[dict[str, Any]] = report.body["overview"]["releases"]
    assert sorted(release["state"] for release in listed) == ["refused", "released", "released"]
    (population,) = report.body["overview"]["populations"]
    charged = sum(float(release["charge"]) for release in listed if release["kind"] == "training")
    blocks = {block["block"]: float(block["charged"]) for block in population["blocks"]}
    assert blocks["train"] == pytest.approx(charged)


def _no_floats(value: object) -> None:
    assert not isinstance(value, float)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _no_floats(part)
