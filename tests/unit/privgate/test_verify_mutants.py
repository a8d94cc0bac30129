"""One change to the history of a real cycle, told consistently: hashed and signed with the gateway's own keys.

The log is sound, then; only the step that asks the right question can see the change, and each mutant names it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from audit.findings import Verdict
from audit.trust import TrustFile
from audit.verify import Outcome
from privgate.verify import verify_bundle
from tests.support.cycles import Cycle
from tests.support.forgeries import Story, forge

LOG_STEPS = ("Files", "Checkpoint", "Growth", "Tree", "Leaves", "Counter", "Payloads")
NOTHING = "0" * 64
TINY = "0.000000001"


def _unknown_field(story: Story) -> None:
    story.first("job:queued").fields["colour"] = "blue"


def _cheap_charge(story: Story) -> None:
    story.first("budget:charged").fields["charges"][0]["price"] = TINY


def _dear_hold(story: Story) -> None:
    hold = story.first("budget:reserved").fields["holds"][0]
    hold["price"] = str((Decimal(hold["price"]) * Decimal("1.02")).quantize(Decimal(TINY)))


def _larger_capacity(story: Story) -> None:
    story.first("population:created").fields["capacity"] = "99"


def _gap(story: Story) -> None:
    story.remove(story.first("budget:touched"))


def _repeated(story: Story) -> None:
    voided = story.first("budget:voided")
    story.insert_after(voided, voided.another())


def _false_refusal(story: Story) -> None:
    story.first("budget:refused").fields["limits"][0]["available"] = "0"


def _allow_what_was_denied(story: Story) -> None:
    story.first("decision:made", verdict="deny").fields["verdict"] = "allow"


def _deny_what_was_allowed(story: Story) -> None:
    story.first("decision:made", verdict="allow").fields["verdict"] = "deny"


def _another_reason(story: Story) -> None:
    story.first("decision:made", reason="grant-missing").fields["reason"] = "grant-expired"


def _other_obligations(story: Story) -> None:
    made = next(e for e in story.of("decision:made") if "obligations" in e.fields)
    made.fields["obligations"]["trainer_share"] = "0.9"


def _unlogged_approval(story: Story) -> None:
    story.remove(story.first("approval:given"))


def _lost_policy_event(story: Story) -> None:
    story.remove(story.first("grant:created"))


def _undecided_reservation(story: Story) -> None:
    reserved = story.first("budget:reserved")
    story.remove(story.first("decision:made", decision=reserved.fields["decision"]))


def _borrowed_decision(story: Story) -> None:
    first, second = story.of("budget:reserved")[:2]
    first.fields["decision"] = second.fields["decision"]


def _unread_export(story: Story) -> None:
    story.first("log:read").fields["decision"] = story.first("decision:made", verdict="deny").fields["decision"]


def _machine_says_person(story: Story) -> None:
    story.first("release:checked", automatic=True).fields["automatic"] = False


def _low_epsilon(story: Story) -> None:
    for statement in story.certificates.values():
        statement["predicate"]["this_job_alone"]["epsilon"] = "0.1"


def _padded_epsilon(story: Story) -> None:
    for statement in story.certificates.values():
        alone = statement["predicate"]["this_job_alone"]
        alone["epsilon"] = str((Decimal(alone["epsilon"]) * Decimal("1.02")).quantize(Decimal(TINY)))


def _weaker_noise(story: Story) -> None:
    for statement in story.certificates.values():
        for part in statement["predicate"]["mechanisms"]:
            for name in {"noise_multiplier", "epsilon"} & part["mechanism"].keys():
                part["mechanism"][name] = str(Decimal(part["mechanism"][name]) / 2)


def changed(*path: str | int, to: object) -> Callable[[Story], None]:
    """Every certificate with one member changed."""

    def change(story: Story) -> None:
        for statement in story.certificates.values():
            place = statement["predicate"]
            for member in path[:-1]:
                place = place[member]
            assert place[path[-1]] != to
            place[path[-1]] = to

    return change


def _uncovered(story: Story) -> None:
    for statement in story.certificates.values():
        statement["predicate"]["uncovered_since"] = 1


def _held_before_charged(story: Story) -> None:
    for charge in story.of("budget:charged"):
        story.remove(charge)
        story.entries.append(charge)


def _nobody_checked(story: Story) -> None:
    story.remove(*story.of("release:checked"))


def _published_something_else(story: Story) -> None:
    story.first("release:published").fields["artifact"] = f"sha256:{NOTHING}"


def _fetched_what_was_refused(story: Story) -> None:
    refused = story.first("release:refused").fields["release"]
    story.of("release:fetched")[-1].fields["release"] = refused


def _refused_and_published(story: Story) -> None:
    story.first("release:checked", verdict="refuse").fields["verdict"] = "release"


MUTANTS: dict[str, tuple[Callable[[Story], None], str]] = {
    "a field that its kind does not have": (_unknown_field, "Events"),
    "a charge below its mechanism's price": (_cheap_charge, "Prices"),
    "a hold above 1.01 of its price": (_dear_hold, "Prices"),
    "a capacity that does not follow from epsilon": (_larger_capacity, "Budgets"),
    "a missing number of the ledger": (_gap, "Budgets"),
    "a number of the ledger told twice": (_repeated, "Budgets"),
    "a refusal that tells another remainder": (_false_refusal, "Budgets"),
    "a denial told as a permission": (_allow_what_was_denied, "Decisions"),
    "a permission told as a denial": (_deny_what_was_allowed, "Decisions"),
    "a denial with another reason": (_another_reason, "Decisions"),
    "a permission with other obligations": (_other_obligations, "Decisions"),
    "an approval that was never given": (_unlogged_approval, "Decisions"),
    "a missing epoch of the policy": (_lost_policy_event, "Decisions"),
    "a reservation without its decision": (_undecided_reservation, "Permissions"),
    "a reservation on another job's decision": (_borrowed_decision, "Permissions"),
    "a reading of the log on a denial": (_unread_export, "Permissions"),
    "a machine's check told as a person's": (_machine_says_person, "Permissions"),
    "an epsilon below its mechanisms'": (_low_epsilon, "Certified figures"),
    "an epsilon above 1.01 of its mechanisms'": (_padded_epsilon, "Certified figures"),
    "less noise than was priced": (_weaker_noise, "Certified figures"),
    "a sum before that the ledger does not have": (changed("guarantee", "before", to="0.5"), "Certificates and log"),
    "another number in the ledger": (changed("guarantee", "ledger_seq", to=2), "Certificates and log"),
    "another budget": (changed("guarantee", "epsilon", to="7.5"), "Certificates and log"),
    "another public size": (changed("population", "public_size", to=600), "Certificates and log"),
    "other rows per unit": (changed("population", "rows_per_unit", to=2), "Certificates and log"),
    "another unit": (changed("population", "unit", to="visit"), "Certificates and log"),
    "another manifest": (changed("dataset", "manifest", to=f"sha256:{NOTHING}"), "Certificates and log"),
    "another request": (changed("request", to=f"sha256:{NOTHING}"), "Certificates and log"),
    "another epoch": (changed("policy_epoch", to=1), "Certificates and log"),
    "another log": (changed("evidence", "origin", to="demo.other/log"), "Certificates and log"),
    "a decision that is not there": (changed("evidence", "decision", to=f"sha256:{NOTHING}"), "Certificates and log"),
    "a reservation that is not there": (changed("evidence", "reserve", to=f"sha256:{NOTHING}"), "Certificates and log"),
    "a charge that is not there": (changed("evidence", "charge", to=f"sha256:{NOTHING}"), "Certificates and log"),
    "another time": (changed("issued_at", to="2020-01-01T00:00:00Z"), "Certificates and log"),
    "an approval that nobody gave": (changed("approvals", to=["apv_" + "a" * 26]), "Certificates and log"),
    "a population that is not covered any more": (_uncovered, "Certificates and log"),
    "a release that was held before its charge": (_held_before_charged, "Releases"),
    "a release that nobody checked": (_nobody_checked, "Releases"),
    "a publication of something else": (_published_something_else, "Releases"),
    "a fetch of what was refused": (_fetched_what_was_refused, "Releases"),
    "a refusal without a refuser": (_refused_and_published, "Releases"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_one_change_is_not_ok_in_the_step_that_asks_for_it(
    name: str, cycle: Cycle, unpinned: TrustFile, tmp_path: Path
) -> None:
    """The log is sound and signed by the right keys; the step says NOT OK, and where."""
    change, title = MUTANTS[name]
    verdict = verify_bundle(forge(cycle, tmp_path / "forged", change), unpinned)
    for log_step in LOG_STEPS:
        assert verdict.step(log_step).verdict is Verdict.OK, log_step
    found = verdict.step(title)
    assert found.verdict is Verdict.NOT_OK, found
    assert found.locations
    assert all(location.file for location in found.locations)
    assert verdict.outcome is Outcome.FAILED
    assert verdict.exit_code != 0


def _unknown_kind(story: Story) -> None:
    story.first("job:queued").payload["type"] = "job:dreamt"


def _unknown_rules(story: Story) -> None:
    story.first("decision:made").fields["rules"] = f"sha256:{NOTHING}"


@pytest.mark.parametrize(("change", "title"), [(_unknown_kind, "Events"), (_unknown_rules, "Decisions")])
def test_what_this_program_does_not_know_it_cannot_tell(
    change: Callable[[Story], None], title: str, cycle: Cycle, unpinned: TrustFile, tmp_path: Path
) -> None:
    """An event or a rule set of a later version is neither skipped nor condemned."""
    verdict = verify_bundle(forge(cycle, tmp_path / "forged", change), unpinned)
    assert verdict.step(title).verdict is Verdict.CANNOT_TELL


def test_a_stranger_s_certificate_is_not_ok(cycle: Cycle, unpinned: TrustFile, tmp_path: Path) -> None:
    """The log's key and a stranger's certificate key: the certificates fall, the log stands."""
    keys = {**cycle.keys, "certificate": b"s" * 32}
    verdict = verify_bundle(forge(cycle, tmp_path / "forged", lambda _: None, keys=keys), unpinned)
    assert verdict.step("Checkpoint").verdict is Verdict.OK
    assert verdict.step("Signatures").verdict is Verdict.NOT_OK
    assert verdict.step("Files of release").verdict is Verdict.NOT_OK


def test_a_certificate_that_the_log_does_not_know_is_not_ok(cycle: Cycle, unpinned: TrustFile, tmp_path: Path) -> None:
    """A genuine signature over other bytes than the release entry holds."""
    bundle = forge(cycle, tmp_path / "forged", _low_epsilon)
    for file in (bundle / "certificates").iterdir():
        file.write_bytes((cycle.bundle / "certificates" / file.name).read_bytes())
    found = verify_bundle(bundle, unpinned).step("Certificates and log")
    assert found.verdict is Verdict.NOT_OK
    assert "digest" in found.locations[0].what
