"""The auditor's act: fetch report and log while the gateway runs, verify them offline once it is gone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from privgate.demo.scenes import DemoError, Story
from privgate.verify.sums import write_sums

FLIPPED_AT = 0.5
GOES_ON = " " * 20
"""Where the verifier's sentences go on in a further line."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What the offline verifier said of the evidence, of a damaged copy, and without a trust file."""

    verified: bool
    damage_found: bool
    unanchored_refused: bool


def collect(story: Story, out: Path, pinned: Path) -> None:
    """Fetch the report and the whole log, and put the pinned trust file beside the evidence, too."""
    auditor, screen = story.cast["auditor"].gateway, story.screen
    screen.act("The auditor", "fetches the report and the log")
    report = auditor.issue_report()
    (out / "report.json").write_bytes(auditor.report_json(report))
    (out / "report.html").write_text(auditor.report_html(report), encoding="utf-8")
    screen.did("report issued", f"{report.report}, {report.digest}")
    exported = auditor.export(out / "export")
    for part in sorted(exported.iterdir()):
        part.rename(out / part.name)
    exported.rmdir()
    shutil.copyfile(pinned, out / "trust.json")
    screen.did("log exported", f"{sum(1 for path in (out / 'audit').rglob('*') if path.is_file())} files")


def verify(story: Story, out: Path, pinned: Path, scratch: Path) -> Verified:
    """Verify offline with the program that anybody can install; then damage a copy, then forget the trust file."""
    screen = story.screen
    screen.act("The auditor", "verifies everything offline; the gateway is gone")
    code, text = _verifier(out, pinned)
    screen.verbatim(text)
    verified = code == 0
    damaged, where = _damaged_copy(out, scratch)
    code, text = _verifier(damaged, pinned)
    screen.refused(f"one byte of a copy of {where} was flipped", f"exit code {code}")
    screen.verbatim(_lines_with(text, "NOT OK", where))
    damage_found = code != 0 and where in text
    bare = scratch / "bare"
    shutil.copytree(out, bare)
    (bare / "trust.json").unlink()
    write_sums(bare)
    code, text = _verifier(bare, None)
    screen.refused("without the trust file", f"exit code {code}")
    screen.verbatim(_lines_with(text, "UNANCHORED"))
    found = Verified(verified, damage_found, code != 0 and "UNANCHORED" in text)
    if not (found.verified and found.damage_found and found.unanchored_refused):
        raise DemoError("the verifier did not say what it should have said")
    return found


def _verifier(bundle: Path, trust: Path | None) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("privgate")), "verify", str(bundle)]
    command += [] if trust is None else ["--trust", str(trust)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    return done.returncode, done.stdout + done.stderr


def _damaged_copy(out: Path, scratch: Path) -> tuple[Path, str]:
    """Copy the evidence and flip one bit in the middle of a payload file."""
    copy = scratch / "damaged"
    shutil.copytree(out, copy)
    victim = min((copy / "audit" / "payloads").iterdir())
    content = bytearray(victim.read_bytes())
    content[int(len(content) * FLIPPED_AT)] ^= 1
    victim.write_bytes(bytes(content))
    return copy, victim.relative_to(copy).as_posix()


def _lines_with(text: str, *words: str) -> str:
    """The lines with one of these words, each with the indented lines in which it goes on."""
    kept, going = [], False
    for line in text.splitlines():
        if not line.startswith(GOES_ON):
            going = any(word in line for word in words)
        if going:
            kept.append(line)
    return "\n".join(kept)
