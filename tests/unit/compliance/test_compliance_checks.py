"""Every evidence check with its five fixtures, each made from the archive of a real cycle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from audit.archive import Archive
from compliance.checks.catalogue import CATALOGUE
from compliance.checks.check import Source
from compliance.controls import Evidence, Gap, Verdict
from compliance.history import read_history
from kernel.ids import Slug
from tests.support.cycles import Cycle
from tests.support.forgeries import Story, forge
from tests.support.mutants import BEGINS_WITH, DAMAGES, MUTANTS, benign, of_nothing

CHECKS = sorted(CATALOGUE)
EACH_MUTANT = [(check, number) for check in sorted(MUTANTS) for number in range(len(MUTANTS[check]))]


def ask(check: str, bundle: Path, *, from_size: int = 0) -> Evidence:
    """The answer of one check about a bundle."""
    return CATALOGUE[Slug(check)].run(read_history(Archive.open(bundle), from_size=from_size))


@pytest.fixture(scope="module")
def noisy(cycle: Cycle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cycle with noise that breaks no rule."""
    return forge(cycle, tmp_path_factory.mktemp("noisy") / "bundle", benign)


@pytest.fixture(scope="module")
def poorer(cycle: Cycle, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Source, Path]:
    """The cycle without one of its sources, for each source."""
    folder = tmp_path_factory.mktemp("poorer")
    return {source: _without(source, cycle, folder / source) for source in Source}


def test_every_check_has_a_mutant() -> None:
    """A check without a change that makes it fail is no check."""
    assert set(MUTANTS) | set(DAMAGES) == set(CATALOGUE)
    assert len(CATALOGUE) >= 15


@pytest.mark.parametrize("check", CHECKS)
def test_a_real_cycle_passes(check: str, cycle: Cycle) -> None:
    """Clean: the check holds on a real cycle, and had something to look at."""
    answer = ask(check, cycle.bundle)
    assert (answer.verdict, answer.findings) == (Verdict.PASS, ())
    assert answer.looked_at > 0


@pytest.mark.parametrize("check", CHECKS)
def test_noise_that_breaks_no_rule_still_passes(check: str, noisy: Path) -> None:
    """Benign: more of what is allowed changes no verdict."""
    assert ask(check, noisy).verdict is Verdict.PASS


@pytest.mark.parametrize(("check", "number"), EACH_MUTANT)
def test_one_change_is_caught(check: str, number: int, cycle: Cycle, tmp_path: Path) -> None:
    """Mutant: one change to the history, told with the gateway's own keys, makes the check fail and name a place."""
    answer = ask(check, forge(cycle, tmp_path / "bundle", MUTANTS[check][number]))
    assert answer.verdict is Verdict.FAIL
    assert answer.findings
    assert answer.count == len(answer.findings)


@pytest.mark.parametrize("check", sorted(DAMAGES))
def test_damage_to_files_is_caught(check: str, cycle: Cycle, tmp_path: Path) -> None:
    """Mutant: one change to a file of the archive makes the check about files fail."""
    bundle = cycle.copy(tmp_path / "bundle")
    DAMAGES[check](bundle)
    assert ask(check, bundle).verdict is Verdict.FAIL


@pytest.mark.parametrize("check", sorted(set(CHECKS) - {"retention.kept", "keys.table"}))
def test_a_period_in_which_nothing_happened_cannot_tell(check: str, cycle: Cycle) -> None:
    """Empty: nothing to look at is never a pass, though the sources are there."""
    size = read_history(Archive.open(cycle.bundle)).until_size
    answer = ask(check, cycle.bundle, from_size=size)
    assert (answer.verdict, answer.gap, answer.looked_at) == (Verdict.CANNOT_TELL, Gap.NOTHING_HAPPENED, 0)


def test_without_a_use_or_a_version_retention_cannot_tell(cycle: Cycle, tmp_path: Path) -> None:
    """Empty: retention is asked of uses and versions, and there are none."""
    bundle = forge(cycle, tmp_path / "bundle", lambda s: s.remove(*s.of("version:sealed", "job:started")))
    answer = ask("retention.kept", bundle)
    assert (answer.verdict, answer.gap) == (Verdict.CANNOT_TELL, Gap.NOTHING_HAPPENED)


def test_a_key_table_without_keys_cannot_tell(cycle: Cycle, tmp_path: Path) -> None:
    """Empty: a table that was written down before there was any key shows nothing."""
    documents: dict[str, bytes] = {}
    bundle = forge(cycle, tmp_path / "bundle", lambda story: documents.update(of_nothing(story)))
    for name, data in documents.items():
        (bundle / name).write_bytes(data)
    answer = ask("keys.table", bundle)
    assert (answer.verdict, answer.gap) == (Verdict.CANNOT_TELL, Gap.NOTHING_HAPPENED)


@pytest.mark.parametrize(("check", "source"), [(c, s) for c in CHECKS for s in CATALOGUE[Slug(c)].sources])
def test_without_its_source_a_check_cannot_tell(check: str, source: Source, poorer: Mapping[Source, Path]) -> None:
    """Source missing: a check says which source it has not got, for each of its sources."""
    answer = ask(check, poorer[source])
    assert (answer.verdict, answer.gap) == (Verdict.CANNOT_TELL, Gap.SOURCE_MISSING)
    assert any(source.value.replace("-", " ") in finding.what for finding in answer.findings)


@pytest.mark.parametrize("check", CHECKS)
def test_a_history_with_holes_never_passes(check: str, cycle: Cycle, tmp_path: Path) -> None:
    """An entry that cannot be opened might have said anything: nothing passes any more."""
    bundle = cycle.copy(tmp_path / "bundle")
    DAMAGES["log.complete"](bundle)
    assert ask(check, bundle).verdict is not Verdict.PASS


@pytest.mark.parametrize(("behind", "verdict"), [(1, Verdict.PASS), (0, Verdict.FAIL)])
def test_roles_are_those_of_the_policy_that_answered(
    behind: int, verdict: Verdict, cycle: Cycle, tmp_path: Path
) -> None:
    """A reading may be logged after its reader got another role; the epoch tells which roles it was decided with."""

    def change(story: Story) -> None:
        given = story.first("role:assigned", role="auditor")
        asked = next(d for d in story.of("decision:made") if d.payload["actor"]["roles"] == ["auditor"]).another()
        asked.payload["actor"]["roles"] = []
        asked.fields["decision"] = "dec_" + "a" * 26
        asked.fields["epoch"] = given.fields["epoch"] - behind
        story.insert_after(given, asked)

    assert ask("log.actors", forge(cycle, tmp_path / "bundle", change)).verdict is verdict


def test_documents_of_live_facts_count_only_under_their_digest(cycle: Cycle, tmp_path: Path) -> None:
    """A key table that was altered is as good as none."""
    bundle = cycle.copy(tmp_path / "bundle")
    for document in (bundle / "evidence").iterdir():
        document.write_bytes(document.read_bytes().replace(b'"current":1', b'"current":2'))
    assert ask("keys.table", bundle).gap is Gap.SOURCE_MISSING


def test_a_replaced_certificate_is_caught(cycle: Cycle, tmp_path: Path) -> None:
    """A certificate that lies under another one's name is not the one that the log names."""
    bundle = cycle.copy(tmp_path / "bundle")
    first, second = sorted((bundle / "certificates").iterdir())[:2]
    shutil.copyfile(first, second)
    for check in ("certificates.complete", "certificates.recomputed", "certificates.anchored"):
        assert ask(check, bundle).verdict is Verdict.FAIL


def test_unknown_events_are_reported_not_skipped(cycle: Cycle, tmp_path: Path) -> None:
    """An event of a kind that this program does not know makes the check say so, with its place."""

    def change(story: Story) -> None:
        story.first("log:read").payload["type"] = "log:dreamt"

    answer = ask("log.known", forge(cycle, tmp_path / "bundle", change))
    assert (answer.verdict, answer.gap) == (Verdict.CANNOT_TELL, Gap.NOT_READABLE)
    assert answer.findings[0].entry is not None


def _without(source: Source, cycle: Cycle, target: Path) -> Path:
    if source is Source.LOG:
        return forge(cycle, target, lambda story: story.remove(*story.entries), certificates_follow=False)
    if source is Source.CERTIFICATES:
        shutil.rmtree(cycle.copy(target) / "certificates")
        return target
    return forge(cycle, target, lambda story: story.remove(*story.of(*BEGINS_WITH[source])))
