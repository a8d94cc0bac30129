"""The trust anchor: what a trust file is worth, and the forgeries that only an anchor can catch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from audit.checkpoint import Checkpoint, read_unverified, sign_checkpoint
from audit.findings import Verdict
from audit.note import KeyKind, NoteKey
from audit.trust import LastSeen, TrustFile
from audit.verify import Outcome
from kernel.errors import InvalidError, NotFoundError
from kernel.signing import Ed25519Signer
from privgate.verify import Anchor, main_verify, render, to_json, verify_bundle
from privgate.verify.anchor import INSIDE, INSIDE_DEMO
from privgate.verify.trusted import NO_WITNESS
from tests.support.cycles import Cycle
from tests.support.forgeries import Story, forge

OTHERS = {"log": b"l" * 32, "certificate": b"c" * 32, "report": b"r" * 32}


def _nothing(_: Story) -> None:
    """Tell the story as it was."""


def _drop_the_refusals(story: Story) -> None:
    """What an operator might want to have never happened."""
    story.remove(story.first("budget:refused"))


def test_without_a_trust_file_it_says_unanchored_and_the_exit_code_is_not_zero(cycle: Cycle) -> None:
    """Nothing contradicts itself, and nobody knows who made it."""
    verdict = verify_bundle(cycle.bundle, None)
    assert verdict.outcome is Outcome.UNANCHORED
    assert not verdict.anchored
    assert not verdict.ok
    assert verdict.exit_code != 0
    assert "UNANCHORED" in render(verdict)
    assert verdict.step("Checkpoint").verdict is Verdict.CANNOT_TELL
    assert verdict.step("Signatures").verdict is Verdict.CANNOT_TELL


def test_a_trust_file_inside_the_evidence_counts_for_the_demo_alone_and_it_is_said(cycle: Cycle) -> None:
    """The demo's origin begins with `demo.`; any other log's own trust file is as good as none."""
    demo = verify_bundle(cycle.bundle, cycle.trust, inside=True)
    assert demo.outcome is Outcome.VERIFIED
    assert INSIDE_DEMO in demo.step("Trust anchor").sentence
    assert INSIDE_DEMO in demo.trusted
    real = replace(
        cycle.trust, origin="gw.example/log", log_keys=(NoteKey("gw.example/log", cycle.trust.log_keys[0].public_key),)
    )
    other = verify_bundle(cycle.bundle, real, inside=True)
    assert other.outcome is Outcome.UNANCHORED
    assert INSIDE in other.step("Trust anchor").sentence


def test_the_command_finds_out_by_itself_whether_the_file_lies_inside(cycle: Cycle, tmp_path: Path) -> None:
    """By path, through links and dots; the same file outside counts without a remark."""
    outside = tmp_path / "trust.json"
    outside.write_bytes(cycle.trust.to_bytes())
    assert Anchor.read(cycle.bundle, outside) == Anchor(trust=cycle.trust)
    dotted = cycle.bundle / "audit" / ".." / "trust.json"
    (tmp_path / "link").symlink_to(cycle.bundle / "trust.json")
    for path in (cycle.bundle / "trust.json", dotted, tmp_path / "link"):
        assert Anchor.read(cycle.bundle, path).remark == INSIDE_DEMO


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b"[" * 100_000])
def test_a_trust_file_that_cannot_be_read_is_wrong_not_absent(
    content: bytes | None, cycle: Cycle, tmp_path: Path
) -> None:
    """FAILED, not UNANCHORED: somebody meant to anchor it."""
    path = tmp_path / "trust.json"
    if content is not None:
        path.write_bytes(content)
    assert main_verify(cycle.bundle, path, console=Console(file=(tmp_path / "out").open("w"))) == 1


def test_another_tenant_s_trust_file_does_not_fit(cycle: Cycle) -> None:
    """The same gateway, another organisation."""
    other = replace(cycle.trust, tenant=type(cycle.trust.tenant)("ten_" + "a" * 26))
    verdict = verify_bundle(cycle.bundle, other)
    assert verdict.step("Trust anchor").verdict is Verdict.NOT_OK
    assert verdict.step("Files of release").verdict is Verdict.NOT_OK


def test_a_re_signed_forgery_is_caught(cycle: Cycle, tmp_path: Path) -> None:
    """Everything told anew and signed by a stranger: consistent, and none of the pinned keys."""
    bundle = forge(cycle, tmp_path / "forged", _nothing, keys=OTHERS)
    verdict = verify_bundle(bundle, cycle.trust)
    assert verdict.outcome is Outcome.FAILED
    for title in ("Checkpoint", "Signatures", "Files of release", "Files of evaluation"):
        assert verdict.step(title).verdict is Verdict.NOT_OK, title


def test_a_forger_who_brings_his_own_trust_file_is_caught_by_the_reader_s(cycle: Cycle, tmp_path: Path) -> None:
    """The bundle's own file names other keys: it is said, and it counts for nothing."""
    bundle = forge(cycle, tmp_path / "forged", _nothing, keys=OTHERS)
    own = _trust_of(OTHERS, cycle.trust)
    (bundle / "trust.json").write_bytes(own.to_bytes())
    verdict = verify_bundle(bundle, cycle.trust)
    assert verdict.step("Files beside the evidence").verdict is Verdict.NOT_OK
    assert verdict.step("Files beside the evidence").locations[0].file == "trust.json"


def test_a_past_rewritten_with_the_real_keys_is_caught_by_the_pinned_checkpoint(cycle: Cycle, tmp_path: Path) -> None:
    """The operator himself drops an entry that the reader has seen: growth is NOT OK."""
    pinned = _pinned(cycle)
    bundle = forge(cycle, tmp_path / "forged", _drop_the_refusals)
    assert verify_bundle(bundle, pinned).step("Growth").verdict is Verdict.NOT_OK
    assert verify_bundle(bundle, cycle.trust).step("Growth").verdict is Verdict.OK


def test_a_rollback_below_the_pinned_checkpoint_is_caught(cycle: Cycle, tmp_path: Path) -> None:
    """A shorter, honestly signed log of the same gateway."""
    bundle = forge(cycle, tmp_path / "forged", lambda story: story.remove(*story.entries[-5:]))
    verdict = verify_bundle(bundle, _pinned(cycle))
    assert verdict.step("Growth").verdict is Verdict.NOT_OK
    assert "rollback" in verdict.step("Growth").sentence


def test_a_receipt_of_another_history_is_caught(cycle: Cycle, tmp_path: Path) -> None:
    """The trainer was shown one log, the auditor another, both signed by the gateway: a split view."""
    bundle = forge(cycle, tmp_path / "forged", _drop_the_refusals)
    for name in ("release", "evaluation"):
        for file in (cycle.bundle / name).iterdir():
            (bundle / name / file.name).write_bytes(file.read_bytes())
    verdict = verify_bundle(bundle, cycle.trust)
    assert verdict.step("Tree").verdict is Verdict.OK
    assert verdict.step("Files of release").verdict is Verdict.NOT_OK


def test_a_key_of_another_purpose_signs_nothing(cycle: Cycle) -> None:
    """Certificate and report keys exchanged in the trust file: certificates and report fall."""
    crossed = replace(cycle.trust, certificate_keys=cycle.trust.report_keys, report_keys=cycle.trust.certificate_keys)
    verdict = verify_bundle(cycle.bundle, crossed)
    assert verdict.step("Signatures").verdict is Verdict.NOT_OK
    assert verdict.step("Report").verdict is Verdict.NOT_OK


def test_a_missing_witness_cannot_be_told_and_an_unpinned_one_is_a_matter_of_trust(cycle: Cycle) -> None:
    """What nobody cosigned may be one of two histories."""
    assert NO_WITNESS in verify_bundle(cycle.bundle, cycle.trust).trusted
    witness = NoteKey("witness.example", Ed25519Signer(b"w" * 32).public_key, KeyKind.COSIGNATURE)
    witnessed = verify_bundle(cycle.bundle, replace(cycle.trust, witness_keys=(witness,)))
    assert witnessed.step("Checkpoint").verdict is Verdict.CANNOT_TELL
    assert NO_WITNESS not in witnessed.trusted


def test_an_empty_log_under_the_right_key_is_a_rollback(cycle: Cycle, tmp_path: Path) -> None:
    """Nothing but a checkpoint of size 0."""
    bundle = cycle.copy(tmp_path / "bundle")
    origin = cycle.trust.origin
    empty = Checkpoint(origin, 0, LastSeen().root)
    (bundle / "audit/checkpoint").write_bytes(sign_checkpoint(empty, cycle.signer("log")))
    assert verify_bundle(bundle, cycle.trust).step("Growth").verdict is Verdict.NOT_OK


def test_the_command_prints_steps_then_outcome_then_what_stays_trusted(cycle: Cycle, tmp_path: Path) -> None:
    """In this order, in text; the same in JSON; exit codes tell the four outcomes apart."""
    outside = tmp_path / "trust.json"
    outside.write_bytes(cycle.trust.to_bytes())
    with (tmp_path / "text").open("w") as file:
        assert main_verify(cycle.bundle, outside, console=Console(file=file)) == 0
    text = (tmp_path / "text").read_text()
    assert text.index("Trust anchor") < text.index("Report") < text.index("VERIFIED") < text.index("matter of trust")
    bare = cycle.copy(tmp_path / "bare")
    (bare / "trust.json").unlink()
    with (tmp_path / "json").open("w") as file:
        assert main_verify(bare, None, as_json=True, console=Console(file=file)) == 9
    told = json.loads((tmp_path / "json").read_text())
    assert told == to_json(verify_bundle(bare, None))
    assert (told["outcome"], told["ok"], told["anchored"]) == ("UNANCHORED", False, False)
    with pytest.raises(NotFoundError):
        main_verify(tmp_path / "nowhere", None)
    with pytest.raises(InvalidError, match="directory that holds it"):
        main_verify(cycle.bundle / "audit", None)


def test_what_was_verified_is_pinned_and_the_next_log_must_contain_it(cycle: Cycle, tmp_path: Path) -> None:
    """The reader's file moves forward, keeps its mode, and a second time there is nothing to move."""
    own = _own(cycle, tmp_path)
    own.chmod(0o600)
    for said in ("now", "already"):
        code, remark = _verify(cycle.bundle, own, tmp_path)
        assert (code, f"pins size {_pinned(cycle).last_seen.size} {said}" in remark) == (0, True)
        assert TrustFile.from_bytes(own.read_bytes()) == _pinned(cycle)
    assert own.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "out", "remarks"]


def test_nothing_but_verified_moves_the_pin(cycle: Cycle, tmp_path: Path) -> None:
    """FAILED and CANNOT TELL leave it; the exit code is the outcome's."""
    own = _own(cycle, tmp_path)
    bundle = forge(cycle, tmp_path / "forged", _nothing, keys=OTHERS)
    assert _verify(bundle, own, tmp_path)[0] == 1
    code, remark = _verify(cycle.bundle / "release", own, tmp_path)
    assert (code, "left as it is" in remark) == (10, True)
    assert own.read_bytes() == cycle.trust.to_bytes()


def test_only_a_file_of_the_reader_s_own_can_be_moved_forward(cycle: Cycle, tmp_path: Path) -> None:
    """None was given, or one that lies inside the evidence: both are mistakes, and nothing is verified."""
    bundle = cycle.copy(tmp_path / "bundle")
    for given in (None, bundle / "trust.json"):
        with pytest.raises(InvalidError, match="--advance"):
            main_verify(bundle, given, pin=True)
    assert (bundle / "trust.json").read_bytes() == (cycle.bundle / "trust.json").read_bytes()


def _own(cycle: Cycle, directory: Path) -> Path:
    path = directory / "mine.json"
    path.write_bytes(cycle.trust.to_bytes())
    return path


def _verify(bundle: Path, own: Path, directory: Path) -> tuple[int, str]:
    """Verify with `--advance`; return exit code and remark."""
    with (directory / "out").open("w") as out, (directory / "remarks").open("w") as remarks:
        printed, said = Console(file=out, width=400), Console(file=remarks, width=400)
        code = main_verify(bundle, own, pin=True, console=printed, remarks=said)
    return code, (directory / "remarks").read_text()


def test_without_the_option_the_bundle_s_own_trust_file_is_looked_at(cycle: Cycle, tmp_path: Path) -> None:
    """The demo's counts, and it is said; another log's does not."""
    with (tmp_path / "text").open("w") as file:
        assert main_verify(cycle.bundle, None, console=Console(file=file, width=400)) == 0
    assert "lies inside the evidence" in (tmp_path / "text").read_text()
    bundle = cycle.copy(tmp_path / "bundle")
    key = NoteKey("gw.example/log", cycle.trust.log_keys[0].public_key)
    other = replace(cycle.trust, origin="gw.example/log", log_keys=(key,))
    (bundle / "trust.json").write_bytes(other.to_bytes())
    with (tmp_path / "other").open("w") as file:
        assert main_verify(bundle, None, console=Console(file=file)) != 0


def test_nothing_in_the_evidence_writes_on_the_terminal(cycle: Cycle, tmp_path: Path) -> None:
    """A file's name may hold an escape sequence; what is printed does not."""
    bundle = cycle.copy(tmp_path / "bundle")
    (bundle / "\x1b]0;owned\x07.txt").write_text("")
    text = render(verify_bundle(bundle, cycle.trust))
    assert "owned" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def _pinned(cycle: Cycle) -> TrustFile:
    """The auditor after having verified the whole bundle once."""
    seen = read_unverified((cycle.bundle / "audit/checkpoint").read_bytes())
    return cycle.trust.advanced(seen)


def _trust_of(seeds: dict[str, bytes], like: TrustFile) -> TrustFile:
    public = {name: Ed25519Signer(seed).public_key for name, seed in seeds.items()}
    return replace(
        like,
        log_keys=(NoteKey(like.origin, public["log"]),),
        certificate_keys=(public["certificate"],),
        report_keys=(public["report"],),
        last_seen=LastSeen(),
    )
