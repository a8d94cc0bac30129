"""Every step of the bundle verifier: OK on a real cycle, NOT OK on a mutant, CANNOT TELL where its source is missing.

The mutants of the history are in `test_verify_mutants`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from audit.findings import StepResult, Verdict
from audit.trust import TrustFile
from audit.verify import Outcome
from privgate.verify import BundleVerdict, render, to_json, verify_bundle, write_sums
from privgate.verify.beside import HOLDOUT
from tests.support.cycles import Cycle

STEPS = (
    "Trust anchor",
    "Files",
    "Checkpoint",
    "Growth",
    "Tree",
    "Leaves",
    "Counter",
    "Payloads",
    "Times",
    "Events",
    "Prices",
    "Budgets",
    "Decisions",
    "Permissions",
    "Signatures",
    "Certified figures",
    "Certificates and log",
    "Jobs",
    "Releases",
    "Files of evaluation",
    "Files of release",
    "Report",
    "Files beside the evidence",
)
OF_HISTORY = STEPS[9:19]


@pytest.fixture(scope="session")
def genuine(cycle: Cycle) -> BundleVerdict:
    """What the verifier says of the cycle as it is."""
    return verify_bundle(cycle.bundle, cycle.trust)


def test_a_real_cycle_is_verified_in_every_step(genuine: BundleVerdict) -> None:
    """The steps are numbered without a _gap, in their order, and each is OK."""
    assert [step.title for step in genuine.steps] == list(STEPS)
    assert [step.number for step in genuine.steps] == list(range(1, len(STEPS) + 1))
    assert {step.verdict for step in genuine.steps} == {Verdict.OK}, [s for s in genuine.steps if s.verdict != "OK"]
    assert (genuine.outcome, genuine.ok, genuine.exit_code) == (Outcome.VERIFIED, True, 0)
    assert genuine.trusted


def test_what_was_checked_is_counted_so_that_silence_is_not_agreement(genuine: BundleVerdict, cycle: Cycle) -> None:
    """Each step of the history says how much it looked at, and it was not nothing."""
    for title in OF_HISTORY:
        assert any(int(word) > 0 for word in genuine.step(title).sentence.split() if word.isdigit()), title
    assert genuine.entries == sum(len(f.read_bytes().splitlines()) for f in (cycle.bundle / "audit/payloads").iterdir())


MISSING = {
    "certificates": "Certificates and log",
    "report.json": "Report",
    "report.html": "Report",
    "evidence": "Files beside the evidence",
    "release/receipt.tlog-proof": "Files of release",
    "release/MODEL_CARD.md": "Files of release",
    "release/model.safetensors": "Files of release",
    "evaluation/evaluation.json": "Files of evaluation",
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_source_cannot_be_told(name: str, cycle: Cycle, tmp_path: Path) -> None:
    """Nothing that is absent counts as OK, and nothing else is dragged down with it."""
    bundle = cycle.copy(tmp_path / "bundle")
    gone = bundle / name
    for file in [gone] if gone.is_file() else list(gone.iterdir()):
        file.unlink()
    verdict = verify_bundle(bundle, cycle.trust)
    unsure = {step.title for step in verdict.steps if step.verdict is Verdict.CANNOT_TELL}
    assert MISSING[name] in unsure
    assert unsure <= {MISSING[name], "Report"}
    # The report tells of certificates and evidence: without them it cannot be derived again.
    assert verdict.outcome is Outcome.CANNOT_TELL


def test_an_archive_alone_is_verified_as_far_as_it_goes(cycle: Cycle, tmp_path: Path) -> None:
    """An exported archive without release and report is VERIFIED; that they are not here is said."""
    bundle = tmp_path / "bundle"
    for part in ("audit", "certificates", "evidence"):
        if (cycle.bundle / part).is_dir():
            replace(cycle, bundle=cycle.bundle / part).copy(bundle / part)
    verdict = verify_bundle(bundle, cycle.trust)
    assert {s.title for s in verdict.steps if s.verdict is not Verdict.OK} == {"Files of a release", "Report"}
    assert (verdict.outcome, verdict.absent) == (Outcome.VERIFIED, ("Files of a release", "Report"))
    assert "nothing was checked of it: Files of a release, Report" in render(verdict)
    assert to_json(verdict)["steps"][-2]["verdict"] == "NOT HERE"


@pytest.mark.parametrize("part", ["report.json", "report.html", "release/MODEL_CARD.md", "release/receipt.tlog-proof"])
def test_half_of_a_part_is_not_taken_for_none_of_it(part: str, cycle: Cycle, tmp_path: Path) -> None:
    """One file of a report or of a release makes all of its files missed."""
    bundle = tmp_path / "bundle"
    for folder in ("audit", "certificates", "evidence"):
        if (cycle.bundle / folder).is_dir():
            replace(cycle, bundle=cycle.bundle / folder).copy(bundle / folder)
    (bundle / part).parent.mkdir(exist_ok=True)
    (bundle / part).write_bytes((cycle.bundle / part).read_bytes())
    assert verify_bundle(bundle, cycle.trust).outcome is Outcome.CANNOT_TELL


def test_a_report_is_not_accused_of_what_the_archive_lacks(cycle: Cycle, tmp_path: Path) -> None:
    """It tells of a certificate that is not here, or of an entry that does not open; who lost it cannot be told."""
    bundle = cycle.copy(tmp_path / "bundle")
    next((bundle / "certificates").iterdir()).unlink()
    assert verify_bundle(bundle, cycle.trust).step("Report").verdict is Verdict.CANNOT_TELL
    payloads = cycle.copy(tmp_path / "holes") / "audit/payloads/000000.jsonl"
    payloads.write_bytes(payloads.read_bytes().partition(b"\n")[2])
    verdict = verify_bundle(tmp_path / "holes", cycle.trust)
    assert verdict.step("Report").verdict is Verdict.CANNOT_TELL
    assert verdict.outcome is Outcome.FAILED


@pytest.mark.parametrize("name", ["release", "evaluation"])
def test_a_release_alone_is_verified_as_far_as_it_goes(name: str, cycle: Cycle) -> None:
    """Four files in one directory: certificate, artefact, card and receipt hold; the log's steps cannot tell."""
    verdict = verify_bundle(cycle.bundle / name, cycle.trust)
    assert verdict.step("Files of the release").verdict is Verdict.OK
    assert verdict.step("Files beside the evidence").verdict is Verdict.OK
    assert {verdict.step(title).verdict for title in OF_HISTORY} == {Verdict.CANNOT_TELL}
    assert verdict.outcome is Outcome.CANNOT_TELL


def test_what_is_missing_for_many_steps_is_said_once(cycle: Cycle) -> None:
    """In text; each step is named all the same, and has its own line again where it says something else."""
    verdict = verify_bundle(cycle.bundle / "release", cycle.trust)
    text = render(verdict)
    assert text.count("there is no archive of a log here") == 1
    listed = " ".join(text.split())
    for step in verdict.steps:
        assert f"{step.number} {step.title}" in listed
    assert [step["sentence"] for step in to_json(verdict)["steps"]].count(verdict.step("Tree").sentence) == 18
    whole = render(verify_bundle(cycle.bundle, cycle.trust))
    assert "the same for" not in whole


def test_an_empty_directory_shows_nothing(cycle: Cycle, tmp_path: Path) -> None:
    """Nothing there is nothing wrong, and nothing OK but the anchor."""
    verdict = verify_bundle(tmp_path, cycle.trust)
    assert verdict.outcome is Outcome.CANNOT_TELL
    fine = {step.title for step in verdict.steps if step.verdict is Verdict.OK}
    assert fine == {"Trust anchor", "Files beside the evidence"}


def files_step(bundle: Path, trust: TrustFile, title: str = "Files beside the evidence") -> StepResult:
    """One step's answer."""
    return verify_bundle(bundle, trust).step(title)


def test_an_unexplained_file_cannot_be_told_unless_it_is_listed(cycle: Cycle, tmp_path: Path) -> None:
    """A list of digests covers it against accidents; then altering it is NOT OK, and so is one more."""
    bundle = cycle.copy(tmp_path / "bundle")
    (bundle / "notes.txt").write_text("remember the milk")
    assert files_step(bundle, cycle.trust).verdict is Verdict.CANNOT_TELL
    write_sums(bundle)
    assert files_step(bundle, cycle.trust).verdict is Verdict.OK
    (bundle / "notes.txt").write_text("remember the malt")
    found = files_step(bundle, cycle.trust)
    assert (found.verdict, found.locations[0].file) == (Verdict.NOT_OK, "notes.txt")
    (bundle / "notes.txt").write_text("remember the milk")
    (bundle / "more.txt").write_text("")
    assert files_step(bundle, cycle.trust).locations[0].file == "more.txt"


def test_a_link_is_never_followed(cycle: Cycle, tmp_path: Path) -> None:
    """A link is NOT OK wherever it leads, a released file included."""
    bundle = cycle.copy(tmp_path / "bundle")
    model = bundle / "release/model.safetensors"
    model.rename(tmp_path / "model")
    model.symlink_to(tmp_path / "model")
    verdict = verify_bundle(bundle, cycle.trust)
    assert verdict.step("Files beside the evidence").verdict is Verdict.NOT_OK
    assert verdict.step("Files of release").verdict is Verdict.CANNOT_TELL


def test_a_summary_must_repeat_what_certificate_and_evaluation_say(cycle: Cycle, tmp_path: Path) -> None:
    """Figures that follow from signed files are compared; the others are named as covered by nothing."""
    bundle = cycle.copy(tmp_path / "bundle")
    accuracy = json.loads((bundle / "evaluation/evaluation.json").read_bytes())["accuracy"]["value"]
    true = {
        "public_size": 500,
        "budget_epsilon": "8",
        "accuracy": float(accuracy),
        "measured_on": HOLDOUT,
        "refusals": [],
    }
    (bundle / "summary.json").write_text(json.dumps(true))
    found = files_step(bundle, cycle.trust)
    assert found.verdict is Verdict.OK
    assert "measured_on, refusals" in found.sentence
    for member, value in {"public_size": 400, "budget_epsilon": "7", "accuracy": float(accuracy) + 0.01}.items():
        (bundle / "summary.json").write_text(json.dumps(true | {member: value}))
        assert member in files_step(bundle, cycle.trust).sentence


@pytest.mark.parametrize("junk", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"public_size": {}}', b'{"epsilon": NaN}'])
def test_a_summary_that_is_junk_is_wrong_and_no_crash(junk: bytes, cycle: Cycle, tmp_path: Path) -> None:
    """Whatever lies there, the answer is a list of steps."""
    bundle = cycle.copy(tmp_path / "bundle")
    (bundle / "summary.json").write_bytes(junk)
    assert files_step(bundle, cycle.trust).verdict is Verdict.NOT_OK


def test_files_of_two_releases_cannot_be_exchanged(cycle: Cycle, tmp_path: Path) -> None:
    """A receipt, card or certificate of another release of the same gateway is NOT OK."""
    for name in ("receipt.tlog-proof", "MODEL_CARD.md", "certificate.json"):
        bundle = cycle.copy(tmp_path / name)
        (bundle / "release" / name).write_bytes((bundle / "evaluation" / name).read_bytes())
        assert files_step(bundle, cycle.trust, "Files of release").verdict is Verdict.NOT_OK


def test_a_page_that_tells_more_than_the_report_is_not_ok(cycle: Cycle, tmp_path: Path) -> None:
    """The page is rendered again; the line is named."""
    bundle = cycle.copy(tmp_path / "bundle")
    page = bundle / "report.html"
    page.write_text(page.read_text().replace("</body>", "<p>All is well.</p></body>"))
    found = files_step(bundle, cycle.trust, "Report")
    assert found.verdict is Verdict.NOT_OK
    assert found.locations[0].what.startswith("line ")


def test_a_hole_in_the_log_makes_later_steps_unsure_not_accusing(cycle: Cycle, tmp_path: Path) -> None:
    """One payload is damaged: the log's step says where; the ledger's step does not invent a crime."""
    bundle = cycle.copy(tmp_path / "bundle")
    file = bundle / "audit/payloads/000000.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    index = next(i for i, line in enumerate(lines) if b"budget:touched" in line)
    lines[index] = lines[index].replace(b"attempt", b"attenpt")
    file.write_bytes(b"".join(lines))
    verdict = verify_bundle(bundle, cycle.trust)
    payloads = verdict.step("Payloads")
    assert payloads.verdict is Verdict.NOT_OK
    assert payloads.locations[0].entry == index
    assert verdict.step("Budgets").verdict is Verdict.CANNOT_TELL
