"""The verdict for people and for programs. Pure: a verdict in, text or plain data out."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from audit.findings import StepResult, Verdict
from audit.verify import Outcome
from privgate.verify.verdict import BundleVerdict

FORMAT = "privgate/verdict/v1"
WIDTH = 118
_STYLES = {
    Verdict.OK: "green",
    Verdict.NOT_OK: "bold red",
    Verdict.CANNOT_TELL: "yellow",
    Verdict.NOT_HERE: "dim",
}
_SAID = {
    Outcome.VERIFIED: "everything that is here was checked and holds",
    Outcome.FAILED: "at least one step does not hold",
    Outcome.UNANCHORED: "nothing contradicts itself, but no trust file that counts says who made it",
    Outcome.CANNOT_TELL: "nothing is wrong, but something could not be checked",
}
_TITLE, _ANSWER = 28, 13


def render(verdict: BundleVerdict) -> str:
    """The verdict as plain text."""
    return styled(verdict).plain


def styled(verdict: BundleVerdict) -> Text:
    """The verdict as text with colours."""
    text = Text()
    for steps in _alike(verdict.steps):
        _step(text, steps[0])
        _others(text, steps[1:])
    text.append("\n")
    outcome = verdict.outcome
    text.append(outcome.value, style="bold green" if outcome is Outcome.VERIFIED else "bold red")
    text.append(f": {_SAID[outcome]}")
    if outcome is Outcome.CANNOT_TELL:
        text.append(f" ({_counted(verdict.untold)})")
    if verdict.absent:
        text.append(f"\nnot here, so nothing was checked of it: {', '.join(verdict.absent)}")
    if verdict.checkpoint is not None:
        text.append(f"\n{verdict.entries} entries of {verdict.tenant}")
        text.append(f"\nlog {printable(verdict.checkpoint.origin)} at size {verdict.checkpoint.size}, ")
        text.append(f"root {verdict.checkpoint.root.hex[:16]}...")
    text.append("\n\nWhat stays a matter of trust:\n")
    for sentence in verdict.trusted:
        text.append(textwrap.fill(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ") + "\n")
    return text


def to_json(verdict: BundleVerdict) -> dict[str, Any]:
    """The verdict as plain data; `docs/VERIFYING.md` has its members."""
    checkpoint = verdict.checkpoint
    return {
        "format": FORMAT,
        "outcome": verdict.outcome.value,
        "ok": verdict.ok,
        "anchored": verdict.anchored,
        "tenant": verdict.tenant,
        "entries": verdict.entries,
        "checkpoint": None
        if checkpoint is None
        else {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root},
        "steps": [_step_json(step) for step in verdict.steps],
        "trusted": list(verdict.trusted),
    }


def printable(text: str) -> str:
    """Text from the evidence, without control characters: it must not write on somebody's terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _counted(titles: tuple[str, ...]) -> str:
    return f"{len(titles)} steps, the first is {titles[0]}" if len(titles) > 3 else ", ".join(titles)


def _alike(steps: Sequence[StepResult]) -> Iterator[list[StepResult]]:
    """The steps in order; neighbours that say the very same of what is missing are told together."""
    for (verdict, _), same in itertools.groupby(steps, lambda step: (step.verdict, step.sentence)):
        found = list(same)
        yield from [found] if verdict is Verdict.CANNOT_TELL else ([step] for step in found)


def _others(text: Text, steps: Sequence[StepResult]) -> None:
    if steps:
        named = "the same for " + ", ".join(f"{step.number} {step.title}" for step in steps)
        text.append(textwrap.fill(named, WIDTH, initial_indent="     ", subsequent_indent="     ") + "\n")


def _step(text: Text, step: StepResult) -> None:
    # A title that is longer than its column, such as a release's own id, still ends before the answer begins.
    text.append(f"{step.number:>3}  {step.title:<{_TITLE - 1}} ")
    text.append(f"{step.verdict.value:<{_ANSWER}}", style=_STYLES[step.verdict])
    indent = " " * (5 + _TITLE + _ANSWER)
    said = textwrap.wrap(printable(step.sentence), WIDTH - len(indent)) or [""]
    text.append(f"\n{indent}".join(said) + "\n")
    if len(step.locations) > 1:
        for location in step.locations:
            text.append(f"       - {printable(str(location))}\n")
        if step.more:
            text.append(f"       - and {step.more} more\n")


def _step_json(step: StepResult) -> dict[str, Any]:
    return {
        "number": step.number,
        "title": step.title,
        "verdict": step.verdict.value,
        "sentence": step.sentence,
        "findings": [{"file": at.file, "what": at.what, "entry": at.entry} for at in step.locations],
        "more": step.more,
    }
