"""An operator who tells another history with the real keys, before anybody pinned it: the verifier alone must see it.

No report lies beside the evidence here: whoever forges leaves it away.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from audit.findings import Verdict
from audit.trust import LastSeen
from kernel.amounts import Delta, Epsilon
from kernel.canonical import Digest
from privacy.budget.populations import Budget
from privgate.verify import verify_bundle
from privgate.verify.verdict import BundleVerdict
from tests.support.cycles import Cycle
from tests.support.forgeries import Story, forge

SECOND = "rel_" + "a" * 26
LEDGER = {f"budget:{verb}" for verb in ("reserved", "touched", "charged", "voided", "expired", "changed", "capped")}


def judged(cycle: Cycle, target: Path, change: Callable[[Story], object]) -> BundleVerdict:
    """What the verifier says of a history that was told differently."""
    forge(cycle, target, change)
    for name in ("report.json", "report.html"):
        (target / name).unlink(missing_ok=True)
    return verify_bundle(target, replace(cycle.trust, last_seen=LastSeen()))


def wrong(verdict: BundleVerdict) -> set[str]:
    """The steps that found something."""
    return {step.title for step in verdict.steps if step.verdict is Verdict.NOT_OK}


def test_what_is_told_again_unchanged_is_believed(cycle: Cycle, tmp_path: Path) -> None:
    """The forger's tools themselves are not what is found; that there is no report is said, and is no fault."""
    verdict = judged(cycle, tmp_path / "told", lambda _: None)
    assert [step.title for step in verdict.steps if step.verdict is not Verdict.OK] == ["Report"]
    assert wrong(verdict) == set()


def undercharged(story: Story) -> None:
    """More steps were started than were charged."""
    end = story.first("job:ended", end="finished")
    end.fields["steps_started"] += 1


def opened_for_nothing(story: Story) -> None:
    """A job whose hold was returned, because it never touched data, did start."""
    voided = story.first("budget:voided")
    started = story.first("job:started").another()
    started.fields["job"] = voided.fields["job"]
    story.insert_after(voided, started)


def started_without_touch(story: Story) -> None:
    """One more attempt than the ledger knows of."""
    first = story.first("job:started")
    again = first.another()
    again.fields["attempt"] = 2
    story.insert_after(first, again)


def finished_before_it_ended(story: Story) -> None:
    """A job that is said to have failed left a model all the same."""
    job = story.of("release:held")[0].fields["job"]
    story.first("job:ended", job=job).fields["end"] = "failed"


def nothing_held(story: Story) -> None:
    """A job finished, and the release that came of it is hidden."""
    held = story.of("release:held")[-1]
    gone = [entry for entry in story.entries if entry.fields.get("release") == held.fields["release"]]
    story.remove(*gone)


def failed_its_self_test(story: Story) -> None:
    """A job's self-test failed, and its model was released all the same."""
    started, asked = story.first("job:started"), story.first("job:requested")
    incident = started.another()
    incident.payload["type"] = "incident:opened"
    facts = {name: asked.fields[name] for name in ("dataset", "population")}
    incident.payload["fields"] = {"checks": ["noise-variance"], "job": started.fields["job"], **facts}
    story.insert_after(started, incident)


@pytest.mark.parametrize(
    "change",
    [
        undercharged,
        opened_for_nothing,
        started_without_touch,
        finished_before_it_ended,
        nothing_held,
        failed_its_self_test,
    ],
)
def test_what_jobs_did_answers_to_what_was_charged(
    cycle: Cycle, tmp_path: Path, change: Callable[[Story], object]
) -> None:
    """The job's own entries and its ledger's are held against each other."""
    assert "Jobs" in wrong(judged(cycle, tmp_path / "forged", change))


def test_one_charge_does_not_carry_two_releases(cycle: Cycle, tmp_path: Path) -> None:
    """Two models for the price of one: the second has a certificate of its own that cites the same charge."""
    target = tmp_path / "forged"

    def twice(story: Story) -> None:
        held = story.of("release:held")[0]
        release = held.fields["release"]
        folder = target / "certificates"
        data = json.loads(json.dumps(story.certificates[release]).replace(release, SECOND))
        story.certificates[SECOND] = data
        copied = (folder / f"{release}.json").read_bytes() + b"\n"
        (folder / f"{SECOND}.json").write_bytes(copied)
        again = held.another()
        again.fields["release"] = SECOND
        again.fields["certificate"] = Digest.of(copied)
        story.insert_after(held, again)

    verdict = judged(cycle, target, twice)
    assert wrong(verdict) == {"Jobs"}


def more_budget(story: Story) -> None:
    """The budget is raised, at the end of its ledger, and nobody was asked."""
    last = max((e for e in story.entries if e.type in LEDGER), key=lambda e: int(e.fields["ledger_seq"]))
    created = story.first("population:created").fields
    budget = Budget.allot(Epsilon.parse(created["epsilon"]), Delta.parse(created["delta"]))
    raised = budget.resized(Epsilon.parse("30"))
    entry = last.another()
    entry.payload |= {"type": "budget:changed", "version": 1}
    entry.payload["fields"] = {
        "population": created["population"],
        "ledger_seq": last.fields["ledger_seq"] + 1,
        "epsilon": str(raised.epsilon),
        "capacity": str(raised.capacity),
    }
    story.entries.append(entry)


def another_grant(story: Story) -> None:
    """Somebody is granted the data, in the owner's name, who was never asked."""
    made = story.first("grant:created").another()
    made.fields["grant"] = "grt_" + "a" * 26
    made.fields["epoch"] = max(int(e.fields["epoch"]) for e in story.entries if "epoch" in e.fields) + 1
    story.entries.append(made)


@pytest.mark.parametrize("change", [more_budget, another_grant])
def test_what_the_owner_never_decided_is_seen(cycle: Cycle, tmp_path: Path, change: Callable[[Story], object]) -> None:
    """Grants and budgets cite no decision; one must stand before them all the same."""
    assert wrong(judged(cycle, tmp_path / "forged", change)) == {"Permissions"}
